//! Killing every process of a job, also one that has left its process group and its session (`setsid`, a double fork):
//! what is below the job's [keeper](super::super::unix) in the tree that `/proc` shows.

use crate::host::system::unix::process_tree::{Condition, PATIENCE, PAUSE, Process, below, signal};
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

/// How far down children of children are followed; when these are killed, those below them come up.
const MOST_DEPTH: usize = 20;

/// Kills every process below `keeper`, which must not have been reaped yet. It stays behind, stopped.
pub(crate) fn kill_below(keeper: Pid) -> io::Result<()> {
    // A stopped keeper still takes in orphans, but cannot end before the last of them has.
    signal(keeper, Signal::STOP)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // As often as it finds something: a process that starts others all the time has to be met before it does.
        while kill_children(keeper.as_raw_nonzero().get(), 0)? && Instant::now() < deadline {}
        let left = below(keeper, &processes()?);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            let reason = format!("processes do not end: {}", left.join(", "));
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        for process in left.into_iter().filter_map(Pid::from_raw) {
            signal(process, Signal::KILL)?;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Kills the children of `parent` and what is below them, in the quickest way; some kernels do not have it. Whether
/// there was anything that had not ended.
fn kill_children(parent: i32, depth: usize) -> io::Result<bool> {
    let mut found = false;
    let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else {
        return Ok(false);
    };
    for thread in threads.flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            if let Some(process) = Pid::from_raw(child) {
                signal(process, Signal::KILL)?;
            }
            found |= !read(child).is_none_or(|process| process.condition == Condition::Ended);
            if depth < MOST_DEPTH {
                found |= kill_children(child, depth + 1)?;
            }
        }
    }
    Ok(found)
}

pub(crate) fn processes() -> io::Result<BTreeMap<i32, Process>> {
    let ids = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that has ended since is no error.
    Ok(ids.filter_map(|id| Some((id, read(id)?))).collect())
}

fn read(id: i32) -> Option<Process> {
    parse(&std::fs::read(format!("/proc/{id}/stat")).ok()?)
}

/// A process in the form of `/proc/ID/stat`: `ID (NAME) STATE PARENT ...`. The name may have blanks and parentheses,
/// and be no UTF-8.
fn parse(stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // With threads left, it is only the first one that has ended.
    let threads: u32 = fields.get(17)?.parse().ok()?;
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        condition: match *fields.first()? {
            "Z" | "X" if threads < 2 => Condition::Ended,
            "T" | "t" => Condition::Stopped,
            _ => Condition::Running,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str, state: char, parent: i32, threads: u32) -> Vec<u8> {
        format!("7 ({name}) {state} {parent} 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 100 0 0\n")
            .into_bytes()
    }

    #[test]
    fn parents_are_found_behind_every_name() {
        for name in ["sh", "a b", ") Z 1 (", "((sd-pam))", ""] {
            let process = parse(&stat(name, 'S', 42, 1)).unwrap();
            assert_eq!(
                (process.parent, process.condition),
                (42, Condition::Running),
                "{name}"
            );
        }
        let mut own = std::fs::read("/proc/self/stat").unwrap();
        let process = parse(&own).unwrap();
        assert_eq!(
            process.parent.cast_unsigned(),
            std::os::unix::process::parent_id()
        );
        own.truncate(10);
        assert_eq!(parse(&own), None);
    }

    #[test]
    fn a_process_with_threads_left_has_not_ended() {
        assert_eq!(parse(&stat("x", 'Z', 1, 1)).unwrap().condition, Condition::Ended);
        assert_eq!(
            parse(&stat("x", 'Z', 1, 2)).unwrap().condition,
            Condition::Running
        );
        assert_eq!(
            parse(&stat("x", 'T', 1, 2)).unwrap().condition,
            Condition::Stopped
        );
    }
}
