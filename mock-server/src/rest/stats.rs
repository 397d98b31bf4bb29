//! Counts.

use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Counts of what is stored, and of requests since the start.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    computers: ComputerCounts,
    /// By state.
    #[schema(value_type = BTreeMap<String, i64>)]
    jobs: BTreeMap<&'static str, i64>,
    /// By method and status.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    requests: BTreeMap<&'static str, BTreeMap<u16, u64>>,
}

/// Counts of computers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ComputerCounts {
    /// By product name; `-` where none is known.
    by_os: BTreeMap<String, i64>,
    #[schema(value_type = BTreeMap<String, i64>)]
    by_state: BTreeMap<&'static str, i64>,
}

/// Shows computers by operating system and state, requests by method and status, jobs by state.
#[utoipa::path(get, path = "/stats", operation_id = "show_stats", tag = "stats",
    responses((status = 200, description = "The counts", body = Stats)))]
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Result<Json<Stats>, ApiError> {
    let counts = state.store.counts().await?;
    Ok(Json(Stats {
        computers: ComputerCounts {
            by_os: counts.by_os,
            by_state: counts.by_state,
        },
        jobs: counts.jobs,
        requests: state.instruments.counters.snapshot(),
    }))
}
