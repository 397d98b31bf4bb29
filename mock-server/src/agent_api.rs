//! The agent API, signed generation: one file a method, the envelope all share, and the handler.

mod download;
mod envelope;
mod events;
mod hello;
pub(crate) mod intake;
mod passwords;
mod update;
mod update_job_state;

use crate::access_log::{Label, UNKNOWN};
use crate::error::Refusal;
use crate::state::ServerState;
use crate::store::{Computer, Write};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use envelope::Envelope;
use oco_protocol::lenient::Success;
use oco_protocol::rpc::{self, CONTENT_TYPE, Method, Outcome};
use oco_protocol::signature::{AGENT_SIGNATURE_HEADER, SERVER_SIGNATURE_HEADER};
use oco_protocol::{Key, signature};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Most items of a list in one request: logins, events, passwords.
const MAX_ITEMS: usize = 10_000;

/// Serves one request, whatever its HTTP method: downloads are GET requests with a body.
pub(crate) async fn handle(
    State(state): State<Arc<ServerState>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut label = UNKNOWN;
    let answer = exchange(&state, &headers, &body, &mut label).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(label);
    response
}

async fn exchange(
    state: &Arc<ServerState>,
    headers: &HeaderMap,
    body: &[u8],
    label: &mut Label,
) -> Result<Response, Refusal> {
    if !intake::is_json(headers) {
        return Err(Refusal::ContentType);
    }
    let envelope = Envelope::parse(body)?;
    let method = Method::from_name(&envelope.method).ok_or(Refusal::UnknownMethod)?;
    *label = Label(method.as_str());
    let signature = headers
        .get(AGENT_SIGNATURE_HEADER)
        .ok_or(Refusal::SignatureMissing)?;
    let request = Request {
        state,
        envelope,
        body,
        signature: signature.as_bytes(),
    };
    match method {
        Method::Hello => hello::handle(request).await,
        Method::Update => update::handle(request).await,
        Method::UpdateJobState => update_job_state::handle(request).await,
        Method::Download => download::handle(request).await,
        Method::Events => events::handle(request).await,
        Method::Passwords => passwords::handle(request).await,
    }
}

/// A request whose envelope is right.
struct Request<'a> {
    state: &'a Arc<ServerState>,
    envelope: Envelope<'a>,
    body: &'a [u8],
    signature: &'a [u8],
}

/// A registered computer that signed the request.
struct Sender {
    computer: Arc<Computer>,
    agent_key: Key,
    server_key: Key,
}

impl Request<'_> {
    /// Whether the request is signed with `key`.
    fn is_signed_with(&self, key: &Key) -> bool {
        std::str::from_utf8(self.signature)
            .is_ok_and(|signature| signature::verify(key, self.body, signature))
    }

    /// The sender of any method but hello, which only registered computers may call.
    fn sender(&self) -> Result<Sender, Refusal> {
        let computer = self
            .state
            .store
            .cache
            .get(&self.envelope.params.hostname)
            .ok_or(Refusal::UnknownComputer)?;
        let keys = {
            let state = computer.state();
            state.agent_key.clone().zip(state.server_key.clone())
        };
        match keys {
            Some((agent_key, server_key)) if self.is_signed_with(&agent_key) => Ok(Sender {
                computer,
                agent_key,
                server_key,
            }),
            _ => Err(Refusal::InvalidSignature),
        }
    }

    /// A signed answer.
    fn answer<P: Serialize>(
        &self,
        server_key: &Key,
        success: Success,
        params: P,
    ) -> Result<Response, Refusal> {
        let timestamp = self.state.answer_timestamp();
        let response = rpc::Response {
            id: self.envelope.id.clone(),
            error: None,
            result: Outcome {
                success,
                params,
                timestamp,
            },
        };
        let body = serde_json::to_vec(&response).map_err(|_| Refusal::Conflict("the answer is no JSON"))?;
        let signature = HeaderValue::from_str(&signature::sign(server_key, &body))
            .map_err(|_| Refusal::Conflict("the signature is no header value"))?;
        let mut response = Response::new(Body::from(body));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response.headers_mut().insert(SERVER_SIGNATURE_HEADER, signature);
        Ok(response)
    }
}

/// The empty `params` of an answer, which PHP writes as a list.
fn no_params() -> Value {
    Value::Array(Vec::new())
}

/// The first 16 bytes of the SHA-256 of `parts`, whose lengths go in too.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

/// The digest of an inventory section as it is kept; 0 is none.
fn section_digest(parts: &[&[u8]]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = digest(parts);
    i64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1
}

/// Whether `text` is `YYYY-MM-DD HH:MM:SS`, to the letter.
pub(crate) fn is_date_time(text: &str) -> bool {
    const FORMAT: &str = "%Y-%m-%d %H:%M:%S";
    text.len() == 19 && jiff::civil::DateTime::strptime(FORMAT, text).is_ok()
}
/// Stores what was compared under a computer's turn, and gives the turn up only then, even where the client hangs up.
async fn store_in_turn<W: Write<Output = ()>>(
    state: &Arc<ServerState>,
    write: W,
    turn: OwnedMutexGuard<()>,
) -> Result<(), Refusal> {
    let state = state.clone();
    let stored = tokio::spawn(async move {
        let stored = state.store.write(write).await;
        drop(turn);
        stored
    });
    stored
        .await
        .map_err(|_| Refusal::Conflict("storing was cut off"))?
        .map_err(Into::into)
}
