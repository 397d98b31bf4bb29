//! Deployments: containers of jobs.

use super::openapi::NotFound;
use super::{Body, Path, five, text, yes};
use crate::conditions;
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::deployments::{Deploy, Deployment, DeploymentView, Schedule, Targets};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use oco_protocol::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDeployment {
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    name: String,
    /// Package ids in the order of execution.
    #[schema(min_items = 1)]
    packages: Vec<i64>,
    computers: Computers,
    /// Higher goes first.
    #[serde(default)]
    priority: i64,
    /// 0 go on after a failure, 1 fail the rest.
    #[serde(default)]
    #[schema(maximum = 1)]
    sequence_mode: u8,
    /// Now, if left out.
    #[schema(value_type = Option<f64>, minimum = 0)]
    start: Option<Timestamp>,
    /// Never, if left out; after `start` otherwise.
    #[schema(value_type = Option<f64>, minimum = 0)]
    end: Option<Timestamp>,
    /// Minutes until a package's restart, shutdown or exit.
    #[serde(default = "five")]
    restart_timeout: i64,
    #[serde(default)]
    notes: String,
    /// CIDR, with `!` to withhold; tried in order.
    #[serde(default)]
    agent_ip_ranges: Vec<String>,
    /// Such as `FRI 18:00-23:00`, with `!` to withhold; tried in order.
    #[serde(default)]
    time_frames: Vec<String>,
    /// Whether packages are installed again where they are already.
    #[serde(default = "yes")]
    force_install_same_version: bool,
}

/// Ids, at least one, or all that there are.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Targets)]
#[serde(untagged, expecting = "computers must be \"all\" or a list of ids")]
enum Computers {
    Ids(Vec<i64>),
    All(All),
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AllComputers)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

/// A new deployment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedDeployment {
    id: i64,
    /// How many.
    jobs: u64,
}

/// Makes a deployment.
#[utoipa::path(post, path = "/deployments", operation_id = "create_deployment", tag = "deployments", request_body = NewDeployment,
    responses((status = 201, description = "The new deployment", body = CreatedDeployment), NotFound))]
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewDeployment>,
) -> Result<impl IntoResponse, ApiError> {
    let now = state.now();
    let write = checked(new, &state, now)?;
    match state.store.write(write).await? {
        Deployment::Done { id, jobs } => Ok((StatusCode::CREATED, Json(CreatedDeployment { id, jobs }))),
        Deployment::NoSuchPackage(id) => Err(ApiError::NotFound(format!("package {id}"))),
        Deployment::NoSuchInstallation(id) => Err(ApiError::NotFound(format!("installation {id}"))),
        Deployment::NoSuchComputer(id) => Err(ApiError::NotFound(format!("computer {id}"))),
    }
}

/// Shows a deployment with its jobs counted by state.
#[utoipa::path(get, path = "/deployments/{id}", operation_id = "show_deployment", tag = "deployments",
    responses((status = 200, description = "The deployment", body = DeploymentView), NotFound))]
pub(crate) async fn show(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<i64>,
) -> Result<Json<DeploymentView>, ApiError> {
    state.store.settle_expired(state.now()).await?;
    let deployment = state.store.deployment(id).await?;
    deployment
        .map(Json)
        .ok_or_else(|| ApiError::NotFound(format!("deployment {id}")))
}

fn checked(new: NewDeployment, state: &ServerState, now: Timestamp) -> Result<Deploy, ApiError> {
    let invalid = |message: &str| Err(ApiError::Invalid(message.into()));
    let starts_at = new.start.unwrap_or(now);
    if new.packages.is_empty() {
        return invalid("packages must name at least one package");
    }
    if new.sequence_mode > 1 {
        return invalid("sequence_mode must be 0 or 1");
    }
    if new.end.is_some_and(|end| end <= starts_at) {
        return invalid("end must be after start");
    }
    let targets = match new.computers {
        Computers::All(All::All) => Targets::All,
        Computers::Ids(ids) if ids.is_empty() => return invalid("computers must name at least one computer"),
        Computers::Ids(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            Targets::Ids(ids)
        }
    };
    let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(","));
    let agent_ip_ranges = list(new.agent_ip_ranges);
    conditions::check_ranges(agent_ip_ranges.as_deref().unwrap_or_default())
        .map_err(|error| ApiError::Invalid(error.to_string()))?;
    Ok(Deploy {
        cache: state.store.cache.clone(),
        schedule: Schedule {
            name: text("name", &new.name, 255)?,
            notes: new.notes,
            priority: new.priority,
            abort_on_failure: new.sequence_mode == 1,
            starts_at,
            ends_at: new.end,
            restart_timeout: new.restart_timeout,
            agent_ip_ranges,
            time_frames: list(new.time_frames),
            use_wol: false,
            shutdown_waked: false,
            created_by: None,
            now,
        },
        packages: new.packages,
        targets,
        force_same_version: new.force_install_same_version,
    })
}
