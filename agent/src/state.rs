//! What the agent remembers between check-ins beside its keys: the timestamps that only grow.

use crate::config::Paths;
use crate::host::{Host, HostError, Visibility, beside};
use oco_protocol::Timestamp;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How far this computer's clock may be ahead of the server's before its requests are stamped with the server's time.
const MOST_AHEAD: Duration = Duration::from_secs(2 * 24 * 3600);

/// A request that is stamped with a time this far behind the clock was so because the clock was not believed.
const DOUBTED: Duration = Duration::from_secs(3600);

/// Where nothing is known of the server's time, a clock that is past this (2050-01-01) is not believed.
const LATEST_PLAUSIBLE: Timestamp = Timestamp::from_micros(2_524_608_000_000_000);

/// What is sent instead (2026-01-01): a server takes any time from a computer that is new to it, and this one leaves room
/// for the real ones, which its answer makes known.
const LONG_AGO: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Both ends of the protocol's clock, on disk before they are relied on. Files are written on a blocking thread, and so
/// that a caller that is dropped meanwhile neither loses nor disorders anything.
pub struct Timestamps {
    host: Arc<dyn Host>,
    paths: Paths,
    last: Mutex<Last>,
    /// Held while a file is written.
    writing: Mutex<()>,
}

/// What both ends have come to.
#[derive(Debug, Clone, Copy)]
struct Last {
    sent: Timestamp,
    received: Timestamp,
    /// When the last response was accepted; none in this process yet.
    heard: Option<Instant>,
}

/// The timestamps of the last request and of the last response accepted, as they are on disk.
///
/// A file that is missing or holds no timestamp (empty after a power failure) counts as "never": the server still refuses
/// a request that is too old, and a response is still verified by its signature. The last response stands in for a last
/// request that is not known.
pub fn stored(host: &dyn Host, paths: &Paths) -> (Timestamp, Timestamp) {
    let received = read(host, &paths.timestamp);
    match read(host, &paths.sent_timestamp) {
        Timestamp::ZERO => (received, received),
        sent => (sent, received),
    }
}

impl Timestamps {
    /// Begins with what is stored.
    pub fn load(host: Arc<dyn Host>, paths: &Paths) -> Self {
        let (sent, received) = stored(host.as_ref(), paths);
        Self {
            host,
            paths: paths.clone(),
            last: Mutex::new(Last {
                sent,
                received,
                heard: None,
            }),
            writing: Mutex::default(),
        }
    }

    /// Of the last request; the next one has to be greater.
    pub fn sent(&self) -> Timestamp {
        self.last().sent
    }

    /// Of the last response accepted; the next one has to be greater.
    pub fn received(&self) -> Timestamp {
        self.last().received
    }

    /// This computer's clock, as it is.
    pub fn clock(&self) -> Timestamp {
        Timestamp::from_system_time(self.host.now())
    }

    /// The timestamp of the next request, on disk already: the clock's time where that is plausible, or `time` where it
    /// is given, but always later than the one before.
    pub async fn next(self: &Arc<Self>, time: Option<Timestamp>) -> Result<Timestamp, HostError> {
        self.write(move |this| {
            let last = *this.last();
            let time = time.unwrap_or_else(|| plausible(this.clock(), last.server_time()));
            let next = Timestamp::next_to_send(time, last.sent);
            write(this.host.as_ref(), &this.paths.sent_timestamp, next)?;
            this.last().sent = next;
            Ok(next)
        })
        .await
    }

    /// Remembers the timestamp of a verified response; to be called before anything in it is used.
    pub async fn accept(self: &Arc<Self>, received: Timestamp) -> Result<(), HostError> {
        self.write(move |this| {
            write(this.host.as_ref(), &this.paths.timestamp, received)?;
            let mut last = this.last();
            last.received = received;
            last.heard = Some(Instant::now());
            Ok(())
        })
        .await
    }

    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let this = self.clone();
        let work = move || {
            let _writing = this.writing.lock().unwrap_or_else(PoisonError::into_inner);
            work(&this)
        };
        let ended_early = |error| HostError::new("write", "the timestamp", io::Error::other(error));
        beside(self.host.as_ref(), work)
            .await
            .map_err(ended_early)
            .flatten()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    /// The latest that is known of the server's time, from responses that were verified: exact while this process runs,
    /// a lower bound where it has just started. None if there was never one.
    fn server_time(&self) -> Option<Timestamp> {
        let elapsed = self.heard.map_or(Duration::ZERO, |heard| heard.elapsed());
        (self.received > Timestamp::ZERO).then(|| later(self.received, elapsed))
    }
}

/// The time to stamp requests with. A server locks out everything before the latest timestamp it has accepted, so that a
/// clock that is far ahead (a dead battery, a typing error) is not believed: the server's time, or as much as is known of
/// it, is always enough. A clock that is behind does no harm.
fn plausible(clock: Timestamp, server: Option<Timestamp>) -> Timestamp {
    match server {
        Some(server) if clock > later(server, MOST_AHEAD) => server,
        None if clock > LATEST_PLAUSIBLE => LONG_AGO,
        _ => clock,
    }
}

/// The time to stamp a request with again that the server refused as too old, if there is a better one.
///
/// `date` is what the refusal itself says the server's time is. Nothing signs it. It may confirm this computer's clock
/// where that was not believed: that is what would have been sent without doubts. It is used itself only where TLS vouches
/// for it (`authentic`): anybody else could have this computer locked out by it.
pub fn better_time(
    refused: Timestamp,
    clock: Timestamp,
    date: Option<Timestamp>,
    authentic: bool,
) -> Option<Timestamp> {
    let date = date?;
    if clock > later(refused, DOUBTED) && clock <= later(date, MOST_AHEAD) {
        return Some(clock);
    }
    (authentic && date > refused).then_some(date)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(micros))
}

fn read(host: &dyn Host, path: &Path) -> Timestamp {
    let content = match host.read_file(path) {
        Ok(content) => content,
        Err(error) if error.is_not_found() => return Timestamp::ZERO,
        Err(error) => {
            tracing::warn!(error = %error.source, path = %path.display(), "cannot read the last timestamp");
            return Timestamp::ZERO;
        }
    };
    let text = String::from_utf8_lossy(&content);
    text.parse().unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "ignoring a damaged timestamp");
        Timestamp::ZERO
    })
}

fn write(host: &dyn Host, path: &Path, timestamp: Timestamp) -> Result<(), HostError> {
    host.write_file(path, timestamp.to_string().as_bytes(), Visibility::Private)
}

#[cfg(test)]
mod tests;
