//! One request over HTTP: sent, and its response read within bounds.

use super::error::{ExchangeError, MAX_REASON_BYTES, shortened};
use super::http;
use bytes::Bytes;
use oco_protocol::rpc::Method;
use oco_protocol::signature::SERVER_SIGNATURE_HEADER;

/// Responses larger than this are not read: real ones are some kilobytes, policies some hundred.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// A body with its signature, before anything is made of it.
pub(super) struct RawResponse {
    pub(super) body: Bytes,
    pub(super) signature: Option<String>,
}

pub(super) async fn send(
    method: Method,
    request: Result<reqwest::RequestBuilder, ExchangeError>,
) -> Result<reqwest::Response, ExchangeError> {
    request?.send().await.map_err(|error| transport(method, error))
}

pub(super) async fn check_status(
    method: Method,
    response: reqwest::Response,
) -> Result<reqwest::Response, ExchangeError> {
    let status = response.status();
    if status == reqwest::StatusCode::OK {
        return Ok(response);
    }
    let reason = first_line(response).await;
    Err(ExchangeError::Refused {
        method,
        status: status.as_u16(),
        reason,
    })
}

/// The first line of an error's text, cut and without control characters: it goes into logs.
async fn first_line(mut response: reqwest::Response) -> String {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk[..chunk.len().min(MAX_REASON_BYTES - text.len())]);
        if text.len() == MAX_REASON_BYTES {
            break;
        }
    }
    shortened(String::from_utf8_lossy(&text).lines().next().unwrap_or_default())
}

pub(super) async fn read_body(
    method: Method,
    mut response: reqwest::Response,
) -> Result<RawResponse, ExchangeError> {
    let header = response.headers().get(SERVER_SIGNATURE_HEADER);
    let signature = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(method, error))? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            let reason = format!("it is longer than {MAX_RESPONSE_BYTES} bytes");
            return Err(ExchangeError::Malformed { method, reason });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(RawResponse {
        body: body.into(),
        signature,
    })
}

pub(super) fn transport(method: Method, source: reqwest::Error) -> ExchangeError {
    // The URL may hold credentials, and is known from the configuration anyway.
    let source = source.without_url();
    ExchangeError::Transport {
        method,
        failure: http::classify(&source),
        source,
    }
}
