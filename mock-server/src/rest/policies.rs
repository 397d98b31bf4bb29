//! Policies that hold for all computers.

use super::{Body, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::policies::ReplacePolicies;
use axum::Json;
use axum::extract::State;
use oco_protocol::policy::ScopePolicies;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest key, characters.
const MAX_KEY: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPolicies {
    /// `MODULE:path:key` -> value.
    machine: ScopePolicies,
}

/// Shows all policies.
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Json<Value> {
    Json(json!({ "machine": state.rules().policies }))
}

/// Replaces all policies.
pub(crate) async fn replace(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewPolicies>,
) -> Result<Json<Value>, ApiError> {
    for key in new.machine.keys() {
        text("a policy's key", key, MAX_KEY)?;
    }
    state.store.write(ReplacePolicies(new.machine)).await?;
    state.reload_rules().await?;
    Ok(show(State(state)).await)
}
