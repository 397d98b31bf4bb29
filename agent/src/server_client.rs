//! The agent's side of the wire: sends requests, and lets nothing of a response through before it has been proven to be the
//! server's.
//!
//! The two generations of the protocol are strategies ([`signed`], [`keyed`]) that make requests and prove responses; all
//! else is common to them. Which one is spoken is the configuration's decision alone.

mod error;
mod http;
mod keyed;
mod redact;
mod secret_bytes;
mod signed;
mod transport;
mod verify;
mod words;

pub use error::{Distrust, ExchangeError};
pub use http::{HttpClient, HttpError, HttpOptions, TlsRoots};

use crate::config::{self, Config, Paths, Protocol};
use crate::host::Host;
use crate::observer::{Exchange, ExchangeOutcome, Observer};
use crate::state::{self, Timestamps};
use oco_protocol::inventory::Inventory;
use oco_protocol::job::{JobReport, JobReportAnswer};
use oco_protocol::keyed::{DeployStatus, HelloData as KeyedHelloData, Method as KeyedMethod, UpdateData};
use oco_protocol::lenient::Id;
use oco_protocol::policy::UpdateAnswer;
use oco_protocol::rpc::{HelloAnswer, HelloData, Method};
use oco_protocol::{Key, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use transport::{Incoming, Outgoing, failed};
use verify::{Proven, Standard, is_storable};
use words::Clocks;

/// Archives larger than this are not downloaded.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;
/// A download may take this long, and a second more for each [`SLOWEST_DOWNLOAD`] bytes it has brought.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(600);
/// Bytes a second below which a download is given up once its patience is used up.
const SLOWEST_DOWNLOAD: u64 = 1024;
/// A clock that is wrong by more than this is worth a warning.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(10 * 60);

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
    protocol: Protocol,
    exchange_limit: Duration,
    sender: Sender,
    host: Arc<dyn Host>,
    paths: Paths,
    observer: Arc<dyn Observer>,
    timestamps: Arc<Timestamps>,
    session: Mutex<Session>,
    /// Whether the server calls a job's report by the name of 2022; in the keyed generation only.
    deploy_status: AtomicBool,
}

/// What may change from exchange to exchange, and is held during each.
struct Session {
    agent_key: Key,
    server_key: Key,
    clock_warned: bool,
}

impl Session {
    /// What must not be logged.
    fn keys(&self) -> [&Key; 2] {
        [&self.agent_key, &self.server_key]
    }
}

/// A response with what it answers.
struct Answered {
    method: Method,
    response: Incoming,
    /// Timestamp of the request, in the signed generation.
    stamp: Option<Timestamp>,
}

impl ServerClient {
    /// A client for `url`, with the keys of `config`.
    pub fn new(
        http: HttpClient,
        url: reqwest::Url,
        config: &Config,
        sender: Sender,
        host: Arc<dyn Host>,
        paths: Paths,
        observer: Arc<dyn Observer>,
    ) -> Self {
        if config.protocol == Protocol::Keyed && url.scheme() == "http" {
            tracing::warn!(
                "[server] protocol = keyed with an http URL: the agent key travels in the clear, and whoever reads it can act \
                 as this computer and as its server; use https"
            );
        }
        Self {
            http,
            url,
            protocol: config.protocol,
            exchange_limit: config.connection_timeout + config.read_timeout * 2,
            sender,
            timestamps: Arc::new(Timestamps::load(host.clone(), &paths)),
            host,
            paths,
            observer,
            session: Mutex::new(Session {
                agent_key: config.agent_key.clone(),
                server_key: config.server_key.clone(),
                clock_warned: false,
            }),
            deploy_status: AtomicBool::new(false),
        }
    }

    /// Who the requests say they are from.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The key of this agent, which also encrypts passwords.
    pub async fn agent_key(&self) -> Key {
        self.session.lock().await.agent_key.clone()
    }

    /// Whether a server has given out its keys: its answers can be verified.
    pub async fn is_registered(&self) -> bool {
        !self.session.lock().await.server_key.is_empty()
    }

