//! What makes a response a proven one: its signature, its envelope and its timestamp. Nothing of it is used before.

use super::error::{Distrust, ExchangeError, shortened};
use super::transport::RawResponse;
use oco_protocol::rpc::{Method, Response};
use oco_protocol::{Key, Timestamp, signature};
use serde::de::DeserializeOwned;

/// Checks signature, envelope and timestamp of an answer.
pub(super) fn verified<P: DeserializeOwned>(
    method: Method,
    raw: &RawResponse,
    server_key: &Key,
    last: Timestamp,
) -> Result<(P, Timestamp), ExchangeError> {
    if !server_key.is_empty() {
        check_signature(method, raw, server_key)?;
    }
    let response: Response<P> = parse(method, &raw.body)?;
    if let Some(error) = response.error {
        let reason = format!("it reports the error {}", shortened(&error.to_string()));
        return Err(ExchangeError::Malformed { method, reason });
    }
    let timestamp = response.result.timestamp;
    if timestamp <= last {
        return Err(ExchangeError::Untrusted {
            method,
            distrust: Distrust::NotNewer(timestamp, last),
        });
    }
    if !response.result.success.is_yes() {
        return Err(ExchangeError::Declined { method });
    }
    Ok((response.result.params, timestamp))
}

pub(super) fn check_signature(method: Method, raw: &RawResponse, key: &Key) -> Result<(), ExchangeError> {
    let distrust = match &raw.signature {
        None => Distrust::Unsigned,
        Some(signature) if signature::verify(key, &raw.body, signature) => return Ok(()),
        Some(_) => Distrust::WrongSignature,
    };
    Err(ExchangeError::Untrusted { method, distrust })
}

pub(super) fn parse<P: DeserializeOwned>(method: Method, body: &[u8]) -> Result<Response<P>, ExchangeError> {
    serde_json::from_slice(body).map_err(|error| ExchangeError::Malformed {
        method,
        reason: shortened(&error.to_string()),
    })
}

/// Whether a key can be written into the configuration and read back as the same key.
pub(super) fn is_storable(key: &Key) -> bool {
    let text = key.expose();
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) && text != "None"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_not_survive_the_configuration_are_refused() {
        for bad in [
            "",
            " abc",
            "abc ",
            "a b",
            "x\n[agent]\nquery-interval = 0",
            "None",
            "k\u{e9}y",
            &"k".repeat(201),
        ] {
            assert!(!is_storable(&Key::new(bad)), "{bad:?}");
        }
        assert!(is_storable(&Key::new("j2oijn45xofcfg68tfbcj7oliidlz3")));
        assert!(is_storable(&Key::new("a;b#c=d:e")));
    }
}
