//! Settings that can be changed while the server runs.

use super::Body;
use crate::error::ApiError;
use crate::state::{ServerState, Settings};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The settings as they are.
#[derive(Debug, Serialize)]
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
pub(crate) async fn show(State(state): State<Arc<ServerState>>) -> Json<SettingsView> {
    Json(state.settings().into())
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    update_interval: Option<u64>,
    self_registration: Option<bool>,
}

/// Changes the settings.
pub(crate) async fn change(
    State(state): State<Arc<ServerState>>,
    Body(change): Body<Change>,
) -> Result<Json<SettingsView>, ApiError> {
    let apply = |settings: &mut Settings| {
        settings.update_interval = change
            .update_interval
            .map_or(settings.update_interval, Duration::from_secs);
        settings.self_registration = change.self_registration.unwrap_or(settings.self_registration);
    };
    Ok(Json(state.change_settings(apply).await?.into()))
}
