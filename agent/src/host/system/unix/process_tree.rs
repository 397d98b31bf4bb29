//! The tree of processes, as a system shows it.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How long killed processes may take to end: one that waits for a disk or a network file system takes its time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at all processes.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It runs, or waits for something.
    Running,
    /// It was stopped by a signal, and starts nothing.
    Stopped,
    /// It has ended and is left for its parent to look at.
    Ended,
}

/// A process as the system shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) parent: i32,
    pub(crate) condition: Condition,
}

/// The processes below `keeper` that have not ended.
pub(crate) fn below(keeper: Pid, processes: &BTreeMap<i32, Process>) -> Vec<i32> {
    let keeper = keeper.as_raw_nonzero().get();
    let is_below = |id: i32| {
        let parent = |id: i32| processes.get(&id).map(|process| process.parent);
        // A bound, since the processes were not all looked at in one moment.
        let ancestors = std::iter::successors(parent(id), |id| parent(*id)).take(processes.len());
        ancestors.into_iter().any(|ancestor| ancestor == keeper)
    };
    let living = processes
        .iter()
        .filter(|(_, process)| process.condition != Condition::Ended);
    living.map(|(id, _)| *id).filter(|id| is_below(*id)).collect()
}

/// Sends a signal; no error if the process is gone.
pub(crate) fn signal(process: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Kills what is below `root` where orphans leave the tree: all of it is stopped first, so that nothing ends, starts
/// another process or gets another parent until everything is known. `root` itself stays behind, stopped.
#[cfg(any(target_os = "macos", test))]
pub(crate) fn stop_and_kill_below(
    root: Pid,
    processes: impl Fn() -> io::Result<BTreeMap<i32, Process>>,
) -> io::Result<()> {
    use std::collections::BTreeSet;
    use std::time::Instant;

    signal(root, Signal::STOP)?;
    let deadline = Instant::now() + PATIENCE;
    let mut known = BTreeSet::new();
    loop {
        let processes = processes()?;
        let found = below(root, &processes);
        let new: Vec<i32> = found.iter().copied().filter(|id| known.insert(*id)).collect();
        for process in new.iter().copied().filter_map(Pid::from_raw) {
            signal(process, Signal::STOP)?;
        }
        // A stop takes effect a moment later: what runs until then may still start something.
        let runs = |id: &i32| {
            processes
                .get(id)
                .is_some_and(|process| process.condition == Condition::Running)
        };
        if new.is_empty() && !found.iter().any(runs) || Instant::now() > deadline {
            break;
        }
        std::thread::park_timeout(PAUSE);
    }
    // What is stopped has kept its id.
    for process in known.into_iter().filter_map(Pid::from_raw) {
        signal(process, Signal::KILL)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_counts() {
        let process = |parent, ended| Process {
            parent,
            condition: if ended {
                Condition::Ended
            } else {
                Condition::Running
            },
        };
        let processes = BTreeMap::from([
            (1, process(0, false)),
            (10, process(1, false)),
            (11, process(10, false)),
            (12, process(11, true)),
            (13, process(12, false)),
            (20, process(1, false)),
            // Seen at different moments, two may seem to be each other's parents.
            (30, process(31, false)),
            (31, process(30, false)),
        ]);
        assert_eq!(below(Pid::from_raw(10).unwrap(), &processes), [11, 13]);
        assert_eq!(below(Pid::from_raw(99).unwrap(), &processes), [0; 0]);
    }

    /// Starts processes that hold standard output open: one in a session of its own, one that starts another there, and
    /// some more below them.
    #[cfg(target_os = "linux")]
    const FAMILY: &str = "setsid sh -c 'sleep 1000 & sleep 1000; :' & sh -c '(sleep 1000; :) & sleep 1000; :' & \
        echo up; sleep 1000; :";

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_stopped_first_is_killed_as_a_whole() {
        use std::io::{BufRead, BufReader, Read};
        use std::process::{Command, Stdio};
        let mut root = Command::new("sh")
            .args(["-c", FAMILY])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(root.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        let id = Pid::from_child(&root);
        stop_and_kill_below(id, crate::host::system::native::process_tree::processes).unwrap();
        root.kill().unwrap();
        root.wait().unwrap();
        // Ends only once nobody holds the other end.
        output.read_to_end(&mut Vec::new()).unwrap();
    }
}
