//! The handler that the mock server is compared with: it parses with the protocol's own types, verifies the signature and
//! answers with a signed body. It keeps nothing.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode, header};
use axum::routing::any;
use oco_protocol::inventory::Inventory;
use oco_protocol::rpc::{
    AGENT_API_PATH, CONTENT_TYPE, HelloAnswer, HelloData, Method, Outcome, Params, Request, Response,
};
use oco_protocol::signature::{self, AGENT_SIGNATURE_HEADER, SERVER_SIGNATURE_HEADER};
use oco_protocol::{Key, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A server whose computers all have that key, which also is its own.
pub fn router(key: Key) -> Router {
    let handler = move |headers: HeaderMap, body: Bytes| {
        let answer = answer(&key, &headers, &body);
        std::future::ready(answer.ok_or(StatusCode::BAD_REQUEST))
    };
    Router::new()
        .route(AGENT_API_PATH, any(handler))
        .layer(DefaultBodyLimit::disable())
}

/// Where an update is told from a hello: the method comes before all that is long.
const HEAD: usize = 256;

fn answer(key: &Key, headers: &HeaderMap, body: &[u8]) -> Option<HttpResponse<Body>> {
    let signature = headers.get(AGENT_SIGNATURE_HEADER)?.to_str().ok()?;
    if !signature::verify(key, body, signature) {
        return None;
    }
    let head = body.get(..HEAD.min(body.len()))?;
    let is_update = memchr::memmem::find(head, Method::Update.as_str().as_bytes()).is_some();
    let answer = if is_update {
        let (id, timestamp) = parse::<Inventory>(body)?;
        seal(id, timestamp, json!({"policies": {"machine": {}}}))
    } else {
        let (id, timestamp) = parse::<HelloData>(body)?;
        let params: HelloAnswer = serde_json::from_value(json!({"update": 0})).ok()?;
        seal(id, timestamp, params)
    }?;
    let signature = HeaderValue::from_str(&signature::sign(key, &answer)).ok()?;
    HttpResponse::builder()
        .header(header::CONTENT_TYPE, CONTENT_TYPE)
        .header(SERVER_SIGNATURE_HEADER, signature)
        .body(answer.into())
        .ok()
}

fn parse<D: DeserializeOwned>(body: &[u8]) -> Option<(Value, Timestamp)> {
    let request: Request<Params<D>> = serde_json::from_slice(body).ok()?;
    std::hint::black_box(&request.params.data);
    Some((request.id, request.params.timestamp))
}

fn seal<P: Serialize>(id: Value, timestamp: Timestamp, params: P) -> Option<Vec<u8>> {
    let answer = Response {
        id,
        error: None,
        result: Outcome {
            success: true.into(),
            params,
            timestamp,
        },
    };
    serde_json::to_vec(&answer).ok()
}
