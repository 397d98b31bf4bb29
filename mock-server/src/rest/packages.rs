//! Packages.

use super::{Body, Path, created, removed, text};
use crate::error::ApiError;
use crate::package_files::{self, NewFile};
use crate::state::ServerState;
use crate::store::packages::{AddPackage, Procedure, RemovePackage};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPackage {
    name: String,
    version: String,
    #[serde(default)]
    notes: String,
    #[serde(default)]
    procedure: String,
    /// Comma-separated return codes; empty: every code is a success.
    #[serde(default = "zero")]
    success_codes: String,
    /// 0 nothing, 1 restart, 2 shutdown, 3 the agent exits.
    #[serde(default)]
    post_action: i64,
    /// 0 keeps other versions, 1 the installer removes them, 2 jobs uninstall them.
    #[serde(default)]
    upgrade_behavior: i64,
    #[serde(default)]
    uninstall_procedure: String,
    #[serde(default = "zero")]
    uninstall_success_codes: String,
    #[serde(default)]
    uninstall_post_action: i64,
    #[serde(default)]
    download_for_uninstall: bool,
    /// Empty: any.
    #[serde(default)]
    compatible_os: String,
    #[serde(default)]
    compatible_os_version: String,
    #[serde(default)]
    compatible_architecture: String,
    /// One ZIP archive, or files that are zipped.
    #[serde(default)]
    files: Vec<NewFile>,
}

fn zero() -> String {
    "0".into()
}

/// Lists packages.
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "packages": state.store.packages().await? })))
}

/// Adds a package.
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewPackage>,
) -> Result<impl IntoResponse, ApiError> {
    let (name, version) = (text("name", &new.name, 255)?, text("version", &new.version, 255)?);
    let procedure = |command: String, codes: String, post_action: i64| Procedure {
        command,
        success_codes: codes,
        post_action,
    };
    let write = AddPackage {
        name: name.clone(),
        version: version.clone(),
        notes: new.notes,
        install: procedure(new.procedure, new.success_codes, new.post_action),
        upgrade_behavior: new.upgrade_behavior,
        uninstall: procedure(
            new.uninstall_procedure,
            new.uninstall_success_codes,
            new.uninstall_post_action,
        ),
        download_for_uninstall: new.download_for_uninstall,
        compatible_os: new.compatible_os,
        compatible_os_version: new.compatible_os_version,
        compatible_architecture: new.compatible_architecture,
        now: state.now(),
        ..AddPackage::default()
    };
    let id = add(&state, write, new.files).await?;
    let id =
        id.ok_or_else(|| ApiError::Conflict(format!("there is a package {name:?} {version:?} already")))?;
    Ok(created(json!({ "id": id })))
}

/// Removes a package with its jobs and installations.
pub(crate) async fn remove(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    let cache = state.store.cache.clone();
    let write = RemovePackage {
        cache,
        id,
        force: true,
    };
    removed(state.store.write(write).await?, || format!("package {id}"))
}

async fn add(
    state: &ServerState,
    mut package: AddPackage,
    files: Vec<NewFile>,
) -> Result<Option<i64>, ApiError> {
    package_files::check(&package).map_err(ApiError::Invalid)?;
    package.archive = package_files::archive_off_thread(files)
        .await
        .map_err(ApiError::Invalid)?;
    Ok(state.store.write(package).await?)
}
