//! Rules: events that computers are asked for, and passwords that they rotate.

use super::openapi::{Conflict, NotFound};
use super::{Body, Created, Path, created, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::events::{AddEventRule, EventRule, RemoveRule, RuleKind};
use crate::store::passwords::{AddPasswordRule, StoredPasswordRule};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Thirty days, s.
const DEFAULT_VALIDITY: i64 = 30 * 24 * 3600;
/// Longest password, characters.
const MAX_LENGTH: i64 = 1024;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEventRule {
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    log: String,
    #[serde(default)]
    query: String,
}

/// Event rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventRules {
    event_rules: Vec<EventRule>,
}

/// Lists event rules.
#[utoipa::path(get, path = "/event-rules", operation_id = "list_event_rules", tag = "rules",
    responses((status = 200, description = "All rules by id", body = EventRules)))]
pub(crate) async fn events(State(state): State<Arc<ServerState>>) -> Json<EventRules> {
    let event_rules = state.rules().events.clone();
    Json(EventRules { event_rules })
}

/// Adds an event rule.
#[utoipa::path(post, path = "/event-rules", operation_id = "create_event_rule", tag = "rules", request_body = NewEventRule,
    responses((status = 201, description = "The new rule", body = Created)))]
pub(crate) async fn add_event(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewEventRule>,
) -> Result<impl IntoResponse, ApiError> {
    let write = AddEventRule {
        log: text("log", &new.log, 255)?,
        query: new.query,
    };
    let id = state.store.write(write).await?;
    state.reload_rules().await?;
    Ok(created(id))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPasswordRule {
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    username: String,
    #[schema(min_length = 1)]
    alphabet: String,
    #[schema(minimum = 1, maximum = 1024)]
    length: i64,
    /// Seconds after which a password is rotated; thirty days, if left out.
    #[serde(default = "default_validity")]
    #[schema(minimum = 1)]
    valid_for: i64,
    /// All computers, if left out.
    computer_group: Option<i64>,
    /// Passwords that are kept beside the current one; all, if left out.
    #[schema(minimum = 0)]
    history: Option<i64>,
}

fn default_validity() -> i64 {
    DEFAULT_VALIDITY
}

/// Removes an event rule; the events that came of it stay.
#[utoipa::path(delete, path = "/event-rules/{id}", operation_id = "remove_event_rule", tag = "rules",
    responses((status = 204, description = "Done"), NotFound))]
pub(crate) async fn remove_event(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    remove(&state, RuleKind::Events, id).await
}

/// Password rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasswordRules {
    password_rules: Vec<StoredPasswordRule>,
}

/// Lists password rules.
#[utoipa::path(get, path = "/password-rules", operation_id = "list_password_rules", tag = "rules",
    responses((status = 200, description = "All rules by id", body = PasswordRules)))]
pub(crate) async fn passwords(State(state): State<Arc<ServerState>>) -> Json<PasswordRules> {
    let password_rules = state.rules().passwords.clone();
    Json(PasswordRules { password_rules })
}

/// Removes a password rule; the passwords that came of it stay.
#[utoipa::path(delete, path = "/password-rules/{id}", operation_id = "remove_password_rule", tag = "rules",
    responses((status = 204, description = "Done"), NotFound))]
pub(crate) async fn remove_password(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    remove(&state, RuleKind::Passwords, id).await
}

async fn remove(state: &ServerState, kind: RuleKind, id: i64) -> Result<StatusCode, ApiError> {
    let removed = state.store.write(RemoveRule { kind, id }).await?;
    state.reload_rules().await?;
    match removed {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NotFound(format!("rule {id}"))),
    }
}

/// Adds a password rule.
#[utoipa::path(post, path = "/password-rules", operation_id = "create_password_rule", tag = "rules", request_body = NewPasswordRule,
    responses((status = 201, description = "The new rule", body = Created), Conflict))]
pub(crate) async fn add_password(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewPasswordRule>,
) -> Result<impl IntoResponse, ApiError> {
    let username = text("username", &new.username, 255)?;
    if new.alphabet.is_empty() || !(1..=MAX_LENGTH).contains(&new.length) || new.valid_for < 1 {
        let message =
            format!("alphabet must not be empty, length be 1 to {MAX_LENGTH}, valid_for at least 1");
        return Err(ApiError::Invalid(message));
    }
    if new.history.is_some_and(|history| history < 0) {
        return Err(ApiError::Invalid("history must not be negative".into()));
    }
    let write = AddPasswordRule {
        computer_group: new.computer_group,
        history: new.history,
        username: username.clone(),
        alphabet: new.alphabet,
        length: new.length,
        valid_for: new.valid_for,
    };
    let id = state.store.write(write).await?;
    let id = id.ok_or_else(|| {
        ApiError::Conflict(format!(
            "there is a rule for {username:?} already, or no such computer group"
        ))
    })?;
    state.reload_rules().await?;
    Ok(created(id))
}
