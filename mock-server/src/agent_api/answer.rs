//! Answers: sealed with the server's key, in the way of the generation, and in the shapes of PHP.

use super::Request;
use crate::error::Refusal;
use crate::generation::{Generation, ServerGeneration};
use crate::php;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use oco_protocol::lenient::Success;
use oco_protocol::rpc::CONTENT_TYPE;
use oco_protocol::signature::SERVER_SIGNATURE_HEADER;
use oco_protocol::{Key, Timestamp, signature};
use serde::Serialize;
use serde_json::{Map, Value};

const NO_JSON: Refusal = Refusal::Conflict("the answer is no JSON");

/// How an answer shows whose it is.
pub(super) struct Seal {
    pub(super) server_key: Key,
    pub(super) generation: Generation,
    /// The timestamp, where it is settled before the answer is written.
    pub(super) answered_at: Option<Timestamp>,
}

impl Request<'_> {
    /// An answer as the server of that generation gives it.
    pub(super) fn answer<P: Serialize>(
        &self,
        seal: &Seal,
        success: Success,
        params: P,
    ) -> Result<Response, Refusal> {
        match seal.generation {
            Generation::Signed => self.write(seal, success, params),
            Generation::Keyed => {
                let params = serde_json::to_value(params).map_err(|_| NO_JSON)?;
                let mut entries = match params {
                    Value::Object(entries) => entries,
                    _ => Map::new(),
                };
                entries.insert("server-key".into(), seal.server_key.expose().into());
                self.write(seal, success, entries)
            }
        }
    }

    fn write<P: Serialize>(&self, seal: &Seal, success: Success, params: P) -> Result<Response, Refusal> {
        let state = self.state;
        let current = state.generation == ServerGeneration::Current;
        let answer = Answer {
            id: &self.envelope.id,
            error: (),
            result: Outcome {
                success,
                params,
                timestamp: current.then(|| seal.answered_at.unwrap_or_else(|| state.answer_timestamp())),
            },
        };
        let body = if state.php.has_textual_numbers() {
            serde_json::to_value(&answer).and_then(|answer| serde_json::to_vec(&with_texts(answer)))
        } else {
            serde_json::to_vec(&answer)
        };
        let body = body.map_err(|_| NO_JSON)?;
        let signature = current.then(|| signature::sign(&seal.server_key, &body));
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(signature) = signature {
            let signature = HeaderValue::from_str(&signature)
                .map_err(|_| Refusal::Conflict("the signature is no header value"))?;
            headers.insert(SERVER_SIGNATURE_HEADER, signature);
        }
        Ok(response)
    }
}

/// An answer as it is written.
#[derive(Serialize)]
struct Answer<'a, P> {
    id: &'a Value,
    /// Always null.
    error: (),
    result: Outcome<P>,
}

#[derive(Serialize)]
struct Outcome<P> {
    success: Success,
    params: P,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
}

/// An answer whose numbers are texts where they come from the database.
fn with_texts(mut answer: Value) -> Value {
    for list in ["software-jobs", "update-passwords"] {
        if let Some(list) = answer.pointer_mut(&format!("/result/params/{list}")) {
            php::numbers_to_texts(list);
        }
    }
    answer
}
