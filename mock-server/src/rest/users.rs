//! Users of the client API.

use super::{Body, Path, created, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::users::{AddUser, ChangeUser, RemoveUser, UserOutcome};
use crate::users::{self, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use oco_protocol::Key;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    name: String,
    password: Key,
    role: Role,
    /// Computer groups that the user is limited to.
    #[serde(default)]
    computer_groups: Vec<i64>,
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    password: Option<Key>,
    role: Option<Role>,
    computer_groups: Option<Vec<i64>>,
}

/// Lists users, without their passwords.
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Json<Value> {
    let rules = state.rules();
    let users = rules.users.iter().map(
        |user| json!({"id": user.id, "name": user.name, "role": user.role, "computer_groups": user.limits}),
    );
    Json(json!({ "users": users.collect::<Vec<_>>() }))
}

/// Adds a user.
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
    Ok(created(json!({ "id": id })))
}

/// Changes a user.
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
