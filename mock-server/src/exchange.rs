//! One exchange of the agent API with the filters around it: takes the request in, has the filters and the server decide,
//! and performs what they decided.

use crate::access_log::{Label, Peer, UNKNOWN};
use crate::agent_api::{self, Incoming, intake};
use crate::connection::{Control, Cut, CutAt, Delivery, Ending};
use crate::hooks::{self, Answer, Exchange, Filter, Flow, Interruption, Signing};
use crate::state::ServerState;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::ext::ReasonPhrase;
use oco_protocol::Key;
use oco_protocol::rpc::Method;
use oco_protocol::signature::{self, SERVER_SIGNATURE_HEADER};
use serde_json::Value;
use std::sync::Arc;

/// Serves one request of the agent API.
pub(crate) async fn handle(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // Held until there is an answer.
    let intake = match intake::read(&state, &parts.headers, body).await {
        Ok(intake) => intake,
        Err(refusal) => return agent_api::refuse(&state, refusal),
    };
    let control = parts.extensions.get::<Arc<Control>>().cloned();
    let peer = parts.extensions.get::<Peer>().copied();
    let filters: Vec<_> = state
        .instruments
        .filters()
        .filter(|filter| filter.is_active())
        .collect();
    if filters.is_empty() {
        shape(control.as_deref(), Delivery::default());
        let incoming = Incoming {
            http_method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            body: &intake.body,
            peer,
        };
        return agent_api::handle(&state, incoming).await;
    }
    let (method, hostname) = hooks::identify(&parts.uri, &intake.body);
    let mut exchange = Exchange {
        http_method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: intake.body.clone(),
        head: control.as_ref().and_then(|control| control.take_head()),
        received_at: state.now(),
        os: None,
        method,
        hostname,
        notes: parts.extensions,
    };
    if state.instruments.faults.needs_os() {
        exchange.os = os_of(&state, &exchange.hostname).await;
    }
    let response = serve(&state, &filters, &mut exchange, peer).await;
    perform(&state, &exchange, control.as_deref(), response).await
}

/// What came of a request, before it is performed.
enum Outcome {
    Answer(Box<Answer>, Label),
    Hold(std::time::Duration),
    Interrupt(Interruption),
}

async fn serve(
    state: &Arc<ServerState>,
    filters: &[&dyn Filter],
    exchange: &mut Exchange,
    peer: Option<Peer>,
) -> Outcome {
    for filter in filters {
        match filter.request(exchange) {
            Flow::Serve => {}
            Flow::After(delay) => tokio::time::sleep(delay).await,
            Flow::Answer(answer) => return Outcome::Answer(answer, label(exchange)),
            Flow::Hold(time) => return Outcome::Hold(time),
            Flow::Interrupt(interruption) => return Outcome::Interrupt(interruption),
        }
    }
    let incoming = Incoming {
        http_method: &exchange.http_method,
        uri: &exchange.uri,
        headers: &exchange.headers,
        body: &exchange.body,
        peer,
    };
    let (parts, body) = agent_api::handle(state, incoming).await.into_parts();
    let label = parts.extensions.get::<Label>().copied().unwrap_or(UNKNOWN);
    let reason = parts.extensions.get::<ReasonPhrase>();
    // Handlers answer from memory, so nothing is copied and nothing fails.
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut answer = Answer {
        reason: reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()),
        headers: parts.headers,
        ..Answer::new(parts.status, body)
    };
    sign_again(state, filters, exchange, &mut answer);
    for filter in filters {
        filter.response(exchange, &mut answer);
    }
    if answer.signing != Signing::AsItIs {
        resign(state, exchange, &mut answer);
    }
    Outcome::Answer(Box::new(answer), label)
}

/// Has the filters alter a successful answer, and signs what comes of it.
fn sign_again(state: &ServerState, filters: &[&dyn Filter], exchange: &Exchange, answer: &mut Answer) {
    if answer.status != StatusCode::OK || !filters.iter().any(|filter| filter.alters(exchange)) {
        return;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&answer.body) else {
        return;
    };
    for filter in filters.iter().filter(|filter| filter.alters(exchange)) {
        filter.unsigned(exchange, &mut value);
    }
    answer.body = value.to_string().into();
    resign(state, exchange, answer);
}

/// Signs an answer that is signed, after its body has changed.
fn resign(state: &ServerState, exchange: &Exchange, answer: &mut Answer) {
    if !answer.headers.contains_key(SERVER_SIGNATURE_HEADER) {
        return;
    }
    let own = state.store.cache.get(&exchange.hostname);
    let computer = match answer.signing {
        Signing::AsAnother => state.store.cache.all().into_iter().find(|other| {
            own.as_ref().is_none_or(|own| own.id != other.id) && other.state().server_key.is_some()
        }),
        _ => own,
    };
    let key = computer.and_then(|computer| computer.state().server_key.clone());
    // Where there is no other computer, the key of none.
    let key = key.unwrap_or_else(|| Key::new("the key of another computer"));
    if let Ok(signature) = HeaderValue::from_str(&signature::sign(&key, &answer.body)) {
        answer.headers.insert(SERVER_SIGNATURE_HEADER, signature);
    }
}

async fn perform(
    state: &ServerState,
    exchange: &Exchange,
    control: Option<&Control>,
    outcome: Outcome,
) -> Response {
    let label = match outcome {
        Outcome::Answer(answer, label) => return respond(*answer, label, control),
        Outcome::Hold(time) => {
            tokio::time::sleep(time).await;
            label(exchange)
        }
        Outcome::Interrupt(interruption) => {
            state.instruments.interrupt(interruption);
            label(exchange)
        }
    };
    // None of it is sent: the connection ends first.
    let mut nothing = Answer::new(StatusCode::SERVICE_UNAVAILABLE, Bytes::new());
    nothing.delivery.cut = Some(Cut {
        at: CutAt::Head,
        ending: Ending::Reset,
    });
    respond(nothing, label, control)
}

fn respond(answer: Answer, label: Label, control: Option<&Control>) -> Response {
    shape(control, answer.delivery);
    let mut response = Response::new(Body::from(answer.body));
    *response.headers_mut() = answer.headers;
    *response.status_mut() = answer.status;
    if let Some(reason) = answer
        .reason
        .and_then(|reason| ReasonPhrase::try_from(reason.into_bytes()).ok())
    {
        response.extensions_mut().insert(reason);
    }
    response.extensions_mut().insert(label);
    response
}

fn shape(control: Option<&Control>, delivery: Delivery) {
    if let Some(control) = control {
        control.shape(delivery);
    }
}

fn label(exchange: &Exchange) -> Label {
    let methods = Method::ALL.iter().map(|method| method.as_str());
    methods
        .into_iter()
        .find(|name| name.rsplit('.').next() == Some(&*exchange.method))
        .map_or(UNKNOWN, Label)
}

async fn os_of(state: &ServerState, hostname: &str) -> Option<String> {
    let computer = state.store.cache.get(hostname)?;
    match state.store.os_of(computer.id).await {
        Ok(os) => os,
        Err(error) => {
            tracing::warn!(
                error = crate::error::chain(&error),
                "a computer's system is not known"
            );
            None
        }
    }
}
