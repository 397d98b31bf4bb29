//! Counts.

use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

/// Shows computers by operating system and state, requests by method and status, jobs by state.
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Result<Json<Value>, ApiError> {
    let counts = state.store.counts().await?;
    Ok(Json(json!({
        "computers": { "by_os": counts.by_os, "by_state": counts.by_state },
        "jobs": counts.jobs,
        "requests": state.instruments.counters.snapshot(),
    })))
}