    /// Sends a hello. On registration the keys it brings are stored in the configuration before anything else happens.
    /// The flag says whether this hello registered the computer.
    pub async fn hello(&self, data: HelloData) -> Result<(HelloAnswer, bool), ExchangeError> {
        let mut session = self.session.lock().await;
        let registering = session.server_key.is_empty();
        if registering {
            // A server registers a computer once: keys that could then not be written would lock this agent out.
            config::store_keys(self.host.as_ref(), &self.paths.config, None, None)?;
        }
        let started = Instant::now();
        let result = match self.protocol {
            Protocol::Signed => self.greet(&data, &mut session).await,
            Protocol::Keyed => self.greet(&KeyedHelloData::from(data), &mut session).await,
        };
        self.observe(Method::Hello, started, &result);
        Ok((result?, registering && !session.server_key.is_empty()))
    }

    /// Sends the inventory.
    pub async fn update(&self, inventory: &Inventory) -> Result<UpdateAnswer, ExchangeError> {
        match self.protocol {
            Protocol::Signed => self.exchange(Method::Update, inventory).await,
            Protocol::Keyed => self.exchange(Method::Update, UpdateData::of(inventory)).await,
        }
    }

    /// Reports how far a job is. What the server has no words for is left out, and counts as accepted.
    ///
    /// Servers of 2022 call it otherwise than those of today, and neither knows the other's name: a keyed agent tries the
    /// newer one and, where that is an unknown method, the older one, which it then stays with.
    pub async fn report_job(&self, report: &JobReport) -> Result<JobReportAnswer, ExchangeError> {
        if self.protocol == Protocol::Signed {
            return self.exchange(Method::UpdateJobState, report).await;
        }
        let older = self.deploy_status.load(Ordering::Relaxed);
        let result = self.report_job_as(older, report).await;
        if !result.as_ref().is_err_and(ExchangeError::is_unknown_method) {
            return result;
        }
        let result = self.report_job_as(!older, report).await;
        if matches!(&result, Ok(_) | Err(ExchangeError::Refused { .. }))
            && !result.as_ref().is_err_and(ExchangeError::is_unknown_method)
        {
            self.deploy_status.store(!older, Ordering::Relaxed);
        }
        result
    }

    async fn report_job_as(&self, older: bool, report: &JobReport) -> Result<JobReportAnswer, ExchangeError> {
        let method = Method::UpdateJobState;
        if !older {
            return self.exchange(method, report).await;
        }
        match DeployStatus::of(report) {
            Some(status) => {
                let name = KeyedMethod::UpdateDeployStatus.as_str();
                self.exchange_as(method, name, &status).await
            }
            None => Ok(JobReportAnswer::default()),
        }
    }

    /// Sends one request and checks the response to it; what is returned passed all checks, and the server said yes.
    pub async fn exchange<D: Serialize, P: DeserializeOwned>(
        &self,
        method: Method,
        data: D,
    ) -> Result<P, ExchangeError> {
        self.exchange_as(method, method.as_str(), data).await
    }

    async fn exchange_as<D: Serialize, P: DeserializeOwned>(
        &self,
        method: Method,
        name: &str,
        data: D,
    ) -> Result<P, ExchangeError> {
        let session = self.session.lock().await;
        let started = Instant::now();
        let result = async {
            let answered = self.ask(method, name, &data, &session, None).await?;
            let response = self.accepted(answered, &session)?;
            let standard = self.standard(method, &response, &session);
            let proven = match self.protocol {
                Protocol::Signed => signed::prove(&response, standard)?,
                Protocol::Keyed => keyed::prove(&response, standard)?,
            };
            self.remember(method, &proven).await?;
            Ok(proven.params)
        }
        .await;
        self.observe(method, started, &result);
        result
    }

