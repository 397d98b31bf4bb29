//! The agent's side of the wire: signs and sends requests, and lets nothing of a response through before its signature
//! and timestamp have been checked.

mod error;
mod http;
mod transport;
mod verify;

pub use error::{Distrust, ExchangeError};
pub use http::{HttpClient, HttpError, HttpOptions, TlsRoots};

use crate::config::{self, Paths};
use crate::host::Host;
use crate::observer::{Exchange, ExchangeOutcome, Observer};
use crate::state::Timestamps;
use oco_protocol::lenient::Id;
use oco_protocol::rpc::{CONTENT_TYPE, DownloadParams, HelloAnswer, Method, Params, Request};
use oco_protocol::signature::{self, AGENT_SIGNATURE_HEADER};
use oco_protocol::{Key, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use transport::{RawResponse, check_status, read_body, send, transport};
use verify::{check_signature, is_storable, parse, verified};

/// Archives larger than this are not downloaded.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;
/// A download may take this long, and a second more for each [`SLOWEST_DOWNLOAD`] bytes it has brought.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(600);
/// Bytes a second below which a download is given up once its patience is used up.
const SLOWEST_DOWNLOAD: u64 = 1024;
/// Who this agent says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The machine's UUID or its host name.
    pub uid: String,
    /// Host name.
    pub hostname: String,
}

/// Talks to one server for one computer. Exchanges are one at a time, so that timestamps of both directions only grow.
pub struct ServerClient {
    http: HttpClient,
    url: reqwest::Url,
    exchange_limit: Duration,
    sender: Sender,
    host: Arc<dyn Host>,
    paths: Paths,
    observer: Arc<dyn Observer>,
    session: Mutex<Session>,
}

/// What changes from exchange to exchange.
struct Session {
    agent_key: Key,
    server_key: Key,
    timestamps: Timestamps,
}

impl ServerClient {
    /// A client for `url`, signing with the keys of `config`.
    pub fn new(
        http: HttpClient,
        url: reqwest::Url,
        config: &config::Config,
        sender: Sender,
        host: Arc<dyn Host>,
        paths: Paths,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let timestamps = Timestamps::load(host.as_ref(), &paths);
        let (agent_key, server_key) = (config.agent_key.clone(), config.server_key.clone());
        Self {
            http,
            url,
            exchange_limit: config.connection_timeout + config.read_timeout * 2,
            sender,
            host,
            paths,
            observer,
            session: Mutex::new(Session {
                agent_key,
                server_key,
                timestamps,
            }),
        }
    }

    /// Who the requests say they are from.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The key that this agent signs with, which also encrypts passwords.
    pub async fn agent_key(&self) -> Key {
        self.session.lock().await.agent_key.clone()
    }

    /// Whether a server has given out its keys: its answers can be verified.
    pub async fn is_registered(&self) -> bool {
        !self.session.lock().await.server_key.is_empty()
    }

    /// Sends one request and checks the response to it; what is returned passed all checks, and the server said yes.
    pub async fn exchange<D: Serialize, P: DeserializeOwned>(
        &self,
        method: Method,
        data: D,
    ) -> Result<P, ExchangeError> {
        let mut session = self.session.lock().await;
        let started = Instant::now();
        let result = match self.round_trip(method, data, &mut session).await {
            Ok(raw) => self.accept(method, &raw, &mut session),
            Err(error) => Err(error),
        };
        self.observe(method, started, &result);
        result
    }

    /// Sends a hello. On registration the keys it brings are stored in the configuration before anything else happens.
    /// The flag says whether this hello registered the computer.
    pub async fn hello<D: Serialize>(&self, data: D) -> Result<(HelloAnswer, bool), ExchangeError> {
        let mut session = self.session.lock().await;
        let registering = session.server_key.is_empty();
        if registering {
            // A server registers a computer once: keys that could then not be written would lock this agent out.
            config::store_keys(self.host.as_ref(), &self.paths.config, None, None)?;
        }
        let started = Instant::now();
        let result = match self.round_trip(Method::Hello, data, &mut session).await {
            Ok(raw) => self.accept_hello(&raw, &mut session),
            Err(error) => Err(error),
        };
        self.observe(Method::Hello, started, &result);
        Ok((result?, registering && !session.server_key.is_empty()))
    }

