//! The keyed generation: requests that carry the agent key, responses that are believed for the server key they carry.
//!
//! A response of today's servers is signed, too. Where a signature is there and the key to it is held, it has to fit, and
//! the timestamp has to be newer than the last one. That finds mistakes, not attackers: whoever has read a response has its
//! key and can leave the signature out. Against those only TLS helps.

use super::Sender;
use super::error::{Distrust, ExchangeError};
use super::secret_bytes::SecretBytes;
use super::transport::{Incoming, Outgoing};
use super::verify::{Proven, Standard};
use oco_protocol::Key;
use oco_protocol::keyed::{Params, Response};
use oco_protocol::lenient::Id;
use oco_protocol::rpc::{HelloAnswer, Method, Request};
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request of the method that is called `name` in this generation.
pub(super) fn request<D: Serialize>(
    url: &Url,
    method: Method,
    name: &str,
    sender: &Sender,
    data: D,
    key: &Key,
) -> serde_json::Result<Outgoing> {
    let params = Params {
        uid: Some(sender.uid.clone()),
        hostname: sender.hostname.clone(),
        agent_key: key.clone(),
        data,
    };
    Ok(Outgoing {
        method,
        verb: reqwest::Method::POST,
        url: url.clone(),
        body: Some(SecretBytes::json(&Request::named(name, params))?),
        signature: None,
    })
}

/// The request of a package's archive: a GET with a query.
pub(super) fn download(url: &Url, sender: &Sender, package: &Id, key: &Key) -> Outgoing {
    let mut url = url.clone();
    url.query_pairs_mut()
        .append_pair("hostname", &sender.hostname)
        .append_pair("agent-key", key.expose())
        .append_pair("id", &package.to_string());
    Outgoing {
        method: Method::Download,
        verb: reqwest::Method::GET,
        url,
        body: None,
        signature: None,
    }
}

/// Checks an answer to a hello. Where no server key is stored, the one it brings is trusted on first use: it comes with
/// every answer, so that from then on no other server is believed.
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
    match offered.server_key.filter(|key| !key.is_empty()) {
        Some(key) => {
            let standard = Standard {
                server_key: &key,
                ..standard
            };
            let proven = prove(response, standard)?;
            Ok(Proven {
                first_server_key: Some(key),
                ..proven
            })
        }
        None => Err(standard.untrusted(Distrust::NoServerKey)),
    }
}

/// Checks the server key, or the signature, and the envelope of an answer.
pub(super) fn prove<P: DeserializeOwned>(
    response: &Incoming,
    standard: Standard<'_>,
) -> Result<Proven<P>, ExchangeError> {
    let signed = response.signature.is_some();
    if standard.server_key.is_empty() {
        // Without one nothing but a hello is sent.
        return Err(standard.untrusted(Distrust::NoServerKey));
    }
    if signed {
        standard.check_signature(response, standard.server_key)?;
    }
    let Response { error, result, .. } = standard.parse::<Response<P>>(&response.body)?;
    match &result.params.server_key {
        Some(key) if key != standard.server_key => return Err(standard.untrusted(Distrust::OtherServerKey)),
        None if !signed => return Err(standard.untrusted(Distrust::NoServerKey)),
        _ => {}
    }
    let timestamp = result.timestamp.filter(|_| signed);
    if let Some(timestamp) = timestamp {
        standard.check_timestamp(timestamp)?;
    }
    standard.check_outcome(error.as_ref(), &result.success)?;
    Ok(Proven {
        params: result.params.params,
        timestamp,
        first_server_key: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_client::words::Clocks;
    use oco_protocol::{Timestamp, signature};
    use serde_json::{Value, json};

    /// What comes of an answer with this `result`, signed with a key or not.
    fn proven(result: &Value, signed_with: Option<&str>) -> Result<Proven<Value>, String> {
        let body = SecretBytes::json(&json!({"id": 1, "error": null, "result": result})).unwrap();
        let response = Incoming {
            status: 200,
            phrase: None,
            signature: signed_with.map(|key| signature::sign(&Key::new(key), &body)),
            date: None,
            body,
        };
        let standard = Standard {
            method: Method::Events,
            server_key: &Key::new("server"),
            last: Timestamp::from_micros(100_000_000),
            clocks: Clocks {
                own: Timestamp::ZERO,
                server: None,
            },
        };
        prove(&response, standard).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_proven_by_its_server_key_or_its_signature() {
        let with_key = json!({"success": true, "params": {"server-key": "server", "a": 1}});
        let answered = proven(&with_key, None).unwrap();
        assert_eq!((answered.params, answered.timestamp), (json!({"a": 1}), None));
        assert!(
            proven(
                &json!({"success": "11", "params": [], "timestamp": 101}),
                Some("server")
            )
            .is_ok()
        );
        for (result, signed_with, reason) in [
            (json!({"success": true, "params": []}), None, "no server key"),
            (
                json!({"success": true, "params": {"server-key": "Server"}}),
                None,
                "another server key",
            ),
            (
                json!({"success": true, "params": {"server-key": ""}}),
                None,
                "another server key",
            ),
            (
                json!({"success": true, "params": {"server-key": "other"}}),
                Some("server"),
                "another server key",
            ),
            (with_key.clone(), Some("other"), "does not fit"),
            (
                json!({"success": false, "params": {"server-key": "server"}}),
                None,
                "did not succeed",
            ),
        ] {
            let error = proven(&result, signed_with).err().unwrap();
            assert!(error.contains(reason), "{result}: {error}");
        }
    }

    #[test]
    fn a_timestamp_counts_where_it_is_signed() {
        let at =
            |seconds: u64| json!({"success": true, "params": {"server-key": "server"}, "timestamp": seconds});
        assert!(
            proven(&at(100), Some("server"))
                .err()
                .unwrap()
                .contains("not newer")
        );
        let newer = proven(&at(101), Some("server")).unwrap();
        assert_eq!(newer.timestamp, Some(Timestamp::from_micros(101_000_000)));
        assert_eq!(proven(&at(100), None).unwrap().timestamp, None);
    }

    #[test]
    fn a_download_s_query_is_escaped() {
        let sender = Sender {
            uid: "u".into(),
            hostname: "pc&id=2".into(),
        };
        let url = Url::parse("https://oco.example/api-agent.php").unwrap();
        let request = download(&url, &sender, &Id::Number(1), &Key::new("k&=#"));
        assert_eq!(
            request.url.query(),
            Some("hostname=pc%26id%3D2&agent-key=k%26%3D%23&id=1")
        );
    }
}
