//! An agent as the server gets to see it: requests of both generations, right or wrong, and what every answer has to be.

use super::ops::{Proof, Time};
use crate::support::{REGISTRATION_KEY, Response, START, TestServer, send};
use oco_protocol::{Key, signature};
use serde_json::{Map, Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");
/// An hour, in 1/10000 s.
const HOUR: u64 = 36_000_000;

/// One agent.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) hostname: String,
    /// The key that it was given last, or the one to register with.
    pub(super) key: String,
    /// Of its last request, in 1/10000 s.
    pub(super) timestamp: u64,
    /// Of the last answer to it.
    answered_at: f64,
}

impl Wire {
    pub(super) fn new(number: usize) -> Self {
        Self {
            hostname: format!("PC-{number}"),
            key: REGISTRATION_KEY.into(),
            timestamp: START * 10_000,
            answered_at: 0.0,
        }
    }

    /// Sends a request of a method. `key` is what it is made with, if with anything.
    pub(super) async fn call(
        &mut self,
        server: &TestServer,
        (keyed, key): (bool, Option<&str>),
        time: Time,
        (method, data): (&str, Value),
    ) -> Response {
        let mut params = Map::from_iter([
            ("uid".to_owned(), json!(format!("uid of {}", self.hostname))),
            ("hostname".to_owned(), json!(self.hostname)),
        ]);
        match method {
            "download" => params.insert("package-id".into(), data),
            _ => params.insert("data".into(), data),
        };
        self.timestamp += match time {
            Time::Newer | Time::Missing => 1,
            Time::Ahead => HOUR,
            Time::Same => 0,
        };
        if keyed {
            params.extend(key.map(|key| ("agent-key".to_owned(), json!(key))));
        } else if time != Time::Missing {
            #[allow(clippy::cast_precision_loss)]
            let timestamp = self.timestamp as f64 / 10_000.0;
            params.insert("timestamp".into(), json!(timestamp));
        }
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": format!("oco.agent.{method}"), "params": params})
                .to_string();
        let signature = key.map(|key| signature::sign(&Key::new(key), body.as_bytes()));
        let mut headers = vec![JSON];
        headers.extend(
            signature
                .iter()
                .filter(|_| !keyed)
                .map(|signature| ("x-oco-agent-signature", signature.as_str())),
        );
        send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await
    }

    /// Downloads as the keyed generation does.
    pub(super) async fn fetch(&self, server: &TestServer, key: &str, package: i64) -> Response {
        let path = format!(
            "/api-agent.php?hostname={}&agent-key={key}&id={package}",
            self.hostname
        );
        send(server.addr, "GET", &path, &[], b"").await
    }

    /// The key that stands for a proof.
    pub(super) fn key_of(wires: &[Self], agent: usize, proof: Proof) -> Option<String> {
        match proof {
            Proof::Own => Some(wires[agent].key.clone()),
            Proof::Registration => Some(REGISTRATION_KEY.into()),
            Proof::Another => Some(wires[(agent + 1) % wires.len()].key.clone()),
            Proof::Missing => None,
        }
    }

    /// An answer that has to be a success: its `success` and `params`. It is signed, newer than the one before, and names
    /// the server key where the computer is served keyed.
    pub(super) fn accept(
        &mut self,
        response: &Response,
        server_key: Option<&str>,
        keyed: bool,
    ) -> (Value, Value) {
        assert_eq!(response.status, 200, "{}", response.text());
        let answer = response.json();
        assert_eq!((&answer["id"], &answer["error"]), (&json!(1), &Value::Null));
        let result = &answer["result"];
        let params = result["params"].clone();
        let named = params["server-key"].as_str();
        let key = Key::new(server_key.or(named).expect("a server key"));
        let signature = response.header("x-oco-server-signature").expect("a signature");
        assert!(
            signature::verify(&key, &response.body, signature),
            "the signature does not fit"
        );
        if keyed {
            assert_eq!(named, Some(key.expose()), "keyed answers name the server key");
        }
        let at = result["timestamp"].as_f64().unwrap();
        assert!(at > self.answered_at, "{at} after {}", self.answered_at);
        self.answered_at = at;
        (result["success"].clone(), params)
    }
}

/// A refusal: status and text, and no signature.
pub(super) fn assert_refused(response: &Response, (status, text): (u16, &str)) {
    assert_eq!((response.status, response.text().as_str()), (status, text));
    assert_eq!(response.header("x-oco-server-signature"), None);
}

/// A refusal in the reason phrase.
pub(super) fn assert_phrase(response: &Response, (status, phrase): (u16, &str)) {
    assert_eq!((response.status, response.reason()), (status, phrase));
    assert!(response.body.is_empty());
}