    /// Fetches a package's archive and hands it on piece by piece, with its whole length where the server tells it.
    pub async fn download<E: From<ExchangeError>>(
        &self,
        package_id: &Id,
        mut consume: impl FnMut(&[u8], Option<u64>) -> Result<(), E>,
    ) -> Result<(), E> {
        let method = Method::Download;
        let started = Instant::now();
        let mut outcome = Ok(());
        let result = async {
            let limit = self.exchange_limit;
            let head = tokio::time::timeout(limit, self.open_archive(package_id)).await;
            let mut response = head.unwrap_or(Err(ExchangeError::TimedOut { method, limit }))?;
            let length = response.content_length();
            let mut received = 0;
            while let Some(chunk) = response.chunk().await.map_err(|e| failed(method, e))? {
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

    /// Asks for an archive; what comes back is one.
    async fn open_archive(&self, package_id: &Id) -> Result<reqwest::Response, ExchangeError> {
        let method = Method::Download;
        // Not held while the archive comes: other exchanges go on meanwhile.
        let (request, stamp, keys) = {
            let session = self.session.lock().await;
            let (url, sender, key) = (&self.url, &self.sender, &session.agent_key);
            let (request, stamp) = match self.protocol {
                Protocol::Signed => {
                    let stamp = self.stamp(method, None).await?;
                    let request = signed::download(url, sender, stamp, package_id, key);
                    (request.map_err(|error| unwritable(method, &error))?, Some(stamp))
                }
                Protocol::Keyed => (keyed::download(url, sender, package_id, key), None),
            };
            (request, stamp, session.keys().map(Key::clone))
        };
        let keys = [&keys[0], &keys[1]];
        let response = request.send(&self.http, &keys).await?;
        if response.status() == reqwest::StatusCode::OK {
            tracing::debug!(%method, status = 200, bytes = response.content_length(), "response: an archive");
            return Ok(response);
        }
        let response = Incoming::read(method, response, &keys).await?;
        let answered = Answered {
            method,
            response,
            stamp,
        };
        Err(self.refusal(&answered, &keys))
    }

    /// Sends a hello and has its answer proven, kept and remembered.
    async fn greet<D: Serialize>(
        &self,
        data: &D,
        session: &mut Session,
    ) -> Result<HelloAnswer, ExchangeError> {
        let (method, name) = (Method::Hello, Method::Hello.as_str());
        let mut answered = self.ask(method, name, data, session, None).await?;
        if let Some(time) = self.better_time(&answered, session) {
            tracing::warn!(
                time = words::moment(time),
                "the timestamp was refused as too old; once more with a better one"
            );
            answered = self.ask(method, name, data, session, Some(time)).await?;
        }
        let response = self.accepted(answered, session)?;
        let standard = self.standard(method, &response, session);
        let proven = match self.protocol {
            Protocol::Signed => signed::prove_hello(&response, standard)?,
            Protocol::Keyed => keyed::prove_hello(&response, standard)?,
        };
        // Keys first: the server gives them out once, while a timestamp that is lost is merely accepted again.
        self.keep_keys(&proven, session)?;
        self.remember(method, &proven).await?;
        self.watch_clock(&proven, session);
        Ok(proven.params)
    }

    /// Sends one request and reads the response to it, whatever it is.
    async fn ask<D: Serialize>(
        &self,
        method: Method,
        name: &str,
        data: &D,
        session: &Session,
        time: Option<Timestamp>,
    ) -> Result<Answered, ExchangeError> {
        let (url, sender, key) = (&self.url, &self.sender, &session.agent_key);
        let (request, stamp) = match self.protocol {
            Protocol::Signed => {
                let stamp = self.stamp(method, time).await?;
                let request = signed::request(url, method, sender, stamp, data, key);
                (request, Some(stamp))
            }
            Protocol::Keyed => (keyed::request(url, method, name, sender, data, key), None),
        };
        let request = request.map_err(|error| unwritable(method, &error))?;
        let limit = self.exchange_limit;
        let response = tokio::time::timeout(limit, self.round_trip(request, session)).await;
        Ok(Answered {
            method,
            response: response.unwrap_or(Err(ExchangeError::TimedOut { method, limit }))?,
            stamp,
        })
    }

    async fn round_trip(&self, request: Outgoing, session: &Session) -> Result<Incoming, ExchangeError> {
        let method = request.method;
        let keys = session.keys();
        let response = request.send(&self.http, &keys).await?;
        Incoming::read(method, response, &keys).await
    }

    /// The timestamp of the next request, on disk already.
    async fn stamp(&self, method: Method, time: Option<Timestamp>) -> Result<Timestamp, ExchangeError> {
        let next = self.timestamps.next(time).await;
        next.map_err(|source| ExchangeError::State { method, source })
    }

    fn accepted(&self, answered: Answered, session: &Session) -> Result<Incoming, ExchangeError> {
        if answered.response.status == 200 {
            return Ok(answered.response);
        }
        Err(self.refusal(&answered, &session.keys()))
    }

    fn refusal(&self, answered: &Answered, keys: &[&Key]) -> ExchangeError {
        let Answered {
            method,
            response,
            stamp,
        } = answered;
        let reason = response.reason(keys);
        let hint = match stamp {
            Some(stamp) if reason == words::TOO_OLD => words::too_old(*stamp, self.clocks(response)),
            _ => words::hint(&reason, self.protocol).to_owned(),
        };
        ExchangeError::Refused {
            method: *method,
            status: response.status,
            reason,
            hint,
        }
    }

    /// A time that a hello may be sent with again, after it was refused as too old.
    fn better_time(&self, answered: &Answered, session: &Session) -> Option<Timestamp> {
        let response = &answered.response;
        let stamp = answered
            .stamp
            .filter(|_| response.status == 401 && response.reason(&session.keys()) == words::TOO_OLD)?;
        let authentic = self.url.scheme() == "https";
        state::better_time(stamp, self.timestamps.clock(), response.date, authentic)
    }

    fn clocks(&self, response: &Incoming) -> Clocks {
        Clocks {
            own: self.timestamps.clock(),
            server: response.date,
        }
    }

    fn standard<'a>(&self, method: Method, response: &Incoming, session: &'a Session) -> Standard<'a> {
        Standard {
            method,
            server_key: &session.server_key,
            last: self.timestamps.received(),
            clocks: self.clocks(response),
        }
    }

    /// Remembers the timestamp of a proven answer, before anything in it is used.
    async fn remember<P>(&self, method: Method, proven: &Proven<P>) -> Result<(), ExchangeError> {
        let Some(timestamp) = proven.timestamp else {
            return Ok(());
        };
        let kept = self.timestamps.accept(timestamp).await;
        kept.map_err(|source| ExchangeError::State { method, source })
    }

    /// Says once when this computer's clock is wrong, and again after it was right.
    fn watch_clock(&self, proven: &Proven<HelloAnswer>, session: &mut Session) {
        let clocks = Clocks {
            own: self.timestamps.clock(),
            server: proven.timestamp,
        };
        let wrong = clocks.differ_by(CLOCK_TOLERANCE);
        if wrong && !session.clock_warned {
            tracing::warn!("{clocks}");
        }
        session.clock_warned = wrong;
    }

    /// Stores the keys of a proven answer: the server's only where there is none yet, the agent's whenever one comes.
    /// Not on another thread: it happens once in a computer's life, and must not be cut off.
    fn keep_keys(&self, proven: &Proven<HelloAnswer>, session: &mut Session) -> Result<(), ExchangeError> {
        let offered = proven.params.agent_key.as_ref();
        let agent_key = offered.filter(|key| !key.is_empty() && **key != session.agent_key);
        let server_key = proven.first_server_key.as_ref();
        if agent_key.is_none() && server_key.is_none() {
            return Ok(());
        }
        if ![agent_key, server_key].into_iter().flatten().all(is_storable) {
            let reason = "it brings a key that is no single word of at most 200 printable ASCII characters";
            return Err(ExchangeError::Malformed {
                method: Method::Hello,
                reason: reason.into(),
            });
        }
        config::store_keys(self.host.as_ref(), &self.paths.config, agent_key, server_key)?;
        if let Some(key) = agent_key {
            session.agent_key = key.clone();
        }
        if let Some(key) = server_key {
            session.server_key = key.clone();
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

fn unwritable(method: Method, error: &serde_json::Error) -> ExchangeError {
    ExchangeError::Malformed {
        method,
        reason: format!("the request cannot be written as JSON: {error}"),
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
