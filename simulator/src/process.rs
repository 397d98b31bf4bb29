//! What this process costs: memory and processor time, as the system tells.

use serde::{Deserialize, Serialize};

/// Figures of the process; none where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessFigures {
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// The most there ever was of it, bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Processor time of all threads, s.
    pub cpu_s: Option<f64>,
    /// Open connections and files.
    #[serde(default)]
    pub open_files: Option<u64>,
}

impl ProcessFigures {
    /// Reads them now.
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            rss_bytes: status_bytes(&status, "VmRSS"),
            peak_rss_bytes: status_bytes(&status, "VmHWM"),
            cpu_s: cpu_seconds(),
            open_files: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| files.count() as u64),
        }
    }
}

/// A value of `/proc/self/status` (proc_pid_status(5)), which has them in kB.
fn status_bytes(status: &str, key: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(unix)]
#[allow(clippy::cast_precision_loss)] // seconds
fn cpu_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(not(unix))]
fn cpu_seconds() -> Option<f64> {
    None
}

/// Lets the process have as many connections open as the system allows it.
#[cfg(unix)]
pub fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // The least of what a Mac takes, whose own limit says that there is none.
    const MAC: u64 = 10_240;
    let limit = getrlimit(Resource::Nofile);
    let raise = |current| setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    if let Err(error) = raise(limit.maximum).or_else(|_| raise(Some(limit.maximum.unwrap_or(MAC).min(MAC)))) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn raise_open_file_limit() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status_file() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS"), Some(1024 * 1024));
        assert_eq!(status_bytes(status, "VmHWM"), Some(2048 * 1024));
        assert_eq!(status_bytes("VmRSS:\tmuch\n", "VmRSS"), None);
        assert_eq!(status_bytes("", "VmRSS"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_memory_and_time() {
        let figures = ProcessFigures::read();
        assert!(figures.rss_bytes.unwrap() > 100_000);
        assert!(figures.peak_rss_bytes.unwrap() >= 100_000);
        assert!(figures.cpu_s.unwrap() > 0.0);
        assert!(figures.open_files.unwrap() > 2);
    }
}
