//! The signed generation: requests with a timestamp and a signature, responses that are believed for theirs.

use super::Sender;
use super::error::{Distrust, ExchangeError};
use super::secret_bytes::SecretBytes;
use super::transport::{Incoming, Outgoing};
use super::verify::{Proven, Standard};
use oco_protocol::lenient::Id;
use oco_protocol::rpc::{DownloadParams, HelloAnswer, Method, Params, Request, Response};
use oco_protocol::{Key, Timestamp, signature};
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request of `method`.
pub(super) fn request<D: Serialize>(
    url: &Url,
    method: Method,
    sender: &Sender,
    timestamp: Timestamp,
    data: D,
    key: &Key,
) -> serde_json::Result<Outgoing> {
    let params = Params {
        uid: sender.uid.clone(),
        hostname: sender.hostname.clone(),
        timestamp,
        data,
    };
    signed(url, reqwest::Method::POST, method, params, key)
}

/// The request of a package's archive: a GET with a body, as existing agents send it.
pub(super) fn download(
    url: &Url,
    sender: &Sender,
    timestamp: Timestamp,
    package: &Id,
    key: &Key,
) -> serde_json::Result<Outgoing> {
    let params = DownloadParams {
        uid: sender.uid.clone(),
        hostname: sender.hostname.clone(),
        timestamp,
        package_id: package.clone(),
    };
    signed(url, reqwest::Method::GET, Method::Download, params, key)
}

fn signed<P: Serialize>(
    url: &Url,
    verb: reqwest::Method,
    method: Method,
    params: P,
    key: &Key,
) -> serde_json::Result<Outgoing> {
    let body = SecretBytes::json(&Request::new(method, params))?;
    Ok(Outgoing {
        method,
        verb,
        url: url.clone(),
        signature: Some(signature::sign(key, &body)),
        body: Some(body),
    })
}

/// Checks an answer to a hello. Before registration it is trusted on first use: it must be signed with the very key that
/// it brings.
pub(super) fn prove_hello(
    response: &Incoming,
    standard: Standard<'_>,
) -> Result<Proven<HelloAnswer>, ExchangeError> {
    if !standard.server_key.is_empty() {
        return prove(response, standard);
    }
    let offered = standard
        .parse::<Response<HelloAnswer>>(&response.body)?
        .result
        .params;
    let offered_key = offered.server_key.as_ref().filter(|key| !key.is_empty());
    match offered_key {
        Some(key) => {
            let standard = Standard {
                server_key: key,
                ..standard
            };
            let proven = prove(response, standard)?;
            Ok(Proven {
                first_server_key: Some(key.clone()),
                ..proven
            })
        }
        None if offered.agent_key.is_some() => Err(standard.untrusted(Distrust::UnverifiedKeys)),
        None => {
            tracing::warn!(
                "the server knows this computer but [server] server-key is empty: its answers cannot be verified; copy the \
                 server key into the configuration, or let the server forget this computer"
            );
            prove(response, standard)
        }
    }
}

/// Checks signature, envelope and timestamp of an answer. Without a server key nothing proves it, and its timestamp must
/// not make the genuine ones after it look old.
pub(super) fn prove<P: DeserializeOwned>(
    response: &Incoming,
    standard: Standard<'_>,
) -> Result<Proven<P>, ExchangeError> {
    let verifiable = !standard.server_key.is_empty();
    if verifiable {
        standard.check_signature(response, standard.server_key)?;
    }
    let Response { error, result, .. } = standard.parse::<Response<P>>(&response.body)?;
    standard.check_timestamp(result.timestamp)?;
    standard.check_outcome(error.as_ref(), &result.success)?;
    Ok(Proven {
        params: result.params,
        timestamp: verifiable.then_some(result.timestamp),
        first_server_key: None,
    })
}
