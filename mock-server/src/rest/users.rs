//! Users of the client API.

use super::openapi::{Conflict, NotFound};
use super::{Body, Created, Path, created, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::users::{AddUser, ChangeUser, RemoveUser, UserOutcome};
use crate::users::{self, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use oco_protocol::Key;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// Without colons.
    #[schema(min_length = 1, max_length = 255, pattern = r"^[^:]*[^:\s][^:]*$")]
    name: String,
    #[schema(value_type = String, format = Password, min_length = 1)]
    password: Key,
    role: Role,
    /// Computer groups that the user is limited to.
    #[serde(default)]
    computer_groups: Vec<i64>,
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UserChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[schema(value_type = Option<String>, format = Password, min_length = 1)]
    password: Option<Key>,
    role: Option<Role>,
    computer_groups: Option<Vec<i64>>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    id: i64,
    name: String,
    role: Role,
    /// Those that the user is limited to; none: no limit.
    computer_groups: Vec<i64>,
}

/// Users.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Users {
    users: Vec<UserView>,
}

/// Lists users, without their passwords.
#[utoipa::path(get, path = "/users", operation_id = "list_users", tag = "users",
    responses((status = 200, description = "All users by id", body = Users)))]
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Json<Users> {
    let rules = state.rules();
    let users = rules.users.iter().map(|user| UserView {
        id: user.id,
        name: user.name.clone(),
        role: user.role,
        computer_groups: user.limits.clone(),
    });
    Json(Users {
        users: users.collect(),
    })
}

/// Adds a user.
#[utoipa::path(post, path = "/users", operation_id = "create_user", tag = "users", request_body = NewUser,
    responses((status = 201, description = "The new user", body = Created), NotFound, Conflict))]
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewUser>,
) -> Result<impl IntoResponse, ApiError> {
    let name = text("name", &new.name, 255)?;
    if name.contains(':') {
        return Err(ApiError::Invalid("name must not have a colon".into()));
    }
    let write = AddUser {
        name,
        password_hash: hash(&new.password).await?,
        role: new.role,
        limits: new.computer_groups,
        now: state.now(),
    };
    let id = finish(&state, state.store.write(write).await?).await?;
    Ok(created(id))
}

/// Changes a user.
#[utoipa::path(put, path = "/users/{id}", operation_id = "change_user", tag = "users", request_body = Change,
    responses((status = 204, description = "Done"), NotFound, Conflict))]
pub(crate) async fn change(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
    Body(change): Body<Change>,
) -> Result<StatusCode, ApiError> {
    let password_hash = match &change.password {
        Some(password) => Some(hash(password).await?),
        None => None,
    };
    let write = ChangeUser {
        id,
        password_hash,
        role: change.role,
        limits: change.computer_groups,
    };
    finish(&state, state.store.write(write).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user.
#[utoipa::path(delete, path = "/users/{id}", operation_id = "remove_user", tag = "users",
    responses((status = 204, description = "Done"), NotFound, Conflict))]
pub(crate) async fn remove(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    finish(&state, state.store.write(RemoveUser(id)).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn hash(password: &Key) -> Result<String, ApiError> {
    if password.is_empty() {
        return Err(ApiError::Invalid("password must not be empty".into()));
    }
    users::hash(password.expose().to_owned())
        .await
        .map_err(|error| ApiError::Invalid(error.to_string()))
}

async fn finish(state: &ServerState, outcome: UserOutcome) -> Result<i64, ApiError> {
    let id = match outcome {
        UserOutcome::Done(id) => id,
        UserOutcome::NameTaken => {
            return Err(ApiError::Conflict("there is a user of that name already".into()));
        }
        UserOutcome::NoSuchUser => return Err(ApiError::NotFound("such user".into())),
        UserOutcome::NoSuchGroup(group) => return Err(ApiError::NotFound(format!("computer group {group}"))),
        UserOutcome::LastAdministrator => {
            let reason = "this user is the last administrator without limits";
            return Err(ApiError::Conflict(reason.into()));
        }
    };
    state.reload_rules().await?;
    Ok(id)
}
