//! Jobs.

use super::{Query, page};
use crate::error::ApiError;
use crate::jobs::JobState;
use crate::state::ServerState;
use crate::store::jobs::{JobFilter, JobView};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Its id.
    computer: Option<i64>,
    /// The id of a deployment.
    container: Option<i64>,
    state: Option<JobState>,
    #[param(minimum = 0, default = 0)]
    offset: Option<i64>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

/// Some jobs, and how many there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobPage {
    total: i64,
    jobs: Vec<JobView>,
}

/// Lists jobs by id, with output, return code and progress.
///
/// A page may have fewer jobs than asked for, because of long outputs; `total` tells whether there are more.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "deployments", params(Filter),
    responses((status = 200, description = "A page of jobs", body = JobPage)))]
pub(crate) async fn list(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<JobPage>, ApiError> {
    let (offset, limit) = page(filter.offset, filter.limit)?;
    let filter = JobFilter {
        computer: filter.computer,
        container: filter.container,
        state: filter.state,
        offset,
        limit,
    };
    state.store.settle_expired(state.now()).await?;
    let (total, jobs) = state.store.jobs(&filter).await?;
    Ok(Json(JobPage { total, jobs }))
}
