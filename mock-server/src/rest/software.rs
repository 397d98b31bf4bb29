//! Software across all computers.

use super::Query;
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::software::{SoftwareComputer, SoftwareView};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Its whole name.
    name: String,
    /// Any, if left out.
    version: Option<String>,
}

/// A software in all its versions, and who has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SoftwareSearch {
    software: Vec<SoftwareView>,
    computers: Vec<SoftwareComputer>,
}

/// Lists the computers that have a software, in a version or any.
#[utoipa::path(get, path = "/software/computers", operation_id = "search_software", tag = "software", params(Filter),
    responses((status = 200, description = "What was found", body = SoftwareSearch)))]
pub(crate) async fn computers(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<SoftwareSearch>, ApiError> {
    let software = state
        .store
        .software_named(&filter.name, filter.version.as_deref())
        .await?;
    let computers = state.store.computers_with(&software).await?;
    Ok(Json(SoftwareSearch { software, computers }))
}
