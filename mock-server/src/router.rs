//! All routes.

use crate::state::ServerState;
use crate::{access_log, agent_api, exchange, metrics, rest};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use oco_protocol::rpc::AGENT_API_PATH;
use std::sync::Arc;

/// The server without a socket.
pub fn router(state: Arc<ServerState>) -> Router {
    let rest = Router::new()
        .route(
            "/packages",
            get(rest::packages::list).post(rest::packages::create),
        )
        .route("/deployments", post(rest::deployments::create))
        .route("/deployments/{id}", get(rest::deployments::show))
        .route(
            "/computers",
            get(rest::computers::list).post(rest::computers::create),
        )
        .route(
            "/computers/{id}",
            get(rest::computers::show).put(rest::computers::change),
        )
        .route("/computers/{id}/events", get(rest::computers::events))
        .route("/computers/{id}/passwords", get(rest::computers::passwords))
        .route("/jobs", get(rest::jobs::list))
        .route("/software/computers", get(rest::software::computers))
        .route(
            "/event-rules",
            get(rest::rules::events).post(rest::rules::add_event),
        )
        .route(
            "/password-rules",
            get(rest::rules::passwords).post(rest::rules::add_password),
        )
        .route(
            "/policies",
            get(rest::policies::show).put(rest::policies::replace),
        )
        .route("/settings", get(rest::settings::show).put(rest::settings::change))
        .route("/stats", get(rest::stats::show))
        .route("/faults", get(rest::faults::list).post(rest::faults::create))
        .route(
            "/faults/{id}",
            get(rest::faults::show).delete(rest::faults::remove),
        )
        .route(
            "/conformance",
            get(rest::conformance::summary).delete(rest::conformance::reset),
        )
        .route("/conformance/findings", get(rest::conformance::findings))
        .fallback(rest::unknown)
        .method_not_allowed_fallback(rest::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), rest::authenticate))
        .layer(from_fn(rest::label))
        .layer(DefaultBodyLimit::max(state.limits.body));
    // The bodies are within limits of their own.
    let agent_api = any(agent_api::handle)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(state.clone(), exchange::layer));
    Router::new()
        .route(AGENT_API_PATH, agent_api)
        .nest("/mock/v1", rest)
        .route("/healthz", get(rest::health))
        .route("/metrics", get(metrics::show))
        .layer(from_fn_with_state(state.clone(), access_log::layer))
        .with_state(state)
}
