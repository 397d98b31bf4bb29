//! All routes.

use crate::state::ServerState;
use crate::{access_log, agent_api, client_api, exchange, metrics, rest};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, delete, get, post, put};
use oco_protocol::rpc::AGENT_API_PATH;
use std::sync::Arc;

/// Where the oldest agents fetch archives.
const OLD_DOWNLOAD_PATH: &str = "/payloadprovider.php";

/// Where automation administers the server.
pub(crate) const CLIENT_API_PATH: &str = "/api-client.php";

/// The server without a socket.
pub fn router(state: Arc<ServerState>) -> Router {
    let rest = Router::new()
        .route(
            "/packages",
            get(rest::packages::list).post(rest::packages::create),
        )
        .route("/packages/{id}", delete(rest::packages::remove))
        .route("/deployments", post(rest::deployments::create))
        .route("/deployments/{id}", get(rest::deployments::show))
        .route(
            "/computers",
            get(rest::computers::list).post(rest::computers::create),
        )
        .route(
            "/computers/{id}",
            get(rest::computers::show)
                .put(rest::computers::change)
                .delete(rest::computers::remove),
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
        .route(
            "/groups/computers/{id}/policies",
            get(rest::policies::show_group).put(rest::policies::replace_group),
        )
        .route(
            "/deployment-rules",
            get(rest::deployment_rules::list).post(rest::deployment_rules::create),
        )
        .route("/deployment-rules/{id}", put(rest::deployment_rules::change))
        .route(
            "/groups/{kind}",
            get(rest::groups::list).post(rest::groups::create),
        )
        .route("/groups/{kind}/{id}", delete(rest::groups::remove))
        .route("/groups/{kind}/{id}/members", get(rest::groups::members))
        .route(
            "/groups/{kind}/{id}/members/{member}",
            put(rest::groups::join).delete(rest::groups::leave),
        )
        .route("/users", get(rest::users::list).post(rest::users::create))
        .route(
            "/users/{id}",
            put(rest::users::change).delete(rest::users::remove),
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
        .route(AGENT_API_PATH, agent_api.clone())
        .route(OLD_DOWNLOAD_PATH, agent_api)
        .route(CLIENT_API_PATH, post(client_api::handle))
        .nest("/mock/v1", rest)
        .route("/healthz", get(rest::health))
        .route("/metrics", get(metrics::show))
        .layer(from_fn_with_state(state.clone(), access_log::layer))
        .with_state(state)
}
