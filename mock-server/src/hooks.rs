//! Filters around the agent API: they see each exchange to the byte, and may change, delay, answer or break it. What the
//! server itself does with them are `conformance` and [`crate::faults`]; who embeds it adds more.
//!
//! A filter decides and says what is to happen; `exchange` makes it happen. All filters see requests, and then answers, in
//! one order: the server's check of conformance, its faults, and those of
//! [`Config::filters`](crate::Config::filters) as they are listed. So a filter of one's own gets the requests that no fault
//! has ended, and the answers as faults have left them. Who decides otherwise than [`Flow::Serve`] or [`Flow::After`] keeps
//! a request from the filters behind it, and its answer from all.
//!
//! A filter that counts hellos, holds them back a little, has every second one come again later, and marks the others'
//! answers:
//!
//! ```
//! use axum::body::Body;
//! use axum::http::{HeaderValue, Request, StatusCode};
//! use oco_mock_server::hooks::{Answer, Exchange, Filter, Flow};
//! use oco_mock_server::{Config, ServerState, router};
//! use oco_protocol::{Key, signature};
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::time::Duration;
//! use tower::ServiceExt;
//!
//! #[derive(Debug, Default)]
//! struct Crowded {
//!     hellos: AtomicU64,
//! }
//!
//! impl Filter for Crowded {
//!     fn request(&self, exchange: &mut Exchange) -> Flow {
//!         if exchange.method != "hello" {
//!             return Flow::Serve;
//!         }
//!         match self.hellos.fetch_add(1, Ordering::Relaxed) % 2 {
//!             0 => Flow::After(Duration::from_millis(5)),
//!             _ => Flow::Answer(Box::new(Answer::new(StatusCode::TOO_MANY_REQUESTS, "later"))),
//!         }
//!     }
//!
//!     fn response(&self, _exchange: &Exchange, answer: &mut Answer) {
//!         answer.headers.insert("x-crowded", HeaderValue::from_static("yes"));
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let filter = Arc::new(Crowded::default());
//! let config = Config {
//!     agent_key: Some(Key::new("letmein")),
//!     filters: vec![filter.clone()],
//!     ..Config::default()
//! };
//! // `Server::start` takes the same configuration.
//! let server = router(ServerState::open(config).await?);
//! let hello = r#"{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":{"uid":"u","hostname":"pc",
//!     "timestamp":1800000000,"data":{"agent_version":"2.0.0"}}}"#;
//! for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
//!     let request = Request::post("/api-agent.php")
//!         .header("content-type", "application/json")
//!         .header("x-oco-agent-signature", signature::sign(&Key::new("letmein"), hello.as_bytes()))
//!         .body(Body::from(hello))?;
//!     let answer = server.clone().oneshot(request).await?;
//!     assert_eq!(answer.status(), status);
//!     assert_eq!(answer.headers().contains_key("x-crowded"), status == StatusCode::OK);
//! }
//! assert_eq!(filter.hellos.load(Ordering::Relaxed), 2);
//! # Ok(())
//! # }
//! ```

mod identity;

use crate::connection::Delivery;
use axum::body::Bytes;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use oco_protocol::Timestamp;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Something that looks at exchanges, or meddles with them.
pub trait Filter: Send + Sync + fmt::Debug {
    /// Whether it has anything to do now.
    fn is_active(&self) -> bool {
        true
    }

    /// Sees a request before it is served, and may change it.
    fn request(&self, _exchange: &mut Exchange) -> Flow {
        Flow::Serve
    }

    /// Whether [`Filter::unsigned`] is to see the answer to this exchange.
    fn alters(&self, _exchange: &Exchange) -> bool {
        false
    }

    /// Changes a successful answer, which is then signed: what comes of it is genuine for the agent.
    fn unsigned(&self, _exchange: &Exchange, _answer: &mut Value) {}

    /// Sees an answer as it is to be sent, and may change it, signature and delivery included.
    fn response(&self, _exchange: &Exchange, _answer: &mut Answer) {}
}

/// What is to happen with a request.
#[derive(Debug)]
pub enum Flow {
    /// The next filter and in the end the server get it.
    Serve,
    /// The same, after a while.
    After(Duration),
    /// This is the answer; the server does not get the request, and filters do not get the answer.
    Answer(Box<Answer>),
    /// No answer for so long, and then a closed connection.
    Hold(Duration),
    /// The server goes down for a while, and this connection with it.
    Interrupt(Interruption),
}

/// A while in which nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Connections are refused; those that there are stay.
    Refuse(Duration),
    /// All connections are cut, the database is closed and opened again. What was acknowledged stays.
    Restart(Duration),
}

/// A request to the agent API, with what filters note about it.
#[derive(Debug)]
pub struct Exchange {
    /// Of the request line.
    pub http_method: Method,
    /// Of the request line.
    pub uri: Uri,
    /// By lower-case names.
    pub headers: HeaderMap,
    /// To the byte.
    pub body: Bytes,
    /// Request line and headers to the byte, without the empty line; none where there is no socket.
    pub head: Option<Vec<u8>>,
    /// When it came, by the server's clock.
    pub received_at: Timestamp,
    /// The operating system that the computer reported last; only where a filter of this crate asks for it.
    pub os: Option<String>,
    /// Method of the agent API without its prefix, such as `hello`; empty where there is none.
    pub method: String,
    /// As the request says; empty where it does not.
    pub hostname: String,
    /// What filters note about it.
    pub notes: Extensions,
}

/// An answer as it is to be sent.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Reason phrase, if it is not the usual one.
    pub reason: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// To the byte.
    pub body: Bytes,
    /// Whose signature it gets.
    pub signing: Signing,
    /// How it reaches the client.
    pub delivery: Delivery,
}

/// What becomes of an answer's signature after all filters have seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// What the headers say.
    AsItIs,
    /// The server signs the body as it is now.
    Again,
    /// The key of another computer signs it.
    AsAnother,
}

impl Answer {
    /// An answer of this status and body, without headers.
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            reason: None,
            headers: HeaderMap::new(),
            body: body.into(),
            signing: Signing::AsItIs,
            delivery: Delivery::default(),
        }
    }
}

/// Method and host name of a request, whatever its generation.
pub(crate) fn identify(uri: &Uri, body: &[u8]) -> (String, String) {
    if let Some((method, hostname)) = identity::of(body) {
        let method = method.strip_prefix("oco.").unwrap_or(&method);
        let method = method
            .strip_prefix("agent.")
            .or_else(|| method.strip_prefix("agent_"))
            .unwrap_or(method);
        return (method.to_owned(), hostname.into_owned());
    }
    match query_value(uri, "hostname") {
        Some(hostname) => ("download".into(), hostname),
        None => (String::new(), String::new()),
    }
}

/// A value of the query, decoded.
fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let mut pairs = query.0.into_iter();
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_generations_are_identified() {
        let uri: Uri = "/api-agent.php".parse().unwrap();
        for (method, short) in [
            ("oco.agent.hello", "hello"),
            ("oco.agent_hello", "hello"),
            ("oco.update_deploy_status", "update_deploy_status"),
        ] {
            let body = format!(r#"{{"method":"{method}","params":{{"hostname":"pc"}}}}"#);
            assert_eq!(
                identify(&uri, body.as_bytes()),
                (short.to_owned(), "pc".to_owned())
            );
        }
        let uri: Uri = "/api-agent.php?hostname=a%20b&agent-key=k&id=1".parse().unwrap();
        assert_eq!(identify(&uri, b""), ("download".to_owned(), "a b".to_owned()));
        assert_eq!(identify(&"/".parse().unwrap(), b"[1]"), Default::default());
    }
}
