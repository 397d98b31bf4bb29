//! Events that the server asks for. On Linux they come from the journal; queries for other systems' logs are not for
//! this computer.

mod journal;

use crate::host::{Host, HostError, Os};
use oco_protocol::rpc::{Event, EventQuery};
use std::time::Duration;

/// Most events a query finds; the oldest ones, so that the next check-in goes on where this one ended.
const MOST_EVENTS: usize = 10_000;
/// Most text of all events of a check-in, bytes.
const MOST_BYTES: usize = 8 << 20;
/// A query that takes longer has no result.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A query that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The moment makes no sense.
    #[error("the events since {since:?} were asked for: expected YYYY-MM-DD HH:MM:SS")]
    Since {
        /// As received.
        since: String,
        /// Why not.
        source: jiff::Error,
    },
    /// The query is not what journald needs.
    #[error(
        "the query {query:?} is malformed: expected a JSON object with unit, identifier, priority, grep as texts"
    )]
    Query {
        /// As received.
        query: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A priority is none.
    #[error("{0:?} is no priority: expected 0 to 7, or a name such as err")]
    Priority(String),
    /// The regular expression is none, or too large.
    #[error("the regular expression of the query cannot be used")]
    Grep(#[source] regex_lite::Error),
    /// The journal does not answer.
    #[error("the journal cannot be read")]
    Host(#[from] HostError),
    /// `journalctl` failed.
    #[error("{command} failed with exit code {code:?}")]
    Command {
        /// Its command line.
        command: String,
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
    },
}

/// Runs the queries, one after the other. One that fails costs itself only, and the log says why.
pub fn collect(host: &dyn Host, queries: &[EventQuery]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut room = MOST_BYTES;
    for query in queries {
        if host.os() != Os::Linux || query.log != journal::LOG {
            tracing::debug!(log = %query.log, "events of this log are not for this computer");
            continue;
        }
        match journal::query(host, query, room) {
            Ok(found) => {
                room = room.saturating_sub(found.bytes);
                if found.cut {
                    tracing::warn!(
                        events = found.events.len(),
                        "more events than fit into one report; the oldest ones are sent"
                    );
                }
                events.extend(found.events);
            }
            Err(error) => {
                tracing::warn!(error = %crate::errors::with_causes(&error), "events cannot be collected");
            }
        }
    }
    events
}

#[cfg(test)]
mod tests;
