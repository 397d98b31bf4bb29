//! Rules: events that computers are asked for, and passwords that they rotate.

use super::{Body, created, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::events::AddEventRule;
use crate::store::passwords::AddPasswordRule;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Thirty days, s.
const DEFAULT_VALIDITY: i64 = 30 * 24 * 3600;
/// Longest password, characters.
const MAX_LENGTH: i64 = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEventRule {
    log: String,
    #[serde(default)]
    query: String,
}

/// Lists event rules.
pub(crate) async fn events(State(state): State<Arc<ServerState>>) -> Json<Value> {
    Json(json!({ "event_rules": state.rules().events }))
}

/// Adds an event rule.
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
    Ok(created(json!({ "id": id })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPasswordRule {
    username: String,
    alphabet: String,
    length: i64,
    /// Seconds after which a password is rotated.
    #[serde(default = "default_validity")]
    valid_for: i64,
    /// All computers, if left out.
    computer_group: Option<i64>,
    /// Passwords that are kept beside the current one; all, if left out.
    history: Option<i64>,
}

fn default_validity() -> i64 {
    DEFAULT_VALIDITY
}

/// Lists password rules.
pub(crate) async fn passwords(State(state): State<Arc<ServerState>>) -> Json<Value> {
    Json(json!({ "password_rules": state.rules().passwords }))
}

/// Adds a password rule.
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
    Ok(created(json!({ "id": id })))
}
