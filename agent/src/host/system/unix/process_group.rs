//! A child process that leads a process group of its own, so that it can be killed with everything it started.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child and its process group.
///
/// A thread waits for the child, but reaps it only after this value is dropped: until then its id cannot be given to
/// another process, so [`ProcessGroup::kill`] never hits a stranger. Dropping it kills nothing.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    leader: Pid,
    /// Held only to be dropped.
    _release: mpsc::Sender<()>,
}

impl ProcessGroup {
    /// Starts `command` and calls `exited` from another thread once it has ended. The command is dropped as soon as it
    /// runs, and with it the ends of pipes that were meant for the child.
    pub(crate) fn start(
        mut command: Command,
        exited: impl FnOnce(io::Result<Exit>) + Send + 'static,
    ) -> io::Result<Self> {
        let (started, start) = mpsc::channel();
        let (release, released) = mpsc::channel();
        std::thread::Builder::new()
            .name("oco-process".to_owned())
            .spawn(move || {
                let spawned = command.process_group(0).spawn();
                drop(command);
                match spawned {
                    Ok(child) => {
                        let leader = Pid::from_child(&child);
                        let _ = started.send(Ok(leader));
                        watch(child, leader, exited, &released);
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            })?;
        let leader = start.recv().map_err(io::Error::other)??;
        Ok(Self {
            leader,
            _release: release,
        })
    }

    /// The child, which leads the group.
    pub(crate) fn leader(&self) -> Pid {
        self.leader
    }

    /// Kills the child and all processes that stayed in its group; no error if there are none any more.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match kill_process_group(self.leader, Signal::KILL) {
            Err(error) if error != rustix::io::Errno::SRCH => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn watch(
    mut child: Child,
    leader: Pid,
    exited: impl FnOnce(io::Result<Exit>),
    released: &mpsc::Receiver<()>,
) {
    exited(wait_without_reaping(leader));
    // Nothing is ever sent: this returns when the other end is dropped.
    let _ = released.recv();
    if let Err(error) = child.wait() {
        tracing::warn!(process.id = child.id(), error = %error, "cannot reap an ended process");
    }
}

fn wait_without_reaping(leader: Pid) -> io::Result<Exit> {
    let status = loop {
        match waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(status) => break status,
        }
    };
    let status = status.ok_or(io::ErrorKind::NotFound)?;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ok(Exit::Code(code)),
        (None, Some(signal)) => Ok(Exit::Signal(signal)),
        (None, None) => Err(io::Error::other(
            "the system reports neither an exit code nor a signal",
        )),
    }
}
