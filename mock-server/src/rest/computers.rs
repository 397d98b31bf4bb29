//! Computers.

use super::{Body, Path, Query, created, page, removed, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::computer_views::ComputerView;
use crate::store::computers::{PreRegister, RemoveComputer, SetForceUpdate};
use crate::store::timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const MAX_HOSTNAME: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Part of the host name.
    #[serde(default)]
    hostname: String,
    offset: Option<i64>,
    limit: Option<i64>,
}

/// Lists computers by id.
pub(crate) async fn list(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, ApiError> {
    let (offset, limit) = page(filter.offset, filter.limit)?;
    let (total, computers) = state.store.computers(&filter.hostname, offset, limit).await?;
    Ok(Json(json!({ "total": total, "computers": computers })))
}

/// Shows a computer with its whole inventory.
pub(crate) async fn show(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    let computer = find(&state, id).await?;
    let mut inventory = state.store.inventory(id).await?;
    inventory.insert("software".into(), json!(state.store.software_of(id).await?));
    inventory.insert("logins".into(), json!(state.store.logins_of(id).await?));
    Ok(Json(json!({ "computer": computer, "inventory": inventory })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewComputer {
    hostname: String,
    #[serde(default)]
    notes: String,
}

/// Pre-registers a computer.
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewComputer>,
) -> Result<impl IntoResponse, ApiError> {
    let hostname = text("hostname", &new.hostname, MAX_HOSTNAME)?;
    let write = PreRegister {
        cache: state.store.cache.clone(),
        hostname: hostname.clone(),
        notes: new.notes,
        created_by: None,
        now: state.now(),
    };
    let id = state.store.write(write).await?;
    let id = id.ok_or_else(|| ApiError::Conflict(format!("there is a computer {hostname:?} already")))?;
    Ok(created(json!({ "id": id })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    force_update: bool,
}

/// Changes what an administrator sets of a computer.
pub(crate) async fn change(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
    Body(change): Body<Change>,
) -> Result<Json<ComputerView>, ApiError> {
    let hostname = find(&state, id).await?.hostname;
    if let Some(computer) = state.computer(&hostname).await? {
        state
            .store
            .write(SetForceUpdate {
                computer,
                force_update: change.force_update,
            })
            .await?;
    }
    find(&state, id).await.map(Json)
}

/// Removes a computer with everything of it.
pub(crate) async fn remove(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    let cache = state.store.cache.clone();
    let write = RemoveComputer {
        cache,
        id,
        force: true,
    };
    removed(state.store.write(write).await?, || format!("computer {id}"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventFilter {
    limit: Option<i64>,
}

/// Lists the latest events of a computer.
pub(crate) async fn events(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
    Query(filter): Query<EventFilter>,
) -> Result<Json<Value>, ApiError> {
    let (_, limit) = page(None, filter.limit)?;
    find(&state, id).await?;
    Ok(Json(json!({ "events": state.store.events_of(id, limit).await? })))
}

/// Lists the passwords of a computer, latest first.
pub(crate) async fn passwords(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    find(&state, id).await?;
    let passwords = state.store.passwords_of(id).await?;
    let shown = passwords.iter().map(|password| {
        json!({
            "username": password.username,
            "password": password.password,
            "created_at": timestamp(password.created_at),
        })
    });
    Ok(Json(json!({ "passwords": shown.collect::<Vec<_>>() })))
}

async fn find(state: &ServerState, id: i64) -> Result<ComputerView, ApiError> {
    state
        .store
        .computer(id)
        .await?
        .ok_or_else(|| ApiError::NotFound(format!("computer {id}")))
}
