//! Settings that can be changed while the server runs.

use super::Body;
use crate::config::MAX_SECONDS;
use crate::error::ApiError;
use crate::state::{ServerState, Settings};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// The settings as they are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Settings)]
pub(crate) struct SettingsView {
    /// Seconds.
    update_interval: u64,
    self_registration: bool,
}

impl From<Settings> for SettingsView {
    fn from(settings: Settings) -> Self {
        Self {
            update_interval: settings.update_interval.as_secs(),
            self_registration: settings.self_registration,
        }
    }
}

/// Shows the settings.
#[utoipa::path(get, path = "/settings", operation_id = "show_settings", tag = "settings",
    responses((status = 200, description = "The settings", body = SettingsView)))]
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Json<SettingsView> {
    Json(state.settings().into())
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SettingsChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// Seconds after which an inventory is asked for again.
    #[schema(maximum = 3_153_600_000_u64)]
    update_interval: Option<u64>,
    self_registration: Option<bool>,
}

/// Changes the settings.
#[utoipa::path(put, path = "/settings", operation_id = "change_settings", tag = "settings", request_body = Change,
    responses((status = 200, description = "The settings as they are now", body = SettingsView)))]
pub(crate) async fn change(
    State(state): State<Arc<ServerState>>,
    Body(change): Body<Change>,
) -> Result<Json<SettingsView>, ApiError> {
    if change
        .update_interval
        .is_some_and(|seconds| seconds > MAX_SECONDS)
    {
        let message = format!("update_interval must be at most {MAX_SECONDS}");
        return Err(ApiError::Invalid(message));
    }
    let apply = |settings: &mut Settings| {
        settings.update_interval = change
            .update_interval
            .map_or(settings.update_interval, Duration::from_secs);
        settings.self_registration = change.self_registration.unwrap_or(settings.self_registration);
    };
    Ok(Json(state.change_settings(apply).await?.into()))
}
