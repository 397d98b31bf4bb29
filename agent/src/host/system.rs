//! The real machine: the one place that knows at compile time which system it runs on.

mod files;
mod leftovers;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
mod procedure;
mod resolver;
mod staging;
#[cfg(any(windows, test))]
mod suffixes;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as native;
#[cfg(target_os = "macos")]
use macos as native;

#[cfg(target_os = "linux")]
pub use linux::{save_memory, seal_memory};
#[cfg(unix)]
pub use native::OS;
pub use resolver::Resolver;
#[cfg(unix)]
pub use unix::host::SystemHost;
#[cfg(unix)]
pub use unix::lock_file::{existing_lock_file, open_lock_file, try_lock, try_lock_shared};
#[cfg(unix)]
pub use unix::other_agent::{other_agents_locks, running_agent};
#[cfg(windows)]
pub use windows::SystemHost;
#[cfg(windows)]
pub(crate) use windows::files::open_private_log;
#[cfg(windows)]
pub use windows::lock_file::{existing_lock_file, open_lock_file, try_lock, try_lock_shared};
#[cfg(windows)]
pub use windows::other_agent::{other_agents_locks, running_agent};

/// Nothing: this system's allocator has nothing to set.
#[cfg(not(target_os = "linux"))]
pub fn save_memory() {}

/// Nothing: this system hands out no memory of other users' processes.
#[cfg(not(target_os = "linux"))]
pub fn seal_memory() {}

/// The system this program was built for.
#[cfg(windows)]
pub const OS: super::Os = super::Os::Windows;

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
compile_error!("there is no SystemHost for this system yet: add host/system/<system>.rs and export it here");
