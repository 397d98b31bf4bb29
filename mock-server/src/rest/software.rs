//! Software across all computers.

use super::Query;
use crate::error::ApiError;
use crate::state::ServerState;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    name: String,
    version: Option<String>,
}

/// Lists the computers that have a software, in a version or any.
pub(crate) async fn computers(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, ApiError> {
    let software = state
        .store
        .software_named(&filter.name, filter.version.as_deref())
        .await?;
    let computers = state.store.computers_with(&software).await?;
    Ok(Json(json!({ "software": software, "computers": computers })))
}
