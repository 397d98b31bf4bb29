//! Takes in a request's body, within the limits of size, time and memory.

use crate::error::Refusal;
use crate::generation::ServerGeneration;
use crate::state::ServerState;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, header};
use futures::StreamExt;
use oco_protocol::rpc::CONTENT_TYPE;
use oco_protocol::signature::AGENT_SIGNATURE_HEADER;
use tokio::sync::OwnedSemaphorePermit;

/// Largest body that is read without a signature, bytes.
const UNSIGNED_BODY: usize = 64 << 10;
/// Largest body that does not count towards the memory for bodies, bytes: that of a hello, which so never waits for
/// inventories.
const UNCOUNTED_BODY: usize = 16 << 10;

/// A body in memory, with its share of the memory for bodies.
pub(crate) struct Intake {
    pub(crate) body: Bytes,
    _budget: Option<OwnedSemaphorePermit>,
}

/// Whether the content type is what it has to be, to the letter.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) == Some(CONTENT_TYPE.as_bytes())
}

/// The whole body. Which refusal comes first depends on it, so an unsigned one is read too, but no large one; one of
/// another content type is left alone.
pub(crate) async fn read(state: &ServerState, headers: &HeaderMap, body: Body) -> Result<Intake, Refusal> {
    if !is_json(headers) {
        return Ok(Intake {
            body: Bytes::new(),
            _budget: None,
        });
    }
    // Agents of the keyed generation sign nothing, and have inventories all the same.
    let signed = headers.contains_key(AGENT_SIGNATURE_HEADER)
        || state.generation == ServerGeneration::September2022
        || (is_large(&body) && state.store.has_keyed().await?);
    tokio::time::timeout(state.limits.body_timeout, collect(state, body, signed))
        .await
        .unwrap_or(Err(Refusal::BodyTimeout))
}

/// Whether the body is, or may be, too large to be read without a signature.
fn is_large(body: &Body) -> bool {
    body.size_hint()
        .exact()
        .is_none_or(|size| size > UNSIGNED_BODY as u64)
}

async fn collect(state: &ServerState, body: Body, signed: bool) -> Result<Intake, Refusal> {
    let limit = state.limits.agent_body;
    let declared = body.size_hint();
    let check = |size: u64| match size {
        size if size > limit as u64 => Err(Refusal::BodyTooLarge(limit)),
        size if size > UNSIGNED_BODY as u64 && !signed => Err(Refusal::SignatureMissing),
        _ => Ok(()),
    };
    check(declared.lower())?;
    // Reserved at once: bodies that were each granted a part would wait for each other.
    let whole = declared
        .exact()
        .map_or(limit, |size| size.try_into().unwrap_or(limit));
    let mut budget = None;
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::BodyUnreadable)?;
        let size = bytes.len() + chunk.len();
        check(size as u64)?;
        if size > UNCOUNTED_BODY && budget.is_none() {
            budget = state.body_budget(whole).await;
            if declared.exact().is_some() {
                bytes.reserve_exact(whole.saturating_sub(bytes.len()));
            }
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Intake {
        body: bytes.into(),
        _budget: budget,
    })
}
