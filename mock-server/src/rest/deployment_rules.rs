//! Deployment rules.

use super::openapi::NotFound;
use super::{Body, Created, Path, created, five, text, yes};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::deployment_rules::{
    AddDeploymentRule, DeploymentRule, EnableDeploymentRule, RemoveDeploymentRule,
};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewDeploymentRule)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRule {
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    name: String,
    #[serde(default)]
    notes: String,
    computer_group: i64,
    package_group: i64,
    #[serde(default = "yes")]
    enabled: bool,
    /// Higher goes first.
    #[serde(default)]
    priority: i64,
    /// 0 go on after a failure, 1 fail the rest.
    #[serde(default)]
    #[schema(maximum = 1)]
    sequence_mode: u8,
    /// Minutes until a package's restart, shutdown or exit.
    #[serde(default = "five")]
    post_action_timeout: i64,
}

/// Deployment rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeploymentRules {
    deployment_rules: Vec<DeploymentRule>,
}

/// Lists rules.
#[utoipa::path(get, path = "/deployment-rules", operation_id = "list_deployment_rules", tag = "deployments",
    responses((status = 200, description = "All rules by id", body = DeploymentRules)))]
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Result<Json<DeploymentRules>, ApiError> {
    let deployment_rules = state.store.deployment_rules().await?;
    Ok(Json(DeploymentRules { deployment_rules }))
}

/// Adds a rule.
#[utoipa::path(post, path = "/deployment-rules", operation_id = "create_deployment_rule", tag = "deployments", request_body = NewRule,
    responses((status = 201, description = "The new rule", body = Created), NotFound))]
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewRule>,
) -> Result<impl IntoResponse, ApiError> {
    if new.sequence_mode > 1 {
        return Err(ApiError::Invalid("sequence_mode must be 0 or 1".into()));
    }
    let write = AddDeploymentRule {
        cache: state.store.cache.clone(),
        name: text("name", &new.name, 255)?,
        notes: new.notes,
        enabled: new.enabled,
        computer_group: new.computer_group,
        package_group: new.package_group,
        priority: new.priority,
        abort_on_failure: new.sequence_mode == 1,
        post_action_timeout: new.post_action_timeout,
        now: state.now(),
    };
    let id = state.store.write(write).await?;
    let id = id.ok_or_else(|| ApiError::NotFound("such computer or package group".into()))?;
    Ok(created(id))
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeploymentRuleChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    enabled: bool,
}

/// Removes a rule with its jobs.
#[utoipa::path(delete, path = "/deployment-rules/{id}", operation_id = "remove_deployment_rule", tag = "deployments",
    responses((status = 204, description = "Done"), NotFound))]
pub(crate) async fn remove(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    let write = RemoveDeploymentRule {
        cache: state.store.cache.clone(),
        id,
    };
    match state.store.write(write).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound(format!("deployment rule {id}"))),
    }
}

/// Enables or disables a rule.
#[utoipa::path(put, path = "/deployment-rules/{id}", operation_id = "change_deployment_rule", tag = "deployments", request_body = Change,
    responses((status = 204, description = "Done"), NotFound))]
pub(crate) async fn change(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
    Body(change): Body<Change>,
) -> Result<StatusCode, ApiError> {
    let write = EnableDeploymentRule {
        cache: state.store.cache.clone(),
        id,
        enabled: change.enabled,
        now: state.now(),
    };
    match state.store.write(write).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound(format!("deployment rule {id}"))),
    }
}
