//! What the collectors share: their errors, and what a failed one costs.

use crate::errors::with_causes;
use crate::host::{Command, Host, HostError};
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why a field could not be collected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// The machine did not answer.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The command ran and failed.
    #[error("{command} failed with exit code {code:?}")]
    Command {
        /// Its command line.
        command: String,
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
    },
    /// The answer makes no sense.
    #[error("cannot make sense of {subject}: {reason}")]
    Malformed {
        /// What was read.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CollectError {
    pub(super) fn malformed(subject: impl Display, reason: impl Display) -> Self {
        Self::Malformed {
            subject: subject.to_string(),
            reason: reason.to_string(),
        }
    }

    /// Whether asking again would change nothing: there is no such thing, or it is not for the agent's user.
    pub(super) fn is_lasting(&self) -> bool {
        let lasting = [
            io::ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::Unsupported,
        ];
        matches!(self, Self::Host(error) if lasting.contains(&error.source.kind()))
    }
}

/// Outcome of one collector.
pub(crate) type Result<T, E = CollectError> = std::result::Result<T, E>;

/// The value, or nothing and a line in the log.
pub(super) fn field<T, E: Error>(name: &'static str, collected: Result<T, E>) -> Option<T> {
    collected
        .inspect_err(|error| {
            tracing::warn!(
                inventory.field = name,
                error = with_causes(&error),
                "cannot collect a field"
            );
        })
        .ok()
}

/// Turns "the machine has no such thing" into `None`.
pub(super) fn optional<T>(result: Result<T, HostError>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file as text; bytes that are not UTF-8 are replaced.
pub(super) fn read_text(host: &dyn Host, path: impl AsRef<Path>) -> Result<String, HostError> {
    host.read_file(path.as_ref()).map(lossy)
}

/// Bytes as text, without a copy where they are UTF-8.
pub(super) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Standard output of a command that must succeed.
pub(super) fn command_output(host: &dyn Host, program: &str, args: &[&str]) -> Result<Vec<u8>> {
    let command = Command {
        program,
        args,
        time_limit: COMMAND_TIME_LIMIT,
    };
    let output = host.run(&command)?;
    match output.code {
        Some(0) => Ok(output.stdout),
        code => Err(CollectError::Command {
            command: command.to_string(),
            code,
        }),
    }
}

/// A question that takes longer than this costs its field.
const COMMAND_TIME_LIMIT: Duration = Duration::from_secs(30);
