//! All routes.

use crate::state::ServerState;
use crate::{access_log, client_api, exchange, metrics, rest};
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use oco_protocol::rpc::AGENT_API_PATH;
use std::sync::Arc;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

/// Where the oldest agents fetch archives.
const OLD_DOWNLOAD_PATH: &str = "/payloadprovider.php";

/// Where automation administers the server.
pub(crate) const CLIENT_API_PATH: &str = "/api-client.php";

/// What tests set up and look at is below this.
const REST_PATH: &str = "/mock/v1";

/// Every route of the REST surface. Each brings its path and its description along (`utoipa::path` at its handler), and
/// none can be without; `oco-mock-server openapi` prints them all.
fn rest_routes() -> Vec<UtoipaMethodRouter<Arc<ServerState>>> {
    use rest::{
        computers, conformance, deployment_rules, deployments, faults, groups, jobs, packages, policies,
        registered, rules, settings, software, stats, users,
    };
    vec![
        routes!(packages::list, packages::create),
        routes!(packages::remove),
        routes!(deployments::create),
        routes!(deployments::show),
        routes!(computers::list, computers::create),
        routes!(computers::show, computers::change, computers::remove),
        routes!(registered::create),
        routes!(computers::events),
        routes!(computers::passwords),
        routes!(jobs::list),
        routes!(software::computers),
        routes!(rules::events, rules::add_event),
        routes!(rules::remove_event),
        routes!(rules::passwords, rules::add_password),
        routes!(rules::remove_password),
        routes!(policies::show, policies::replace),
        routes!(policies::show_group, policies::replace_group),
        routes!(deployment_rules::list, deployment_rules::create),
        routes!(deployment_rules::change, deployment_rules::remove),
        routes!(groups::list, groups::create),
        routes!(groups::remove),
        routes!(groups::members),
        routes!(groups::join, groups::leave),
        routes!(users::list, users::create),
        routes!(users::change, users::remove),
        routes!(settings::show, settings::change),
        routes!(stats::show),
        routes!(faults::list, faults::create),
        routes!(faults::show, faults::remove),
        routes!(conformance::summary, conformance::reset),
        routes!(conformance::findings),
    ]
}

/// The description of the REST surface, in JSON.
pub fn openapi() -> String {
    described().document
}

struct Described {
    /// Those that want the API key.
    locked: Router<Arc<ServerState>>,
    open: Router<Arc<ServerState>>,
    document: String,
}

/// The routes of the REST surface together with what is said of them.
fn described() -> Described {
    let collect = |routes: Vec<_>| {
        let all = routes
            .into_iter()
            .fold(OpenApiRouter::default(), OpenApiRouter::routes);
        all.split_for_parts()
    };
    let (locked, mut paths) = collect(rest_routes());
    let (open, open_paths) = collect(vec![routes!(rest::openapi::show)]);
    paths.merge(open_paths);
    let document = rest::openapi::document(REST_PATH, paths);
    Described {
        locked,
        open,
        document,
    }
}

/// The server without a socket.
pub fn router(state: Arc<ServerState>) -> Router {
    let described = described();
    let rest = described
        .locked
        .fallback(rest::unknown)
        .method_not_allowed_fallback(rest::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), rest::authenticate))
        .merge(
            described
                .open
                .layer(Extension(rest::openapi::Document::from(described.document))),
        )
        .layer(from_fn(rest::label));
    let within_limit = DefaultBodyLimit::max(state.limits.body);
    // The bodies are within limits of their own.
    let agent_api = any(exchange::handle);
    Router::new()
        .route(AGENT_API_PATH, agent_api.clone())
        .route(OLD_DOWNLOAD_PATH, agent_api)
        .route(CLIENT_API_PATH, post(client_api::handle).layer(within_limit))
        .nest(REST_PATH, rest.layer(within_limit))
        .route("/healthz", get(rest::health))
        .route("/metrics", get(metrics::show))
        .layer(from_fn_with_state(state.clone(), access_log::layer))
        .with_state(state)
}
