//! Events that the server asks for. On Linux they come from the journal, on Windows from its logs; queries for other
//! systems' logs are not for this computer.

pub(crate) mod event_xml;
mod journal;
mod windows_log;

use crate::host::{Host, HostError, Os};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use oco_protocol::rpc::{Event, EventQuery};
use std::time::Duration;

/// Most events of a check-in, of all its queries; the oldest ones, so that the next check-in goes on where this one ended.
const MOST_EVENTS: usize = 10_000;
/// Most text of all events of a check-in, bytes.
const MOST_BYTES: usize = 8 << 20;
/// Longest text of an event that is reported, bytes.
const MOST_MESSAGE: usize = 32 << 10;
/// What an event takes beside its texts, bytes.
const OVERHEAD: usize = 200;
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
    /// The log does not answer.
    #[error("the log cannot be read")]
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
        let Some(run) = reader(host.os(), &query.log) else {
            tracing::debug!(log = %query.log, "events of this log are not for this computer");
            continue;
        };
        match run(host, query, room) {
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
            // Rules are for many computers, and not all of them have every log.
            Err(EventError::Host(error)) if error.is_not_found() => {
                tracing::debug!(log = %query.log, %error, "this computer has no such log");
            }
            Err(error) => {
                tracing::warn!(error = %crate::errors::with_causes(&error), "events cannot be collected");
            }
        }
    }
    events
}

/// What a query found.
#[derive(Debug, Default)]
struct Found {
    /// Oldest first.
    events: Vec<Event>,
    /// Bytes that they take, roughly.
    bytes: usize,
    /// Whether there was more.
    cut: bool,
}

/// Runs a query, for as many events as there is room for.
type Reader = fn(&dyn Host, &EventQuery, Room) -> Result<Found, EventError>;

/// What reads a log, if it is one of this kind of system's.
fn reader(os: Os, log: &str) -> Option<Reader> {
    match (os, log == journal::LOG) {
        (Os::Linux, true) => Some(journal::query),
        (Os::Windows, false) => Some(windows_log::query),
        _ => None,
    }
}

/// The moment (UTC) that events are asked for since.
fn since(text: &str) -> Result<Timestamp, EventError> {
    let moment = text
        .parse::<DateTime>()
        .and_then(|moment| moment.to_zoned(TimeZone::UTC));
    let moment = moment.map_err(|source| EventError::Since {
        since: text.to_owned(),
        source,
    })?;
    Ok(moment.timestamp())
}

fn shorten(text: &mut String) {
    if text.len() > MOST_MESSAGE {
        text.truncate(text.floor_char_boundary(MOST_MESSAGE));
        text.push('…');
    }
}

/// Bytes that an event takes, roughly.
fn size(event: &Event) -> usize {
    let texts = event
        .data
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    OVERHEAD + event.log.len() + event.provider.len() + texts.sum::<usize>()
}

#[cfg(test)]
mod tests;
