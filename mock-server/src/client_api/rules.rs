//! Deployment rules.

use super::Call;
use super::containers::job;
use super::fault::Fault;
use crate::store::client_views::Owner;
use crate::store::deployment_rules::DeploymentRule;
use crate::store::{date_text, timestamp};
use serde_json::{Value, json};

/// Lists the rules for computer groups that the user sees.
pub(super) async fn list(call: &Call) -> Result<Value, Fault> {
    let rules = call.state.store.deployment_rules().await?;
    let shown = rules
        .iter()
        .filter(|rule| call.caller.sees_group(rule.computer_group_id));
    Ok(shown.map(rule).collect())
}

fn rule(rule: &DeploymentRule) -> Value {
    json!({
        "id": rule.id,
        "name": rule.name,
        "notes": rule.notes,
        "enabled": rule.enabled,
        "computer_group_id": rule.computer_group_id,
        "package_group_id": rule.package_group_id,
        "sequence_mode": rule.sequence_mode,
        "priority": rule.priority,
        "post_action_timeout": rule.post_action_timeout,
        "created": date_text(timestamp(rule.created_at)),
        "created_by_system_user_id": rule.created_by,
        "created_by_system_user_username": rule.created_by_name,
    })
}

/// Lists the jobs of a rule.
pub(super) async fn jobs(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    let rules = call.state.store.deployment_rules().await?;
    let rule = rules.iter().find(|rule| rule.id == id).ok_or(Fault::NotFound)?;
    call.caller.check_group(rule.computer_group_id)?;
    let jobs = call.state.store.listed_jobs(Owner::Rule(id)).await?;
    let shown = jobs.iter().filter(|job| call.caller.sees(job.computer_id));
    Ok(shown.map(job).collect())
}
