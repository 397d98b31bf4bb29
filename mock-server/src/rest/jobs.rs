//! Jobs.

use super::{Query, page};
use crate::error::ApiError;
use crate::jobs::JobState;
use crate::state::ServerState;
use crate::store::jobs::JobFilter;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    computer: Option<i64>,
    /// Deployment.
    container: Option<i64>,
    state: Option<String>,
    offset: Option<i64>,
    limit: Option<i64>,
}

/// Lists jobs by id, with output, return code and progress. A page may have fewer jobs than asked for, because of long
/// outputs; `total` tells whether there are more.
pub(crate) async fn list(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, ApiError> {
    let (offset, limit) = page(filter.offset, filter.limit)?;
    let job_state = filter.state.as_deref().map(|name| {
        JobState::from_name(name).ok_or_else(|| {
            let names = JobState::ALL.map(JobState::name).join(", ");
            ApiError::Invalid(format!("{name:?} is no job state: expected one of {names}"))
        })
    });
    let filter = JobFilter {
        computer: filter.computer,
        container: filter.container,
        state: job_state.transpose()?,
        offset,
        limit,
    };
    state.store.settle_expired(state.now()).await?;
    let (total, jobs) = state.store.jobs(&filter).await?;
    Ok(Json(json!({ "total": total, "jobs": jobs })))
}
