//! Faults.

use super::{Body, Path, created};
use crate::error::ApiError;
use crate::faults::{InvalidRule, Rule, RuleView};
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::sync::Arc;

impl From<InvalidRule> for ApiError {
    fn from(invalid: InvalidRule) -> Self {
        Self::Invalid(invalid.to_string())
    }
}

/// Lists rules by id, with how often each fault was committed.
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Json<Value> {
    let faults = &state.instruments.faults;
    Json(json!({ "faults": faults.list(), "committed": faults.committed() }))
}

/// Adds a rule.
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(rule): Body<Rule>,
) -> Result<impl IntoResponse, ApiError> {
    let id = state.instruments.faults.add(rule)?;
    Ok(created(json!({ "id": id })))
}

/// Shows a rule.
pub(crate) async fn show(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<u64>,
) -> Result<Json<RuleView>, ApiError> {
    found(id, state.instruments.faults.get(id))
}

/// Removes a rule, and shows what it was last.
pub(crate) async fn remove(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<u64>,
) -> Result<Json<RuleView>, ApiError> {
    found(id, state.instruments.faults.remove(id))
}

fn found(id: u64, rule: Option<RuleView>) -> Result<Json<RuleView>, ApiError> {
    rule.map(Json)
        .ok_or_else(|| ApiError::NotFound(format!("fault {id}")))
}
