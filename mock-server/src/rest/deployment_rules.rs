//! Deployment rules.

use super::{Body, Path, created, five, text, yes};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::deployment_rules::{AddDeploymentRule, EnableDeploymentRule};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRule {
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
    sequence_mode: u8,
    /// Minutes until a package's restart, shutdown or exit.
    #[serde(default = "five")]
    post_action_timeout: i64,
}

/// Lists rules.
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(
        json!({ "deployment_rules": state.store.deployment_rules().await? }),
    ))
}

/// Adds a rule.
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
    Ok(created(json!({ "id": id })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    enabled: bool,
}

/// Enables or disables a rule.
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