    /// Fetches a package's archive and hands it on piece by piece, with its whole length where the server tells it.
    pub async fn download<E: From<ExchangeError>>(
        &self,
        package_id: &Id,
        mut consume: impl FnMut(&[u8], Option<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let method = Method::Download;
        let started = Instant::now();
        let request = {
            let mut session = self.session.lock().await;
            let timestamp = self.next_timestamp(method, &mut session)?;
            let Sender { uid, hostname } = self.sender.clone();
            let params = DownloadParams {
                uid,
                hostname,
                timestamp,
                package_id: package_id.clone(),
            };
            self.signed(
                reqwest::Method::GET,
                &Request::new(method, params),
                &session.agent_key,
            )
        };
        let mut outcome = Ok(());
        let result = async {
            let limit = self.exchange_limit;
            let head = async { check_status(method, send(method, request).await?).await };
            let head = tokio::time::timeout(limit, head).await;
            let mut response = head.unwrap_or(Err(ExchangeError::TimedOut { method, limit }))?;
            let length = response.content_length();
            let mut received = 0;
            while let Some(chunk) = response.chunk().await.map_err(|e| transport(method, e))? {
                received += chunk.len() as u64;
                bound_download(length, received, started.elapsed())?;
                if let Err(error) = consume(&chunk, length) {
                    outcome = Err(error);
                    break;
                }
            }
            Ok(())
        }
        .await;
        self.observe(method, started, &result);
        result?;
        outcome
    }

    async fn round_trip<D: Serialize>(
        &self,
        method: Method,
        data: D,
        session: &mut Session,
    ) -> Result<RawResponse, ExchangeError> {
        let timestamp = self.next_timestamp(method, session)?;
        let Sender { uid, hostname } = self.sender.clone();
        let request = Request::new(
            method,
            Params {
                uid,
                hostname,
                timestamp,
                data,
            },
        );
        let request = self.signed(reqwest::Method::POST, &request, &session.agent_key);
        let limit = self.exchange_limit;
        tokio::time::timeout(limit, async {
            let response = check_status(method, send(method, request).await?).await?;
            read_body(method, response).await
        })
        .await
        .unwrap_or(Err(ExchangeError::TimedOut { method, limit }))
    }

    fn next_timestamp(&self, method: Method, session: &mut Session) -> Result<Timestamp, ExchangeError> {
        let now = Timestamp::from_system_time(self.host.now());
        let next = Timestamp::next_to_send(now, session.timestamps.sent);
        session
            .timestamps
            .store_sent(self.host.as_ref(), &self.paths, next)
            .map_err(|source| ExchangeError::State { method, source })?;
        Ok(next)
    }

    fn signed<P: Serialize>(
        &self,
        verb: reqwest::Method,
        request: &Request<P>,
        key: &Key,
    ) -> Result<reqwest::RequestBuilder, ExchangeError> {
        let body = serde_json::to_vec(request).map_err(|error| ExchangeError::Malformed {
            method: Method::from_name(&request.method).unwrap_or(Method::Hello),
            reason: format!("the request cannot be written as JSON: {error}"),
        })?;
        let signature = signature::sign(key, &body);
        Ok(self
            .http
            .request(verb, self.url.clone())
            .header("content-type", CONTENT_TYPE)
            .header(AGENT_SIGNATURE_HEADER, signature)
            .body(body))
    }

    /// Checks an answer to a hello. Before registration it is trusted on first use: it must be signed with the very key
    /// that it brings.
    fn accept_hello(&self, raw: &RawResponse, session: &mut Session) -> Result<HelloAnswer, ExchangeError> {
        let method = Method::Hello;
        let mut first_server_key = None;
        if session.server_key.is_empty() {
            let offered = parse::<HelloAnswer>(method, &raw.body)?.result.params;
            match offered.server_key {
                Some(key) if !key.is_empty() => {
                    check_signature(method, raw, &key)?;
                    first_server_key = Some(key);
                }
                _ if offered.agent_key.is_some() => {
                    return Err(ExchangeError::Untrusted {
                        method,
                        distrust: Distrust::UnverifiedKeys,
                    });
                }
                _ => tracing::warn!(
                    "the server knows this computer but [server] server-key is empty: its answers cannot be verified; \
                     copy the server key into the configuration, or let the server forget this computer"
                ),
            }
        }
        let (answer, timestamp) =
            verified::<HelloAnswer>(method, raw, &session.server_key, session.timestamps.received)?;
        // Keys first: the server gives them out once, while a timestamp that is lost is merely accepted again.
        self.keep_keys(&answer, first_server_key, session)?;
        self.remember(method, timestamp, session)?;
        Ok(answer)
    }

    /// Checks an answer, remembers its timestamp, and only then gives its content out.
    fn accept<P: DeserializeOwned>(
        &self,
        method: Method,
        raw: &RawResponse,
        session: &mut Session,
    ) -> Result<P, ExchangeError> {
        let (answer, timestamp) = verified(method, raw, &session.server_key, session.timestamps.received)?;
        self.remember(method, timestamp, session)?;
        Ok(answer)
    }

    /// Remembers the timestamp of an answer that was verified. One that could not be (there is no server key) must not
    /// make the genuine ones after it look old.
    fn remember(
        &self,
        method: Method,
        timestamp: Timestamp,
        session: &mut Session,
    ) -> Result<(), ExchangeError> {
        if session.server_key.is_empty() {
            return Ok(());
        }
        session
            .timestamps
            .store_received(self.host.as_ref(), &self.paths, timestamp)
            .map_err(|source| ExchangeError::State { method, source })
    }

    /// Stores the keys of a verified answer: the server's only where there is none yet, the agent's whenever one comes.
    fn keep_keys(
        &self,
        answer: &HelloAnswer,
        first_server_key: Option<Key>,
        session: &mut Session,
    ) -> Result<(), ExchangeError> {
        let agent_key = answer
            .agent_key
            .as_ref()
            .filter(|key| !key.is_empty() && **key != session.agent_key);
        if agent_key.is_none() && first_server_key.is_none() {
            return Ok(());
        }
        if ![agent_key, first_server_key.as_ref()]
            .into_iter()
            .flatten()
            .all(is_storable)
        {
            let reason = "it brings a key that is no single word of at most 200 printable ASCII characters";
            return Err(ExchangeError::Malformed {
                method: Method::Hello,
                reason: reason.into(),
            });
        }
        config::store_keys(
            self.host.as_ref(),
            &self.paths.config,
            agent_key,
            first_server_key.as_ref(),
        )?;
        if let Some(key) = agent_key {
            session.agent_key = key.clone();
        }
        if let Some(key) = first_server_key {
            session.server_key = key;
        }
        tracing::info!("keys received from the server are stored in the configuration");
        Ok(())
    }

    fn observe<T>(&self, method: Method, started: Instant, result: &Result<T, ExchangeError>) {
        let outcome = match result {
            Ok(_) => ExchangeOutcome::Answered,
            Err(error) => error.into(),
        };
        self.observer.exchange(&Exchange {
            method,
            started,
            elapsed: started.elapsed(),
            outcome,
        });
    }
}

/// Gives up a download that is too large, or so slow that it would block the jobs behind it.
fn bound_download(length: Option<u64>, received: u64, elapsed: Duration) -> Result<(), ExchangeError> {
    let method = Method::Download;
    if length.unwrap_or(0).max(received) > MAX_ARCHIVE_BYTES {
        let reason = format!("the archive is longer than {MAX_ARCHIVE_BYTES} bytes");
        return Err(ExchangeError::Malformed { method, reason });
    }
    let limit = DOWNLOAD_PATIENCE + Duration::from_secs(received / SLOWEST_DOWNLOAD);
    if elapsed > limit {
        return Err(ExchangeError::TimedOut { method, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_that_are_endless_or_next_to_still_are_given_up() {
        let second = Duration::from_secs(1);
        assert!(bound_download(None, 10, 600 * second).is_ok());
        assert!(bound_download(None, 10, 601 * second).is_err());
        assert!(bound_download(None, 1 << 30, 100_000 * second).is_ok());
        assert!(bound_download(Some(MAX_ARCHIVE_BYTES + 1), 10, second).is_err());
        assert!(bound_download(None, MAX_ARCHIVE_BYTES + 1, second).is_err());
    }
}
