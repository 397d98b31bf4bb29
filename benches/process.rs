//! What Linux says of a process.

use anyhow::{Context, Result};
use std::time::Duration;

/// Of a second, in what `/proc` says: the same number on every architecture that this runs on.
const TICKS: u32 = 100;

/// The status of a process, which `self` is too.
pub fn status(process: &str) -> Result<String> {
    read(process, "status")
}

/// A number in a process's status; sizes are in KiB.
pub fn field(status: &str, name: &str) -> Result<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("the status of a process has no {name}; does it still run?"))
}

/// User and system time of all threads of a process so far.
pub fn cpu_time(process: &str) -> Result<Duration> {
    let stat = read(process, "stat")?;
    let ticks = ticks(&stat).with_context(|| format!("/proc/{process}/stat has no times"))?;
    Ok(Duration::from_secs(ticks) / TICKS)
}

/// How many processes have been running, on average of the last minute.
pub fn load() -> Result<f64> {
    let load = read("", "loadavg")?;
    let first = load.split_whitespace().next().and_then(|load| load.parse().ok());
    first.context("/proc/loadavg has no number")
}

fn read(process: &str, file: &str) -> Result<String> {
    let path = format!("/proc/{process}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the process ended?"))
}

/// The sum of both times. The name before them is in brackets and may hold any.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let status = "VmRSSx:\t1 kB\nVmRSS:\t  6144 kB\nThreads:\t2\n";
        assert_eq!(field(status, "VmRSS").unwrap(), 6144);
        assert_eq!(field(status, "Threads").unwrap(), 2);
        assert!(field(status, "VmHWM").is_err());
    }

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1200 3 0 0 250 40 9 9 20 0 3 0 55 1 2";
        assert_eq!(ticks(stat), Some(290));
        assert_eq!(ticks("7 (a) S 1"), None);
    }
}
