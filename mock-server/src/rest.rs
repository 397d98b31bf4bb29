//! The REST surface under `/mock/v1`: what a test sets up and looks at. JSON in and out; times are UNIX seconds.

pub(crate) mod computers;
pub(crate) mod conformance;
pub(crate) mod deployment_rules;
pub(crate) mod deployments;
pub(crate) mod faults;
pub(crate) mod groups;
pub(crate) mod jobs;
pub(crate) mod openapi;
pub(crate) mod packages;
pub(crate) mod policies;
pub(crate) mod registered;
pub(crate) mod rules;
pub(crate) mod settings;
pub(crate) mod software;
pub(crate) mod stats;
pub(crate) mod users;

use crate::access_log::Label;
use crate::error::ApiError;
use crate::keys;
use crate::state::ServerState;
use crate::store::packages::Removal;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// Largest page of a list.
const MAX_PAGE: i64 = 1000;

/// A JSON body whose errors are [`ApiError`]s, and which has to come in time.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<ServerState>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Arc<ServerState>) -> Result<Self, ApiError> {
        // As text first: what it says may have to be altered before it can be stored.
        let body = axum::Json::<Box<RawValue>>::from_request(request, state);
        match tokio::time::timeout(state.limits.body_timeout, body).await {
            Ok(body) => {
                let body = body?.0;
                let storable = state.store.storable(body.get().as_bytes());
                Ok(Self(axum::Json::from_bytes(&storable)?.0))
            }
            Err(_) => Err(ApiError::Rejected {
                status: StatusCode::REQUEST_TIMEOUT,
                message: "the request body was not received in time".into(),
            }),
        }
    }
}

/// Query parameters whose errors are [`ApiError`]s.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);

/// A path parameter whose errors are [`ApiError`]s.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::Rejected {
            status: rejection.status(),
            message: rejection.body_text(),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Rejected {
            status: rejection.status(),
            message: rejection.body_text(),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::Rejected {
            status: rejection.status(),
            message: rejection.body_text(),
        }
    }
}

/// Lets only requests with the API key pass.
pub(crate) async fn authenticate(
    State(state): State<Arc<ServerState>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match presented.and_then(|value| value.split_once(' ')) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && keys::same(&state.api_key, key) => {
            state.follow_others().await?;
            Ok(next.run(request).await)
        }
        _ => Err(ApiError::Unauthorized),
    }
}

/// Marks responses as those of the REST surface.
pub(crate) async fn label(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Label("rest"));
    response
}

/// Says that the server serves.
pub(crate) async fn health(State(state): State<Arc<ServerState>>) -> Result<&'static str, ApiError> {
    state.store.ping().await?;
    Ok("ok\n")
}

/// Answers paths that do not exist.
pub(crate) async fn unknown(request: Request) -> ApiError {
    ApiError::NotFound(format!("path {}", request.uri().path()))
}

/// Answers methods that a path does not have.
pub(crate) async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::MethodNotAllowed(method.to_string())
}

/// Default of flags.
fn yes() -> bool {
    true
}

/// Default minutes until a restart, shutdown or exit.
fn five() -> i64 {
    5
}

/// A page of a list, within bounds.
fn page(offset: Option<i64>, limit: Option<i64>) -> Result<(i64, i64), ApiError> {
    let (offset, limit) = (offset.unwrap_or(0), limit.unwrap_or(100));
    if offset < 0 || !(1..=MAX_PAGE).contains(&limit) {
        return Err(ApiError::Invalid(format!(
            "offset must not be negative and limit must be 1 to {MAX_PAGE}"
        )));
    }
    Ok((offset, limit))
}

/// A text that must not be empty or longer than `max` characters.
fn text(field: &str, value: &str, max: usize) -> Result<String, ApiError> {
    let value = value.trim();
    if value.is_empty() || value.chars().count() > max {
        return Err(ApiError::Invalid(format!(
            "{field} must have 1 to {max} characters"
        )));
    }
    Ok(value.to_owned())
}

/// The answer to something removed.
fn removed(removal: Removal, what: impl FnOnce() -> String) -> Result<StatusCode, ApiError> {
    match removal {
        Removal::Done => Ok(StatusCode::NO_CONTENT),
        Removal::NotFound => Err(ApiError::NotFound(what())),
        Removal::InUse => Err(ApiError::Conflict(format!("{} is in use", what()))),
    }
}

/// What was created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Created {
    id: i64,
}

/// The answer to something created.
fn created(id: i64) -> (StatusCode, axum::Json<Created>) {
    (StatusCode::CREATED, axum::Json(Created { id }))
}
