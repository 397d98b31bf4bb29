//! What an agent tells whoever watches it: the simulator's statistics, a test, nobody.

use oco_protocol::job::JobState;
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// One request and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What was asked.
    pub method: Method,
    /// When the request was about to be sent.
    pub started: Instant,
    /// Until the whole response was there and checked, or the failure.
    pub elapsed: Duration,
    /// What came of it.
    pub outcome: ExchangeOutcome,
}

/// What came of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExchangeOutcome {
    /// A response that passed every check.
    Answered,
    /// A response with another status.
    Refused {
        /// HTTP status.
        status: u16,
        /// First line of the answer.
        reason: String,
    },
    /// No complete response.
    Transport(TransportFailure),
    /// A complete response that is not proven to be the server's.
    Untrusted,
    /// A complete response that makes no sense.
    Malformed,
    /// The agent's own state could not be kept.
    Local,
}

/// How an exchange failed below HTTP, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportFailure {
    /// No connection: name unknown, refused, TLS failed.
    Connect,
    /// Nothing came within the time limit.
    Timeout,
    /// The connection was reset.
    Reset,
    /// The response ended early.
    Incomplete,
    /// Anything else.
    Other,
}

impl fmt::Display for TransportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the server cannot be reached",
            Self::Timeout => "the server did not answer in time",
            Self::Reset => "the connection was reset",
            Self::Incomplete => "the response ended early",
            Self::Other => "the request failed",
        })
    }
}

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// The job.
    pub id: Id,
    /// What it has come to.
    pub state: JobState,
    /// Return code, once there is one.
    pub return_code: Option<i64>,
    /// Whether the server counts the job as succeeded, once it has accepted the outcome.
    pub succeeded: Option<bool>,
}

/// Watches an agent. Called inline, so implementations must be quick.
pub trait Observer: Send + Sync {
    /// An exchange is over.
    fn exchange(&self, exchange: &Exchange) {
        let _ = exchange;
    }

    /// A job has come a step further: it begins to be downloaded or executed, or the server has accepted its outcome.
    fn job(&self, event: &JobEvent) {
        let _ = event;
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
