//! Faults.

use super::openapi::NotFound;
use super::{Body, Path};
use crate::error::ApiError;
use crate::faults::{InvalidRule, Rule, RuleView};
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

impl From<InvalidRule> for ApiError {
    fn from(invalid: InvalidRule) -> Self {
        Self::Invalid(invalid.to_string())
    }
}

/// Rules, and what was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FaultList {
    faults: Vec<RuleView>,
    /// By kind, those of removed rules included.
    #[schema(value_type = BTreeMap<String, u64>)]
    committed: BTreeMap<&'static str, u64>,
}

/// Lists rules by id, with how often each fault was committed.
#[utoipa::path(get, path = "/faults", operation_id = "list_faults", tag = "faults",
    responses((status = 200, description = "All rules", body = FaultList)))]
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Json<FaultList> {
    let faults = &state.instruments.faults;
    Json(FaultList {
        faults: faults.list(),
        committed: faults.committed(),
    })
}

/// A new rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedFault {
    id: u64,
}

/// Adds a rule.
#[utoipa::path(post, path = "/faults", operation_id = "create_fault", tag = "faults", request_body = Rule,
    responses((status = 201, description = "The new rule", body = CreatedFault)))]
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(rule): Body<Rule>,
) -> Result<impl IntoResponse, ApiError> {
    let id = state.instruments.faults.add(rule)?;
    Ok((StatusCode::CREATED, Json(CreatedFault { id })))
}

/// Shows a rule.
#[utoipa::path(get, path = "/faults/{id}", operation_id = "show_fault", tag = "faults",
    responses((status = 200, description = "The rule", body = RuleView), NotFound))]
pub(crate) async fn show(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<u64>,
) -> Result<Json<RuleView>, ApiError> {
    found(id, state.instruments.faults.get(id))
}

/// Removes a rule, and shows what it was last.
#[utoipa::path(delete, path = "/faults/{id}", operation_id = "remove_fault", tag = "faults",
    responses((status = 200, description = "The rule that was", body = RuleView), NotFound))]
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
