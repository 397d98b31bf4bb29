//! The agent API of both generations: one file a method, the envelope all share, and the handler.

mod answer;
mod download;
mod envelope;
mod events;
mod hello;
pub(crate) mod intake;
mod passwords;
mod query_download;
mod update;
mod update_job_state;

use crate::access_log::{Label, Peer, UNKNOWN};
use crate::error::Refusal;
use crate::generation::{Generation, ServerGeneration};
use crate::keys;
use crate::state::ServerState;
use crate::store::{Computer, Write};
use answer::Seal;
use axum::http::{HeaderMap, HeaderValue, Method as HttpMethod, Uri};
use axum::response::{IntoResponse, Response};
use envelope::Envelope;
use oco_protocol::rpc::Method;
use oco_protocol::signature::AGENT_SIGNATURE_HEADER;
use oco_protocol::{Key, Timestamp, signature};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Most items of a list in one request: logins, events, passwords.
const MAX_ITEMS: usize = 10_000;

/// A request as the filters have left it.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) http_method: &'a HttpMethod,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) peer: Option<Peer>,
}

/// Serves one request, whatever its HTTP method: downloads are GET requests with a body.
pub(crate) async fn handle(state: &Arc<ServerState>, incoming: Incoming<'_>) -> Response {
    let mut label = UNKNOWN;
    let mut response = match query_download::parameters(incoming.http_method, incoming.uri) {
        Some(wanted) => {
            label = query_download::LABEL;
            let answer = query_download::handle(state, &wanted).await;
            answer.unwrap_or_else(Refusal::into_reason_phrase)
        }
        None => {
            let answer = exchange(state, incoming, &mut label).await;
            answer.unwrap_or_else(|refusal| refuse(state, refusal))
        }
    };
    response.extensions_mut().insert(label);
    response
}

/// A refusal in the words of the server that this one behaves like.
pub(crate) fn refuse(state: &ServerState, refusal: Refusal) -> Response {
    match state.generation {
        ServerGeneration::Current => refusal.into_response(),
        ServerGeneration::September2022 => refusal.into_reason_phrase(),
    }
}

async fn exchange(
    state: &Arc<ServerState>,
    incoming: Incoming<'_>,
    label: &mut Label,
) -> Result<Response, Refusal> {
    let Incoming { headers, body, .. } = incoming;
    if !intake::is_json(headers) {
        return Err(Refusal::ContentType);
    }
    let storable = state.store.storable(body);
    let envelope = Envelope::parse(&storable)?;
    let (method, name) = method_named(&envelope.method, state.generation).ok_or(Refusal::UnknownMethod)?;
    *label = Label(name);
    let request = Request {
        state,
        peer: incoming.peer.map(|Peer(address)| address.ip().to_canonical()),
        envelope,
        body,
        signature: headers.get(AGENT_SIGNATURE_HEADER).map(HeaderValue::as_bytes),
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

/// The method of a name, with the name.
fn method_named(name: &str, server: ServerGeneration) -> Option<(Method, &'static str)> {
    const OF_2022: [(&str, Method); 6] = [
        ("oco.agent.hello", Method::Hello),
        ("oco.agent_hello", Method::Hello),
        ("oco.agent.update", Method::Update),
        ("oco.agent_update", Method::Update),
        ("oco.agent.update_deploy_status", Method::UpdateJobState),
        ("oco.update_deploy_status", Method::UpdateJobState),
    ];
    match server {
        ServerGeneration::Current => Method::from_name(name).map(|method| (method, method.as_str())),
        ServerGeneration::September2022 => OF_2022
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(known, method)| (method, known)),
    }
}

/// A request whose envelope is right.
struct Request<'a> {
    state: &'a Arc<ServerState>,
    peer: Option<IpAddr>,
    envelope: Envelope<'a>,
    body: &'a [u8],
    signature: Option<&'a [u8]>,
}

/// A registered computer that made the request.
struct Sender {
    computer: Arc<Computer>,
    agent_key: Key,
    seal: Seal,
}

impl Request<'_> {
    /// Whether the request has what one of that generation must have.
    fn check_form(&self, generation: Generation) -> Result<(), Refusal> {
        match generation {
            Generation::Signed if self.signature.is_none() => Err(Refusal::SignatureMissing),
            Generation::Keyed
                if self.state.generation == ServerGeneration::September2022
                    && self.envelope.params.agent_key.is_none() =>
            {
                Err(Refusal::Parameters)
            }
            _ => Ok(()),
        }
    }

    /// Whether the request is signed with `key`, or has it in it.
    fn is_made_with(&self, key: &Key, generation: Generation) -> bool {
        match generation {
            Generation::Signed => self
                .signature
                .and_then(|signature| std::str::from_utf8(signature).ok())
                .is_some_and(|signature| signature::verify(key, self.body, signature)),
            Generation::Keyed => {
                let presented = self.envelope.params.agent_key.as_deref();
                presented.is_some_and(|presented| keys::same(key, presented))
            }
        }
    }

    /// The timestamp, which requests of the keyed generation do not have.
    fn timestamp(&self, generation: Generation) -> Result<Timestamp, Refusal> {
        match generation {
            Generation::Signed => self.envelope.params.timestamp.ok_or(Refusal::TimestampTooOld),
            Generation::Keyed => Ok(Timestamp::ZERO),
        }
    }

    /// The sender of any method but hello, which only registered computers may call.
    async fn sender(&self) -> Result<Sender, Refusal> {
        let computer = self
            .state
            .computer(&self.envelope.params.hostname)
            .await?
            .ok_or(Refusal::UnknownComputer)?;
        let (keys, generation) = {
            let state = computer.state();
            let keys = state.agent_key.clone().zip(state.server_key.clone());
            (keys, state.generation().unwrap_or(Generation::Signed))
        };
        let generation = match self.state.generation {
            ServerGeneration::Current => generation,
            ServerGeneration::September2022 => Generation::Keyed,
        };
        self.check_form(generation)?;
        match keys {
            Some((agent_key, server_key)) if self.is_made_with(&agent_key, generation) => Ok(Sender {
                agent_key,
                seal: Seal {
                    server_key,
                    generation,
                    answered_at: self.state.answer_time(Some(&computer)),
                },
                computer,
            }),
            _ if generation == Generation::Keyed => Err(Refusal::KeyMismatch),
            _ => Err(Refusal::InvalidSignature),
        }
    }
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
