//! Computers.

use super::openapi::{Conflict, NotFound};
use super::{Body, Created, Path, Query, created, page, removed, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::computer_views::ComputerView;
use crate::store::computers::{PreRegister, RemoveComputer, SetForceUpdate};
use crate::store::events::EventView;
use crate::store::inventory::LoginView;
use crate::store::passwords::within_history;
use crate::store::software::SoftwareView;
use crate::store::timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use oco_protocol::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest host name, characters.
pub(super) const MAX_HOSTNAME: usize = 200;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Part of the host name.
    #[serde(default)]
    hostname: String,
    #[param(minimum = 0, default = 0)]
    offset: Option<i64>,
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

/// Some computers, and how many there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ComputerPage {
    total: i64,
    computers: Vec<ComputerView>,
}

/// Lists computers by id.
#[utoipa::path(get, path = "/computers", operation_id = "list_computers", tag = "computers", params(Filter),
    responses((status = 200, description = "A page of computers", body = ComputerPage)))]
pub(crate) async fn list(
    State(state): State<Arc<ServerState>>,
    Query(filter): Query<Filter>,
) -> Result<Json<ComputerPage>, ApiError> {
    let (offset, limit) = page(filter.offset, filter.limit)?;
    let (total, computers) = state.store.computers(&filter.hostname, offset, limit).await?;
    Ok(Json(ComputerPage { total, computers }))
}

/// A computer with its inventory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ComputerDetails {
    computer: ComputerView,
    inventory: Inventory,
}

/// What a computer sent last: the fields of its update as they came, where it has sent any.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Inventory {
    software: Vec<SoftwareView>,
    /// Of all times, latest first.
    logins: Vec<LoginView>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Shows a computer with its whole inventory.
#[utoipa::path(get, path = "/computers/{id}", operation_id = "show_computer", tag = "computers",
    responses((status = 200, description = "The computer", body = ComputerDetails), NotFound))]
pub(crate) async fn show(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<Json<ComputerDetails>, ApiError> {
    let computer = find(&state, id).await?;
    let inventory = Inventory {
        software: state.store.software_of(id).await?,
        logins: state.store.logins_of(id).await?,
        fields: state.store.inventory(id).await?,
    };
    Ok(Json(ComputerDetails { computer, inventory }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewComputer {
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    hostname: String,
    #[serde(default)]
    notes: String,
}

/// Pre-registers a computer.
#[utoipa::path(post, path = "/computers", operation_id = "create_computer", tag = "computers", request_body = NewComputer,
    responses((status = 201, description = "The new computer", body = Created), Conflict))]
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
    Ok(created(id))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComputerChange {
    /// Whether it is to send its inventory with its next hello.
    force_update: bool,
}

/// Changes what an administrator sets of a computer.
#[utoipa::path(put, path = "/computers/{id}", operation_id = "change_computer", tag = "computers", request_body = ComputerChange,
    responses((status = 200, description = "The computer as it is now", body = ComputerView), NotFound))]
pub(crate) async fn change(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
    Body(change): Body<ComputerChange>,
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
#[utoipa::path(delete, path = "/computers/{id}", operation_id = "remove_computer", tag = "computers",
    responses((status = 204, description = "Done"), NotFound))]
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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventFilter {
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

/// Events, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Events {
    events: Vec<EventView>,
}

/// Lists the latest events of a computer.
#[utoipa::path(get, path = "/computers/{id}/events", operation_id = "list_events", tag = "computers", params(EventFilter),
    responses((status = 200, description = "Its events", body = Events), NotFound))]
pub(crate) async fn events(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
    Query(filter): Query<EventFilter>,
) -> Result<Json<Events>, ApiError> {
    let (_, limit) = page(None, filter.limit)?;
    find(&state, id).await?;
    let events = state.store.events_of(id, limit).await?;
    Ok(Json(Events { events }))
}

/// A password of a local user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Password {
    username: String,
    password: String,
    #[schema(value_type = f64)]
    created_at: Timestamp,
}

/// Passwords, latest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Passwords {
    passwords: Vec<Password>,
}

/// Lists the passwords of a computer, latest first.
#[utoipa::path(get, path = "/computers/{id}/passwords", operation_id = "list_passwords", tag = "computers",
    responses((status = 200, description = "Its passwords", body = Passwords), NotFound))]
pub(crate) async fn passwords(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<Json<Passwords>, ApiError> {
    let hostname = find(&state, id).await?.hostname;
    let computer = state.computer(&hostname).await?;
    let groups = computer.map_or_else(Vec::new, |computer| computer.state().groups.clone());
    let rules = state.rules().passwords_for(&groups);
    let stored = within_history(state.store.passwords_of(id).await?, &rules);
    let passwords = stored.into_iter().map(|stored| Password {
        username: stored.username,
        password: stored.password,
        created_at: timestamp(stored.created_at),
    });
    Ok(Json(Passwords {
        passwords: passwords.collect(),
    }))
}

async fn find(state: &ServerState, id: i64) -> Result<ComputerView, ApiError> {
    state
        .store
        .computer(id)
        .await?
        .ok_or_else(|| ApiError::NotFound(format!("computer {id}")))
}
