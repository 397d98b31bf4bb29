//! What can go wrong in an exchange, in words that say what to do about it.

use super::words;
use crate::config::ConfigError;
use crate::host::HostError;
use crate::observer::{ExchangeOutcome, TransportFailure};
use oco_protocol::rpc::Method;
use oco_protocol::{Timestamp, keyed};
use std::time::Duration;

/// How much of the other side's text is kept.
pub(super) const MAX_REASON_BYTES: usize = 300;

/// An exchange that brought nothing usable.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The request did not get through, or the response did not come back whole.
    #[error("{method}: {failure}{hint}")]
    Transport {
        /// What was asked.
        method: Method,
        /// In one word.
        failure: TransportFailure,
        /// What an administrator can do about it, in brackets; empty where nobody knows.
        hint: &'static str,
        /// In detail.
        #[source]
        source: reqwest::Error,
    },
    /// The response did not arrive within the time limit.
    #[error("{method}: no complete response within {} s", limit.as_secs())]
    TimedOut {
        /// What was asked.
        method: Method,
        /// The limit.
        limit: Duration,
    },
    /// The server said no.
    #[error("{method}: the server refused with status {status}: {}{hint}", if reason.is_empty() { "(no reason given)" } else { reason })]
    Refused {
        /// What was asked.
        method: Method,
        /// HTTP status.
        status: u16,
        /// First line of its answer, or the reason phrase where there is none.
        reason: String,
        /// What an administrator can do about it, in brackets; empty where nobody knows.
        hint: String,
    },
    /// The response is not proven to be the server's, so nothing of it was used.
    #[error("{method}: the response is not trusted: {distrust}")]
    Untrusted {
        /// What was asked.
        method: Method,
        /// Why not.
        distrust: Distrust,
    },
    /// The response makes no sense.
    #[error("{method}: the response makes no sense: {reason}")]
    Malformed {
        /// What was asked.
        method: Method,
        /// Why not.
        reason: String,
    },
    /// The server says it did not do what was asked.
    #[error("{method}: the server answered that it did not succeed")]
    Declined {
        /// What was asked.
        method: Method,
    },
    /// The request could not be made, or the agent's memory of the exchange could not be written.
    #[error("{method}: state cannot be kept; check free space and permissions")]
    State {
        /// What was asked.
        method: Method,
        /// Why not.
        #[source]
        source: HostError,
    },
    /// Keys could not be written into the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why a response is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is no signature.
    #[error("it carries no signature")]
    Unsigned,
    /// The signature is wrong.
    #[error(
        "its signature does not fit the server key; if the server was set up anew, empty [server] server-key"
    )]
    WrongSignature,
    /// It was given before, or is older than one that was.
    #[error(
        "its timestamp {timestamp} ({}) is not newer than the last accepted one, {last} ({}); {clocks}; if the server's \
         clock was ahead and has been set right, remove the agent's timestamp file",
        words::moment(*timestamp), words::moment(*last)
    )]
    NotNewer {
        /// Of this response.
        timestamp: Timestamp,
        /// Of the last one that was accepted.
        last: Timestamp,
        /// What the clocks of both sides say.
        clocks: String,
    },
    /// It does not carry the server key that proves who sent it in the keyed generation.
    #[error("it brings no server key")]
    NoServerKey,
    /// It carries another server key.
    #[error(
        "it brings another server key than the stored one; if the server was set up anew, empty [server] server-key"
    )]
    OtherServerKey,
    /// It carries an agent key that nothing proves to be the server's.
    #[error("it brings an agent key without a signature that can be verified")]
    UnverifiedKeys,
}

impl ExchangeError {
    /// Whether the server says that it has no such method.
    pub(super) fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Refused { status: 400, reason, .. } if reason.eq_ignore_ascii_case(keyed::UNKNOWN_METHOD))
    }
}

impl From<&ExchangeError> for ExchangeOutcome {
    fn from(error: &ExchangeError) -> Self {
        match error {
            ExchangeError::Transport { failure, .. } => Self::Transport(*failure),
            ExchangeError::TimedOut { .. } => Self::Transport(TransportFailure::Timeout),
            ExchangeError::Refused { status, reason, .. } => Self::Refused {
                status: *status,
                reason: reason.clone(),
            },
            ExchangeError::Untrusted { .. } => Self::Untrusted,
            ExchangeError::Malformed { .. } | ExchangeError::Declined { .. } => Self::Malformed,
            ExchangeError::State { .. } | ExchangeError::Config(_) => Self::Local,
        }
    }
}

/// Text of the other side for a log: short and without control characters.
pub(super) fn shortened(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON_BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_other_side_is_cut_and_cannot_forge_log_lines() {
        assert_eq!(shortened("a\nERROR b\u{1b}[31m"), "aERROR b[31m");
        assert_eq!(shortened(&"x".repeat(1000)).len(), MAX_REASON_BYTES);
    }
}
