//! The agent's side of the wire: sends requests, and lets nothing of a response through before it has been proven to be the
//! server's.
//!
//! The two generations of the protocol are strategies (`signed`, `keyed`) that make requests and prove responses; all
//! else is common to them. Which one is spoken is the configuration's decision alone.

mod archive;
mod error;
mod hello;
mod http;
mod keyed;
mod redact;
pub(crate) mod roots;
mod secret_bytes;
mod signed;
mod transport;
mod verify;
mod words;

pub use error::{Distrust, ExchangeError};
pub use http::{HttpClient, HttpError, HttpOptions, TlsRoots};

use crate::config::{Config, Paths, Protocol};
use crate::host::Host;
use crate::observer::{Exchange, ExchangeOutcome, Observer};
use crate::state::Timestamps;
use oco_protocol::inventory::Inventory;
use oco_protocol::job::{JobReport, JobReportAnswer};
use oco_protocol::keyed::{DeployStatus, Method as KeyedMethod, UpdateData};
use oco_protocol::policy::UpdateAnswer;
use oco_protocol::rpc::Method;
use oco_protocol::{Key, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use transport::{Incoming, Outgoing};
use verify::{Proven, Standard};
use words::Clocks;

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
    /// How the request was made.
    manner: Manner,
}

/// How one request is made.
#[derive(Clone, Copy)]
enum Manner {
    /// With this timestamp, and signed.
    Signed(Timestamp),
    /// With the agent key in it.
    Keyed,
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
        let manner = self.manner(method, None).await;
        let started = Instant::now();
        let proven = async {
            let answered = self.ask(method, name, &data, &session, manner?).await?;
            let response = self.accepted(answered, &session)?;
            let standard = self.standard(method, &response, &session);
            match self.protocol {
                Protocol::Signed => signed::prove(&response, standard),
                Protocol::Keyed => keyed::prove(&response, standard),
            }
        }
        .await;
        let elapsed = started.elapsed();
        let result = match proven {
            Ok(proven) => self.remember(method, proven).await,
            Err(error) => Err(error),
        };
        self.observe(method, started, elapsed, &result);
        result
    }

    /// Sends one request and reads the response to it, whatever it is.
    async fn ask<D: Serialize>(
        &self,
        method: Method,
        name: &str,
        data: &D,
        session: &Session,
        manner: Manner,
    ) -> Result<Answered, ExchangeError> {
        let (url, sender, key) = (&self.url, &self.sender, &session.agent_key);
        let request = match manner {
            Manner::Signed(stamp) => signed::request(url, method, sender, stamp, data, key),
            Manner::Keyed => keyed::request(url, method, name, sender, data, key),
        };
        let request = request.map_err(|error| unwritable(method, &error))?;
        let limit = self.exchange_limit;
        let response = tokio::time::timeout(limit, self.round_trip(request, session)).await;
        Ok(Answered {
            method,
            response: response.unwrap_or(Err(ExchangeError::TimedOut { method, limit }))?,
            manner,
        })
    }

    async fn round_trip(&self, request: Outgoing, session: &Session) -> Result<Incoming, ExchangeError> {
        let method = request.method;
        let keys = session.keys();
        let response = request.send(&self.http, &keys).await?;
        Incoming::read(method, response, &keys).await
    }

    /// How the next request is made. Its timestamp, of `time` where that is given, is on disk already.
    async fn manner(&self, method: Method, time: Option<Timestamp>) -> Result<Manner, ExchangeError> {
        match self.protocol {
            Protocol::Signed => {
                let next = self.timestamps.next(time).await;
                next.map(Manner::Signed)
                    .map_err(|source| ExchangeError::State { method, source })
            }
            Protocol::Keyed => Ok(Manner::Keyed),
        }
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
            manner,
        } = answered;
        let reason = response.reason(keys);
        let hint = match manner {
            Manner::Signed(stamp) if reason == words::TOO_OLD => {
                words::too_old(*stamp, self.clocks(response))
            }
            _ => words::hint(&reason, self.protocol).to_owned(),
        };
        ExchangeError::Refused {
            method: *method,
            status: response.status,
            reason,
            hint,
        }
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
    async fn remember<P>(&self, method: Method, proven: Proven<P>) -> Result<P, ExchangeError> {
        if let Some(timestamp) = proven.timestamp {
            let kept = self.timestamps.accept(timestamp).await;
            kept.map_err(|source| ExchangeError::State { method, source })?;
        }
        Ok(proven.params)
    }

    /// Tells of an exchange that began at `started` and took `elapsed`, without the time that the agent's own files take.
    fn observe<T>(
        &self,
        method: Method,
        started: Instant,
        elapsed: Duration,
        result: &Result<T, ExchangeError>,
    ) {
        let outcome = match result {
            Ok(_) => ExchangeOutcome::Answered,
            Err(error) => error.into(),
        };
        self.observer.exchange(&Exchange {
            method,
            started,
            elapsed,
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
