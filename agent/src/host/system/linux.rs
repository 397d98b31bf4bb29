//! What only Linux has.

mod memory;
pub(super) mod password;
pub(super) mod process_tree;
pub(super) mod users;

use crate::host::Os;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

pub(super) use memory::release as release_memory;
pub use memory::{save as save_memory, seal as seal_memory};

/// The system this program was built for.
pub const OS: Os = Os::Linux;

/// Time since the last start.
pub(super) fn uptime() -> io::Result<Duration> {
    // Unlike the monotonic clock, this one goes on while the machine is suspended.
    Duration::try_from(clock_gettime(ClockId::Boottime)).map_err(io::Error::other)
}

/// A process's arguments, each ended by a NUL byte.
pub(super) fn command_line(pid: u32) -> io::Result<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/cmdline"))
}
