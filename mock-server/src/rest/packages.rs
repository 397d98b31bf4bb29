//! Packages.

use super::openapi::{Conflict, NotFound};
use super::{Body, Created, Path, created, removed, text};
use crate::error::ApiError;
use crate::package_files::{self, NewFile};
use crate::state::ServerState;
use crate::store::packages::{AddPackage, PackageView, Procedure, RemovePackage};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPackage {
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    name: String,
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    version: String,
    #[serde(default)]
    notes: String,
    /// The command line that installs it.
    #[serde(default)]
    procedure: String,
    /// Comma-separated return codes; empty: every code is a success.
    #[serde(default = "zero")]
    #[schema(pattern = r"^\s*([-+]?\d{1,18})?\s*(,\s*([-+]?\d{1,18})?\s*)*$")]
    success_codes: String,
    /// 0 nothing, 1 restart, 2 shutdown, 3 the agent exits.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 3)]
    post_action: i64,
    /// 0 keeps other versions, 1 the installer removes them, 2 jobs uninstall them.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2)]
    upgrade_behavior: i64,
    #[serde(default)]
    uninstall_procedure: String,
    #[serde(default = "zero")]
    #[schema(pattern = r"^\s*([-+]?\d{1,18})?\s*(,\s*([-+]?\d{1,18})?\s*)*$")]
    uninstall_success_codes: String,
    #[serde(default)]
    #[schema(minimum = 0, maximum = 3)]
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

/// Packages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Packages {
    packages: Vec<PackageView>,
}

/// Lists packages.
#[utoipa::path(get, path = "/packages", operation_id = "list_packages", tag = "packages",
    responses((status = 200, description = "All packages by id", body = Packages)))]
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Result<Json<Packages>, ApiError> {
    let packages = state.store.packages().await?;
    Ok(Json(Packages { packages }))
}

/// Adds a package.
#[utoipa::path(post, path = "/packages", operation_id = "create_package", tag = "packages", request_body = NewPackage,
    responses((status = 201, description = "The new package", body = Created), Conflict))]
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
    Ok(created(id))
}

/// Removes a package with its jobs and installations.
#[utoipa::path(delete, path = "/packages/{id}", operation_id = "remove_package", tag = "packages",
    responses((status = 204, description = "Done"), NotFound))]
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
