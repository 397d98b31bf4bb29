//! Job containers and their jobs, and installations.

use super::Call;
use super::fault::Fault;
use super::reports::ids_of_report;
use crate::conditions;
use crate::store::assignments::{Assignment, RemoveAssignment};
use crate::store::client_views::{ContainerRow, JobRow, Owner};
use crate::store::deployments::{Deploy, Deployment, Schedule, Targets, Uninstall};
use crate::store::groups::GroupKind;
use crate::store::{date_text, timestamp};
use serde_json::{Value, json};

/// Minutes until a package's restart, shutdown or exit.
const DEFAULT_RESTART_TIMEOUT: i64 = 5;

/// Lists containers; a limited user sees those with jobs for computers that it sees.
pub(super) async fn list(call: &Call) -> Result<Value, Fault> {
    let mut shown = Vec::new();
    for row in call.state.store.containers().await? {
        if !call.caller.is_limited() || !computers_of(call, Owner::Container(row.id)).await?.is_empty() {
            shown.push(container(&row));
        }
    }
    Ok(shown.into())
}

/// The computers of some jobs that the user sees.
async fn computers_of(call: &Call, owner: Owner) -> Result<Vec<i64>, Fault> {
    let mut computers = call.state.store.computers_with_jobs(owner).await?;
    computers.retain(|computer| call.caller.sees(*computer));
    Ok(computers)
}

fn date(micros: Option<i64>) -> Option<String> {
    micros.map(|micros| date_text(timestamp(micros)))
}

fn container(row: &ContainerRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "enabled": 1,
        "start_time": date(Some(row.starts_at)),
        "end_time": date(row.ends_at),
        "notes": row.notes,
        // -1: not wanted; 0: wanted, and never sent.
        "wol_sent": if row.use_wol == 0 { -1 } else { 0 },
        "shutdown_waked_after_completion": row.shutdown_waked,
        "sequence_mode": row.sequence_mode,
        "priority": row.priority,
        "agent_ip_ranges": row.agent_ip_ranges,
        "time_frames": row.time_frames,
        "self_service": 0,
        "created": date(Some(row.created_at)),
        "created_by_system_user_id": row.created_by,
        "created_by_domain_user_id": null,
        "created_by_system_user_username": row.created_by_name,
        "created_by_domain_user_username": null,
        "execution_finished": date(row.finished_at.filter(|_| row.unfinished == 0)),
    })
}

/// Lists the jobs of a container.
pub(super) async fn jobs(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    find(call, id).await?;
    let jobs = call.state.store.listed_jobs(Owner::Container(id)).await?;
    let shown = jobs.iter().filter(|job| call.caller.sees(job.computer_id));
    Ok(shown.map(job).collect())
}

async fn find(call: &Call, id: i64) -> Result<(), Fault> {
    let containers = call.state.store.containers().await?;
    match containers.iter().any(|container| container.id == id) {
        true => Ok(()),
        false => Err(Fault::NotFound),
    }
}

/// What lists show of a job.
pub(super) fn job(row: &JobRow) -> Value {
    let mut shown = json!({
        "id": row.id,
        "computer_id": row.computer_id,
        "package_id": row.package_id,
        "procedure": row.run_procedure,
        "success_return_codes": row.success_codes,
        "upgrade_behavior": row.upgrade_behavior,
        "is_uninstall": row.is_uninstall,
        "download": row.download,
        "post_action": row.post_action,
        "post_action_timeout": row.post_action_delay,
        "sequence": row.position,
        "state": row.state,
        "download_progress": row.progress.map(percent),
        "return_code": row.return_code,
        "message": row.output,
        "wol_shutdown_set": null,
        "download_started": date(row.download_started_at),
        "execution_started": date(row.execution_started_at),
        "execution_finished": date(row.finished_at),
        "computer_hostname": row.hostname,
        "package_family_name": row.family_name,
        "package_version": row.version,
    });
    let (owner, fields): (&str, &[&str]) = match row.rule_id {
        Some(rule) => {
            shown["deployment_rule_id"] = rule.into();
            let fields = &[
                "name",
                "created_by_system_user_id",
                "enabled",
                "sequence_mode",
                "priority",
            ];
            ("deployment_rule", fields)
        }
        None => {
            shown["job_container_id"] = row.container_id.into();
            shown["job_container_start_time"] = date(row.starts_at).into();
            let fields = &[
                "created_by_system_user_id",
                "created_by_domain_user_id",
                "enabled",
                "sequence_mode",
                "priority",
                "agent_ip_ranges",
                "time_frames",
                "self_service",
            ];
            ("job_container", fields)
        }
    };
    // As on the real server, a list of jobs leaves these empty.
    for field in fields {
        shown[format!("{owner}_{field}")] = Value::Null;
    }
    shown
}

/// A whole number where there is no fraction.
fn percent(progress: f64) -> Value {
    #[allow(clippy::cast_possible_truncation)] // checked to be a small whole number
    if progress.fract() == 0.0 && progress.abs() < 1e6 {
        (progress as i64).into()
    } else {
        progress.into()
    }
}

