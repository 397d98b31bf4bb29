//! Groups of computers and of packages.

use super::openapi::{Conflict, NotFound};
use super::{Body, Created, Path, created, removed, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::groups::{AddGroup, ChangeMembership, Group, GroupKind, RemoveGroup};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The kind of groups as it is in paths.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = GroupKind)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGroup {
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    name: String,
    /// The group it is in; none, if left out.
    parent: Option<i64>,
}

/// Groups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Groups {
    groups: Vec<Group>,
}

/// Lists groups.
#[utoipa::path(get, path = "/groups/{kind}", operation_id = "list_groups", tag = "groups", params(("kind" = inline(Kind), Path, description = "What it holds")),
    responses((status = 200, description = "All groups by id", body = Groups)))]
pub(crate) async fn list(
    State(state): State<Arc<ServerState>>,
    Path((kind,)): Path<(Kind,)>,
) -> Result<Json<Groups>, ApiError> {
    let groups = state.store.groups(kind.into()).await?;
    Ok(Json(Groups { groups }))
}

/// Adds a group.
#[utoipa::path(post, path = "/groups/{kind}", operation_id = "create_group", tag = "groups", params(("kind" = inline(Kind), Path, description = "What it holds")), request_body = NewGroup,
    responses((status = 201, description = "The new group", body = Created), NotFound))]
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Path((kind,)): Path<(Kind,)>,
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
    Ok(created(id))
}

/// Removes a group with the groups, rules and policies in it.
#[utoipa::path(delete, path = "/groups/{kind}/{id}", operation_id = "remove_group", tag = "groups", params(("kind" = inline(Kind), Path, description = "What it holds")),
    responses((status = 204, description = "Done"), NotFound, Conflict))]
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

/// The ids of a group's members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Members {
    members: Vec<i64>,
}

/// Lists the ids of a group's members.
#[utoipa::path(get, path = "/groups/{kind}/{id}/members", operation_id = "list_members", tag = "groups", params(("kind" = inline(Kind), Path, description = "What it holds")),
    responses((status = 200, description = "Its members", body = Members)))]
pub(crate) async fn members(
    State(state): State<Arc<ServerState>>,
    Path((kind, id)): Path<(Kind, i64)>,
) -> Result<Json<Members>, ApiError> {
    let members = state.store.members(kind.into(), id).await?;
    Ok(Json(Members { members }))
}

/// Puts a computer or package into a group.
#[utoipa::path(put, path = "/groups/{kind}/{id}/members/{member}", operation_id = "add_member", tag = "groups", params(("kind" = inline(Kind), Path, description = "What it holds")),
    responses((status = 204, description = "Done"), NotFound))]
pub(crate) async fn join(
    State(state): State<Arc<ServerState>>,
    Path((kind, group, member)): Path<(Kind, i64, i64)>,
) -> Result<StatusCode, ApiError> {
    change(&state, kind, group, member, true).await
}

/// Takes a computer or package out of a group.
#[utoipa::path(delete, path = "/groups/{kind}/{id}/members/{member}", operation_id = "remove_member", tag = "groups", params(("kind" = inline(Kind), Path, description = "What it holds")),
    responses((status = 204, description = "Done"), NotFound))]
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
