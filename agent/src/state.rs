//! What the agent remembers between check-ins beside its keys: the timestamps that only grow.

use crate::config::Paths;
use crate::host::{Host, HostError, Visibility};
use oco_protocol::Timestamp;
use std::path::Path;

/// The two ends of the protocol's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamps {
    /// Of the last request sent; the next one has to be greater.
    pub sent: Timestamp,
    /// Of the last response accepted; the next one has to be greater.
    pub received: Timestamp,
}

impl Timestamps {
    /// Reads both. A file that is missing or holds no timestamp (empty after a power failure) counts as "never": the
    /// server still refuses a request that is too old, and a response is still verified by its signature.
    pub fn load(host: &dyn Host, paths: &Paths) -> Self {
        Self {
            sent: read(host, &paths.sent_timestamp),
            received: read(host, &paths.timestamp),
        }
    }

    /// Remembers the timestamp of a request; to be called before it is sent.
    pub fn store_sent(&mut self, host: &dyn Host, paths: &Paths, sent: Timestamp) -> Result<(), HostError> {
        write(host, &paths.sent_timestamp, sent)?;
        self.sent = sent;
        Ok(())
    }

    /// Remembers the timestamp of an accepted response; to be called before anything in it is used.
    pub fn store_received(
        &mut self,
        host: &dyn Host,
        paths: &Paths,
        received: Timestamp,
    ) -> Result<(), HostError> {
        write(host, &paths.timestamp, received)?;
        self.received = received;
        Ok(())
    }
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
    host.write_file(path, timestamp.to_string().as_bytes(), Visibility::Public)
}
