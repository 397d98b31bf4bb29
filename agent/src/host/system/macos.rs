//! What only macOS has.

pub(super) mod password;
pub(super) mod preferences;
pub(super) mod process_tree;
mod sysctl;
pub(super) mod users;

use crate::host::Os;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

pub(super) use sysctl::command_line;

/// The system this program was built for.
pub const OS: Os = Os::MacOs;

/// Time since the last start, sleep included. When the clock is set, the system sets the time of its start, too.
pub(super) fn uptime() -> io::Result<Duration> {
    let now = Duration::try_from(clock_gettime(ClockId::Realtime)).map_err(io::Error::other)?;
    Ok(now.saturating_sub(sysctl::boot_time()?))
}

/// Nothing: the system takes what is not in use by itself.
pub(super) fn release_memory() {}
