//! The client API: JSON-RPC by which automation administers the server, as on a real one.

mod access;
mod computers;
mod containers;
mod fault;
mod packages;
mod parameters;
mod reports;
mod rules;

use crate::access_log::Label;
use crate::caller::Caller;
use crate::keys;
use crate::php;
use crate::state::ServerState;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fault::Fault;
use oco_protocol::rpc::{CONTENT_TYPE, JSONRPC_VERSION};
use parameters::Parameters;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Label of requests without a known method.
const UNKNOWN: Label = Label("client api");

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Everyone.
    Look,
    /// Operators; those with a limit only within it.
    Operate,
    /// Operators without a limit: what is changed belongs to no computer group.
    OperateEverywhere,
}

/// All methods.
const METHODS: [(&str, Access); 26] = [
    ("oco.info", Access::Look),
    ("oco.computer.list", Access::Look),
    ("oco.computer.get", Access::Look),
    ("oco.computer.create", Access::OperateEverywhere),
    ("oco.computer.remove", Access::Operate),
    ("oco.computer.add_to_group", Access::Operate),
    ("oco.computer.remove_from_group", Access::Operate),
    ("oco.computer.wol", Access::Operate),
    ("oco.package_family.list", Access::Look),
    ("oco.package.list", Access::Look),
    ("oco.package.get", Access::Look),
    ("oco.package.create", Access::OperateEverywhere),
    ("oco.package.remove", Access::OperateEverywhere),
    ("oco.package.add_to_group", Access::OperateEverywhere),
    ("oco.package.remove_from_group", Access::OperateEverywhere),
    ("oco.job_container.list", Access::Look),
    ("oco.job_container.job.list", Access::Look),
    ("oco.job_container.deploy", Access::Operate),
    ("oco.job_container.uninstall", Access::Operate),
    ("oco.job_container.remove", Access::Operate),
    ("oco.job_container.job.remove", Access::Operate),
    ("oco.remove_installation_assignment", Access::Operate),
    ("oco.deployment_rule.list", Access::Look),
    ("oco.deployment_rule.job.list", Access::Look),
    ("oco.report.list", Access::Look),
    ("oco.report.execute", Access::Look),
];

/// One call of a method.
struct Call {
    state: Arc<ServerState>,
    caller: Caller,
    data: Parameters,
}

#[derive(Deserialize)]
struct Envelope {
    jsonrpc: String,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    method: Value,
    #[serde(default)]
    params: Map<String, Value>,
}

/// Serves one request.
pub(crate) async fn handle(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let mut label = UNKNOWN;
    let answer = exchange(state, request, &mut label).await;
    let mut response = answer.unwrap_or_else(|refused| refused);
    response.extensions_mut().insert(label);
    response
}

/// The answer, or the refusal of what does not get as far as a method.
async fn exchange(
    state: Arc<ServerState>,
    request: Request,
    label: &mut Label,
) -> Result<Response, Response> {
    let caller = access::authenticate(&state, request.headers())
        .await
        .map_err(IntoResponse::into_response)?;
    // Not before it is known who sends it: a package may be large.
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| value.as_bytes() == CONTENT_TYPE.as_bytes());
    let body = read(&state, request).await?;
    let envelope = serde_json::from_slice::<Envelope>(&state.store.storable(&body))
        .ok()
        .filter(|envelope| is_json && envelope.jsonrpc == JSONRPC_VERSION)
        .ok_or_else(bad_request)?;
    let name = envelope.method.as_str().unwrap_or_default();
    let method = METHODS.into_iter().find(|(known, _)| *known == name);
    if let Some((name, _)) = method {
        *label = Label(name);
    }
    let php = state.php;
    let outcome = call(state, caller, envelope.params, method).await;
    let answer = match outcome {
        Ok(mut data) => {
            if php.has_textual_numbers() {
                php::numbers_to_texts(&mut data);
            }
            json!({"jsonrpc": "2.0", "id": envelope.id, "result": {"success": true, "data": data}})
        }
        Err(fault) => {
            let error = json!({"code": fault.code(), "message": fault.message(), "data": null});
            json!({"jsonrpc": "2.0", "id": envelope.id, "error": error})
        }
    };
    Ok(Json(answer).into_response())
}

/// The whole body, within the limits of size and time.
async fn read(state: &ServerState, request: Request) -> Result<Bytes, Response> {
    let reading = Bytes::from_request(request, &());
    match tokio::time::timeout(state.limits.body_timeout, reading).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::BAD_REQUEST => Err(bad_request()),
        Ok(Err(rejection)) => Err(rejection.status().into_response()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

fn bad_request() -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/html; charset=UTF-8")];
    (StatusCode::BAD_REQUEST, content_type, "").into_response()
}

async fn call(
    state: Arc<ServerState>,
    caller: Caller,
    mut params: Map<String, Value>,
    method: Option<(&'static str, Access)>,
) -> Result<Value, Fault> {
    let presented = params.get("api_key").and_then(Value::as_str).unwrap_or_default();
    if !keys::same(&state.api_key, presented) {
        return Err(Fault::Denied);
    }
    let Some((name, access)) = method else {
        return Err(Fault::Invalid("Unknown Method".into()));
    };
    caller.check(access)?;
    let data = Parameters::new(params.remove("data").unwrap_or_default());
    state.store.settle_expired(state.now()).await?;
    let call = Call { state, caller, data };
    // Boxed: the futures of all methods in one would be as large as the largest.
    Box::pin(dispatch(&call, name)).await
}

async fn dispatch(call: &Call, name: &str) -> Result<Value, Fault> {
    match name {
        "oco.info" => reports::info(call).await,
        "oco.computer.list" => computers::list(call).await,
        "oco.computer.get" => computers::get(call).await,
        "oco.computer.create" => computers::create(call).await,
        "oco.computer.remove" => computers::remove(call).await,
        "oco.computer.add_to_group" => computers::change_group(call, true).await,
        "oco.computer.remove_from_group" => computers::change_group(call, false).await,
        "oco.computer.wol" => computers::wake(call).await,
        "oco.package_family.list" => packages::families(call).await,
        "oco.package.list" => packages::list(call).await,
        "oco.package.get" => packages::get(call).await,
        "oco.package.create" => packages::create(call).await,
        "oco.package.remove" => packages::remove(call).await,
        "oco.package.add_to_group" => packages::change_group(call, true).await,
        "oco.package.remove_from_group" => packages::change_group(call, false).await,
        "oco.job_container.list" => containers::list(call).await,
        "oco.job_container.job.list" => containers::jobs(call).await,
        "oco.job_container.deploy" => containers::deploy(call).await,
        "oco.job_container.uninstall" => containers::uninstall(call).await,
        "oco.job_container.remove" => containers::remove(call).await,
        "oco.job_container.job.remove" => containers::remove_job(call).await,
        "oco.remove_installation_assignment" => containers::remove_installation(call).await,
        "oco.deployment_rule.list" => rules::list(call).await,
        "oco.deployment_rule.job.list" => rules::jobs(call).await,
        "oco.report.list" => reports::list(call),
        "oco.report.execute" => reports::execute(call).await,
        _ => Err(Fault::Invalid("Unknown Method".into())),
    }
}

impl Call {
    /// The answer to what has no data.
    fn nothing(&self) -> Value {
        self.state.php.empty_object()
    }

    /// The answer to something created.
    fn created(&self, id: i64) -> Value {
        json!({ "id": self.state.php.insert_id(id) })
    }
}
