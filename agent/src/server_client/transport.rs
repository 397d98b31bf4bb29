//! One request over HTTP: sent, and its response read within bounds.

use super::error::{ExchangeError, MAX_REASON_BYTES};
use super::http::{self, HttpClient};
use super::secret_bytes::SecretBytes;
use super::{redact, words};
use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use oco_protocol::rpc::{CONTENT_TYPE, Method};
use oco_protocol::signature::{AGENT_SIGNATURE_HEADER, SERVER_SIGNATURE_HEADER};
use oco_protocol::{Key, Timestamp};
use reqwest::{Response, StatusCode, Url};

/// Responses larger than this are not read: real ones are some kilobytes, policies some hundred.
const MAX_RESPONSE_BYTES: usize = 8 << 20;

/// A request, ready to be sent.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) verb: reqwest::Method,
    pub(super) url: Url,
    /// None: there is no body, and no content type.
    pub(super) body: Option<SecretBytes>,
    /// The agent's, in the signed generation.
    pub(super) signature: Option<String>,
}

/// A response, before anything is made of it.
pub(super) struct Incoming {
    pub(super) status: u16,
    /// The reason phrase, where it is not the usual one of the status.
    pub(super) phrase: Option<String>,
    /// The server's signature.
    pub(super) signature: Option<String>,
    /// The server's clock; nothing signs it.
    pub(super) date: Option<Timestamp>,
    /// All of it, or the beginning where the status is not 200.
    pub(super) body: SecretBytes,
}

impl Outgoing {
    /// Sends it; the response's body is still to be read.
    pub(super) async fn send(self, http: &HttpClient, keys: &[&Key]) -> Result<Response, ExchangeError> {
        self.log(keys);
        let method = self.method;
        let mut request = http.request(self.verb, self.url);
        if let Some(signature) = self.signature {
            request = request.header(AGENT_SIGNATURE_HEADER, signature);
        }
        if let Some(body) = self.body {
            request = request
                .header("content-type", CONTENT_TYPE)
                .body(Bytes::from_owner(body));
        }
        request.send().await.map_err(|error| failed(method, error))
    }

    fn log(&self, keys: &[&Key]) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let bytes = self.body.as_deref().unwrap_or_default();
        tracing::debug!(
            method = %self.method,
            verb = %self.verb,
            url = %redact::url(&self.url, keys),
            signed = self.signature.is_some(),
            bytes = bytes.len(),
            body = %redact::body(bytes, keys),
            "request"
        );
    }
}

impl Incoming {
    /// Reads a response: all of it where the status is 200, and as much as a refusal may say otherwise.
    pub(super) async fn read(
        method: Method,
        mut response: Response,
        keys: &[&Key],
    ) -> Result<Self, ExchangeError> {
        let mut incoming = Self::head(&response);
        let accepted = response.status() == StatusCode::OK;
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(method, error))? {
            incoming.body.extend(&chunk);
            if !accepted && incoming.body.len() > MAX_REASON_BYTES {
                break;
            }
            if incoming.body.len() > MAX_RESPONSE_BYTES {
                let reason = format!("it is longer than {MAX_RESPONSE_BYTES} bytes");
                return Err(ExchangeError::Malformed { method, reason });
            }
        }
        incoming.log(method, &response, keys);
        Ok(incoming)
    }

    fn head(response: &Response) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let phrase = response.extensions().get::<ReasonPhrase>();
        Self {
            status: response.status().as_u16(),
            phrase: phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned()),
            signature: header(SERVER_SIGNATURE_HEADER),
            date: header("date").as_deref().and_then(words::date),
            body: SecretBytes::default(),
        }
    }

    /// Why the server says no: the first line of its answer, or its reason phrase.
    pub(super) fn reason(&self, keys: &[&Key]) -> String {
        let line = redact::text(&self.body, keys);
        match &self.phrase {
            Some(phrase) if line.is_empty() => redact::text(phrase.as_bytes(), keys),
            _ => line,
        }
    }

    fn log(&self, method: Method, response: &Response, keys: &[&Key]) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let header = |name: &str| {
            let value = response
                .headers()
                .get(name)
                .map_or(&b""[..], |value| value.as_bytes());
            redact::text(value, keys)
        };
        tracing::debug!(
            %method,
            status = self.status,
            phrase = redact::text(self.phrase.as_deref().unwrap_or_default().as_bytes(), keys),
            content_type = header("content-type"),
            date = header("date"),
            signed = self.signature.is_some(),
            bytes = self.body.len(),
            body = %redact::body(&self.body, keys),
            "response"
        );
    }
}

/// Why a request did not get through.
pub(super) fn failed(method: Method, source: reqwest::Error) -> ExchangeError {
    // The URL may hold credentials, and is known from the configuration anyway.
    let source = source.without_url();
    ExchangeError::Transport {
        method,
        failure: http::classify(&source),
        hint: http::tls_error(&source).map_or("", words::tls_hint),
        source,
    }
}