/// Deploys packages to computers.
pub(super) async fn deploy(call: &Call) -> Result<Value, Fault> {
    let schedule = schedule(call)?;
    let computers = targets(call, Kind::Computers).await?;
    let packages = targets(call, Kind::Packages).await?;
    if computers.is_empty() || packages.is_empty() {
        return Err(Fault::Invalid("There are no jobs to create".into()));
    }
    call.caller.check_computers(&computers)?;
    let write = Deploy {
        cache: call.state.store.cache.clone(),
        schedule,
        packages,
        targets: Targets::Ids(computers),
        force_same_version: call.data.flag("force_install_same_version", false)?,
    };
    match call.state.store.write(write).await? {
        Deployment::Done { id, .. } => Ok(call.created(id)),
        _ => Err(Fault::NotFound),
    }
}

/// What targets are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Computers,
    Packages,
}

/// Ids given one by one, by group and by report, each once.
async fn targets(call: &Call, kind: Kind) -> Result<Vec<i64>, Fault> {
    let (name, groups) = match kind {
        Kind::Computers => ("computer", GroupKind::Computers),
        Kind::Packages => ("package", GroupKind::Packages),
    };
    let mut ids = call.data.ids(&format!("{name}_ids"))?;
    let known = call.state.store.groups(groups).await?;
    for group in call.data.ids(&format!("{name}_group_ids"))? {
        if !known.iter().any(|known| known.id == group) {
            return Err(Fault::NotFound);
        }
        ids.extend(call.state.store.members(groups, group).await?);
    }
    for report in call.data.ids(&format!("{name}_report_ids"))? {
        ids.extend(ids_of_report(call, report, &format!("{name}_id")).await?);
    }
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(ids)
}

/// Uninstalls what is installed.
pub(super) async fn uninstall(call: &Call) -> Result<Value, Fault> {
    let nothing = || Fault::Invalid("There are no installations to remove".into());
    let schedule = schedule(call)?;
    let mut installations = Vec::new();
    for id in call.data.ids("installation_ids")? {
        // As on the real server, what is not there is no job.
        if let Some(computer) = call.state.store.computer_of_installation(id).await? {
            call.caller.check_computers(&[computer])?;
            installations.push(id);
        }
    }
    if installations.is_empty() {
        return Err(nothing());
    }
    let write = Uninstall {
        cache: call.state.store.cache.clone(),
        schedule,
        installations,
    };
    match call.state.store.write(write).await? {
        Deployment::Done { id, .. } => Ok(call.created(id)),
        _ => Err(nothing()),
    }
}

/// What a new container has.
fn schedule(call: &Call) -> Result<Schedule, Fault> {
    let (data, now) = (&call.data, call.state.now());
    let name = data.required("name", "The name cannot be empty")?;
    let starts_at = data.date("date_start")?.unwrap_or(now);
    let ends_at = data.date("date_end")?;
    if ends_at.is_some_and(|end| end <= starts_at) {
        return Err(Fault::Invalid("The end must be after the start".into()));
    }
    let sequence_mode = data.integer("sequence_mode")?.unwrap_or(0);
    if !(0..=1).contains(&sequence_mode) {
        return Err(Fault::Invalid("sequence_mode must be 0 or 1".into()));
    }
    let agent_ip_ranges = data.joined("agent_ip_ranges")?;
    conditions::check_ranges(agent_ip_ranges.as_deref().unwrap_or_default())
        .map_err(|error| Fault::Other(format!("Invalid IP address: {error}")))?;
    Ok(Schedule {
        name,
        notes: data.text("description")?,
        priority: data.integer("priority")?.unwrap_or(0),
        abort_on_failure: sequence_mode == 1,
        starts_at,
        ends_at,
        restart_timeout: data
            .integer("restart_timeout")?
            .unwrap_or(DEFAULT_RESTART_TIMEOUT),
        agent_ip_ranges,
        time_frames: data.joined("time_frames")?,
        use_wol: data.flag("use_wol", true)?,
        shutdown_waked: data.flag("shutdown_waked_after_completion", false)?,
        created_by: Some(call.caller.id()),
        now,
    })
}

/// Removes a container with its jobs; a limited user only one whose computers it sees.
pub(super) async fn remove(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    find(call, id).await?;
    let computers = call.state.store.computers_with_jobs(Owner::Container(id)).await?;
    call.caller.check_computers(&computers)?;
    take_away(call, Assignment::Container, id).await
}

/// Removes a job.
pub(super) async fn remove_job(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    let computer = call
        .state
        .store
        .computer_of_job(id)
        .await?
        .ok_or(Fault::NotFound)?;
    call.caller.check_computers(&[computer])?;
    take_away(call, Assignment::Job, id).await
}

/// Has the server forget an installation.
pub(super) async fn remove_installation(call: &Call) -> Result<Value, Fault> {
    let id = call.data.id("id")?;
    let computer = call.state.store.computer_of_installation(id).await?;
    call.caller.check_computers(&[computer.ok_or(Fault::NotFound)?])?;
    take_away(call, Assignment::Installation, id).await
}

async fn take_away(call: &Call, kind: Assignment, id: i64) -> Result<Value, Fault> {
    let write = RemoveAssignment {
        cache: call.state.store.cache.clone(),
        kind,
        id,
        now: call.state.now(),
    };
    match call.state.store.write(write).await? {
        true => Ok(call.nothing()),
        false => Err(Fault::NotFound),
    }
}
