//! Errors as responses: the refusals of the agent API and the JSON errors of the REST surface.

use crate::clock::RandomError;
use crate::store::StoreError;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::ext::ReasonPhrase;
use serde::Serialize;

/// Why the agent API refuses a request: a status and a line of plain text, sent as HTML as the real server does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Content type mismatch")]
    ContentType,
    #[error("Invalid JSON data")]
    InvalidJson,
    /// The same, where the envelope is right and what is in it is not.
    #[error("Invalid JSON data")]
    Parameters,
    #[error("Unknown method")]
    UnknownMethod,
    #[error("Signature header missing")]
    SignatureMissing,
    #[error("Invalid agent signature")]
    InvalidSignature,
    /// Of the keyed generation.
    #[error("Agent registration key mismatch")]
    RegistrationKeyMismatch,
    /// Of the keyed generation.
    #[error("Agent key mismatch")]
    KeyMismatch,
    /// Of the server of 2022.
    #[error("Update Not Necessary")]
    UpdateNotNecessary,
    #[error("Agent timestamp too old")]
    TimestampTooOld,
    #[error("Client self-registration is disabled")]
    RegistrationDisabled,
    #[error("Computer not found")]
    UnknownComputer,
    #[error("Update refused (too often or invalid data)")]
    UpdateRefused,
    #[error("Package not found")]
    UnknownPackage,
    #[error("No active job for this package")]
    NoActiveJob,
    #[error("Job »{0}« not found")]
    UnknownJob(String),
    #[error("Computer not allowed to update job »{0}«")]
    ForeignJob(String),
    #[error("Invalid password data")]
    InvalidPassword,
    #[error("Request body larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("Request body cannot be read")]
    BodyUnreadable,
    #[error("Request body not received in time")]
    BodyTimeout,
    /// What the database of a real server would refuse: an empty body.
    #[error("{0}")]
    Conflict(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::ContentType
            | Self::InvalidJson
            | Self::Parameters
            | Self::UpdateNotNecessary
            | Self::UnknownMethod
            | Self::UpdateRefused
            | Self::UnknownPackage
            | Self::NoActiveJob
            | Self::UnknownJob(_)
            | Self::InvalidPassword
            | Self::BodyUnreadable => StatusCode::BAD_REQUEST,
            Self::SignatureMissing
            | Self::InvalidSignature
            | Self::RegistrationKeyMismatch
            | Self::KeyMismatch
            | Self::TimestampTooOld
            | Self::RegistrationDisabled
            | Self::UnknownComputer
            | Self::ForeignJob(_) => StatusCode::UNAUTHORIZED,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) | Self::Store(_) | Self::Random(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refusal {
    /// As the server of 2022 refuses: a reason phrase and an empty body. Downloads by query are refused so by all.
    pub(crate) fn into_reason_phrase(self) -> Response {
        let (status, phrase) = match &self {
            Self::ContentType => (StatusCode::BAD_REQUEST, "Content Type Mismatch"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "Payload Corrupt"),
            Self::Parameters => (StatusCode::BAD_REQUEST, "Parameter Mismatch"),
            Self::UnknownMethod => (StatusCode::BAD_REQUEST, "Unknown Method"),
            Self::UpdateNotNecessary => (StatusCode::BAD_REQUEST, "Update Not Necessary"),
            Self::SignatureMissing
            | Self::InvalidSignature
            | Self::RegistrationKeyMismatch
            | Self::KeyMismatch
            | Self::RegistrationDisabled => (StatusCode::UNAUTHORIZED, "Client Not Authorized"),
            Self::NoActiveJob => (StatusCode::UNAUTHORIZED, "No Active Job"),
            Self::ForeignJob(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::UnknownComputer => (StatusCode::NOT_FOUND, "Computer Not Found"),
            Self::UnknownJob(_) => (StatusCode::NOT_FOUND, "Job Not Found"),
            Self::UnknownPackage => (StatusCode::NOT_FOUND, "Not Found"),
            other => (other.status(), ""),
        };
        let mut response = self.into_response();
        *response.status_mut() = status;
        *response.body_mut() = Body::empty();
        if !phrase.is_empty() {
            response
                .extensions_mut()
                .insert(ReasonPhrase::from_static(phrase.as_bytes()));
        }
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = if status.is_server_error() {
            tracing::warn!(
                status = status.as_u16(),
                error = chain(&self),
                "agent request failed"
            );
            String::new()
        } else {
            tracing::debug!(status = status.as_u16(), reason = %self, "agent request refused");
            self.to_string()
        };
        (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], body).into_response()
    }
}

/// Why a request was refused.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    error: String,
}

/// Why the REST surface refuses a request: a status and [`ErrorBody`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the Authorization header is missing or wrong: send `Authorization: Bearer <API key>`")]
    Unauthorized,
    #[error("{0}")]
    Invalid(String),
    #[error("there is no {0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0} is not allowed here")]
    MethodNotAllowed(String),
    #[error("{message}")]
    Rejected { status: StatusCode, message: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Rejected { status, .. } => *status,
            Self::Store(error) => {
                tracing::warn!(error = chain(error), "REST request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut response = (status, Json(ErrorBody { error: chain(&self) })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Some messages repeat their cause.
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}
