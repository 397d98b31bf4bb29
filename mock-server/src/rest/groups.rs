//! Groups of computers and of packages.

use super::{Body, Path, created, removed, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::groups::{AddGroup, ChangeMembership, GroupKind, RemoveGroup};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The kind of groups as it is in paths.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) enum Kind {
    #[serde(rename = "computers")]
    Computers,
    #[serde(rename = "packages")]
    Packages,
}

impl From<Kind> for GroupKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Computers => Self::Computers,
            Kind::Packages => Self::Packages,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    name: String,
    parent: Option<i64>,
}

/// Lists groups.
pub(crate) async fn list(
    State(state): State<Arc<ServerState>>,
    Path(kind): Path<Kind>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "groups": state.store.groups(kind.into()).await? })))
}

/// Adds a group.
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Path(kind): Path<Kind>,
    Body(new): Body<NewGroup>,
) -> Result<impl IntoResponse, ApiError> {
    let write = AddGroup {
        kind: kind.into(),
        parent: new.parent,
        name: text("name", &new.name, 255)?,
    };
    let id = state.store.write(write).await?;
    let id = id.ok_or_else(|| ApiError::NotFound("such parent group".into()))?;
    state.reload_rules().await?;
    Ok(created(json!({ "id": id })))
}

/// Removes a group with the groups, rules and policies in it.
pub(crate) async fn remove(
    State(state): State<Arc<ServerState>>,
    Path((kind, id)): Path<(Kind, i64)>,
) -> Result<StatusCode, ApiError> {
    let write = RemoveGroup {
        kind: kind.into(),
        cache: state.store.cache.clone(),
        id,
    };
    let removal = state.store.write(write).await?;
    state.reload_rules().await?;
    removed(removal, || format!("group {id}"))
}

/// Lists the ids of a group's members.
pub(crate) async fn members(
    State(state): State<Arc<ServerState>>,
    Path((kind, id)): Path<(Kind, i64)>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(
        json!({ "members": state.store.members(kind.into(), id).await? }),
    ))
}

/// Puts a computer or package into a group.
pub(crate) async fn join(
    State(state): State<Arc<ServerState>>,
    Path((kind, group, member)): Path<(Kind, i64, i64)>,
) -> Result<StatusCode, ApiError> {
    change(&state, kind, group, member, true).await
}

/// Takes a computer or package out of a group.
pub(crate) async fn leave(
    State(state): State<Arc<ServerState>>,
    Path((kind, group, member)): Path<(Kind, i64, i64)>,
) -> Result<StatusCode, ApiError> {
    change(&state, kind, group, member, false).await
}

async fn change(
    state: &ServerState,
    kind: Kind,
    group: i64,
    member: i64,
    belongs: bool,
) -> Result<StatusCode, ApiError> {
    let write = ChangeMembership {
        kind: kind.into(),
        cache: state.store.cache.clone(),
        group,
        member,
        belongs,
        now: state.now(),
    };
    match state.store.write(write).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound(format!("group {group} or member {member}"))),
    }
}
