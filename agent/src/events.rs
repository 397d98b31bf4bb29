//! Events that the server asks for. On Linux they come from the journal; queries for other systems' logs are not for
//! this computer.

mod journal;

use crate::host::{Host, HostError, Os};
use oco_protocol::rpc::{Event, EventQuery};
use std::time::Duration;

/// Most events of a check-in, of all its queries; the oldest ones, so that the next check-in goes on where this one ended.
const MOST_EVENTS: usize = 10_000;
/// Most text of all events of a check-in, bytes.
const MOST_BYTES: usize = 8 << 20;
/// A query that takes longer has no result.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// All queries of a check-in together take no longer.
const TOTAL_TIME_LIMIT: Duration = Duration::from_secs(180);
/// Most queries of a check-in.
const MOST_QUERIES: usize = 100;

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

/// What is left for the queries that are still to be run.
#[derive(Debug, Clone, Copy)]
struct Room {
    events: usize,
    bytes: usize,
    /// Time since the computer's start at which the last one ends; none where that is not known.
    deadline: Option<Duration>,
}

impl Room {
    fn new(host: &dyn Host) -> Self {
        Self {
            events: MOST_EVENTS,
            bytes: MOST_BYTES,
            deadline: host.uptime().ok().map(|now| now + TOTAL_TIME_LIMIT),
        }
    }

    /// How long the next query may take.
    fn time(&self, host: &dyn Host) -> Duration {
        let left = self.deadline.zip(host.uptime().ok());
        let left = left.map(|(deadline, now)| deadline.saturating_sub(now));
        left.map_or(TIME_LIMIT, |left| left.min(TIME_LIMIT))
    }
}

/// Runs the queries, one after the other. One that fails costs itself only, and the log says why. All together are
/// bounded in number, time and size.
pub fn collect(host: &dyn Host, queries: &[EventQuery]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut room = Room::new(host);
    for (index, query) in queries.iter().enumerate() {
        if index >= MOST_QUERIES || room.events == 0 || room.time(host).is_zero() {
            tracing::warn!(
                queries = queries.len() - index,
                "event queries are left for the next check-in: those before took all its time or room"
            );
            break;
        }
        if host.os() != Os::Linux || query.log != journal::LOG {
            tracing::debug!(log = %query.log, "events of this log are not for this computer");
            continue;
        }
        match journal::query(host, query, room) {
            Ok(found) => {
                room.bytes = room.bytes.saturating_sub(found.bytes);
                room.events = room.events.saturating_sub(found.events.len());
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
