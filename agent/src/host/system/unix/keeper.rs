//! A keeper between the agent and the shell of a job.
//!
//! The keeper is the shell's parent and, on Linux, a *subreaper*: a process whose parent ends becomes the keeper's child
//! and not the system's. So as long as the keeper is there, all that the job has started is below it in the tree that
//! `/proc` shows, and nothing else is: services that the job started through the service manager are that one's children.
//! It ends with the shell, and what the job left in the background on purpose then belongs to the system, as usual.
//!
//! An agent that is killed takes no job along. The keeper notices by a pipe that ends with the agent (the *lifeline*),
//! and from then on reads the job's output, so that no write of the job fails or waits, and sees to the job's time
//! limit. As long as it lives, it holds the lock on the job's staging folder: by that, the next agent knows.
//!
//! It is a fork of the agent's program that never becomes another one. So it makes system calls only, on memory that it
//! has, and holds on to no file but those three: an open pipe or lock would seem to be the agent's.

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, fork};
use rustix::fs::Mode;
use rustix::process::{WaitOptions, umask, waitpid};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The usual mask for new files, whatever the service manager gave the agent: what a job installs has to be readable.
const UMASK: Mode = Mode::WGRP.union(Mode::WOTH);
/// A keeper that lost its shell says that it could not be run, as shells do.
const LOST: i32 = 126;
/// How long killed processes may take to end: one that waits for a disk or a network file system takes its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the keeper has its files: in place of the standard ones, which every program has open.
const OUTPUT: i32 = 0;
const LIFELINE: i32 = 1;
const LOCK: i32 = 2;

/// What a keeper needs for its job.
pub(super) struct Kept {
    /// Where the job's output is read. Reading does not block.
    pub(super) output: OwnedFd,
    /// The reading end of a pipe whose other end only the agent has.
    pub(super) lifeline: OwnedFd,
    /// The job's staging folder, locked.
    pub(super) lock: Option<OwnedFd>,
    /// How long the job may run.
    pub(super) time_limit: Option<Duration>,
}

/// Has `command` run under a keeper, which becomes the child that is started, with the usual mask for new files.
pub(super) fn keep(command: &mut Command, kept: Kept) {
    let prepare = move || {
        umask(UMASK);
        adopt_orphans()?;
        // SAFETY: the process has one thread, and neither side calls anything but system calls before it becomes another
        // program or ends.
        match unsafe { fork() }? {
            ForkResult::Child => Ok(()),
            ForkResult::Parent { child } => watch_over(child.as_raw(), &kept),
        }
    };
    // SAFETY: what `prepare` calls makes system calls, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}

/// What the keeper does until its shell ends.
fn watch_over(shell: i32, kept: &Kept) -> ! {
    let deadline = kept
        .time_limit
        .and_then(|limit| Instant::now().checked_add(limit));
    // All signals wait: the one that a child has ended for the keeper to look, the others for ever.
    let _ = SigSet::all().thread_block();
    let wake_up = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    let _ = unsafe { sigaction(Signal::SIGCHLD, &wake_up) };
    take_files(kept);
    let code = attend(shell, deadline);
    // SAFETY: ends the process at once; what the agent would do at its own end is none of the keeper's business.
    unsafe { libc::_exit(code) }
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Waits for the shell. The code to end with.
fn attend(shell: i32, deadline: Option<Instant>) -> i32 {
    let (mut orphaned, mut output_open) = (false, true);
    loop {
        if let Some(code) = reap(Some(shell)) {
            return code;
        }
        // The agent sees to the time limit itself as long as it is there.
        let deadline = deadline.filter(|_| orphaned);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            end_all();
            return LOST;
        }
        let watched = match (orphaned, output_open) {
            (false, _) => Some(LIFELINE),
            (true, true) => Some(OUTPUT),
            (true, false) => None,
        };
        if wait(watched, left) {
            if orphaned {
                output_open = discard_output();
            }
            // Nobody writes to the lifeline: it has ended.
            orphaned = true;
        }
    }
}

/// Takes note of the children that have ended. The code of the shell if it is one of them; if there are no children,
/// it was lost.
fn reap(shell: Option<i32>) -> Option<i32> {
    loop {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid.as_raw_nonzero().get()) == shell => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                return Some(status.exit_status().or(signal).unwrap_or(LOST));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return None,
            Err(_) => return Some(LOST),
        }
    }
}

/// Waits until there is something to read, a child has ended, or the time is over; whether it is the first.
fn wait(file: Option<i32>, time: Option<Duration>) -> bool {
    let mut awake = SigSet::all();
    awake.remove(Signal::SIGCHLD);
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let none = std::ptr::null_mut();
    // SAFETY: a set of files is plain bits, the files are among the first three, and the pointers are to values that live
    // on or null.
    let ready = unsafe {
        let mut files: libc::fd_set = std::mem::zeroed();
        libc::FD_ZERO(&raw mut files);
        if let Some(file) = file {
            libc::FD_SET(file, &raw mut files);
        }
        libc::pselect(LOCK + 1, &raw mut files, none, none, time, awake.as_ref())
    };
    ready > 0
}

/// Reads what the job has written. Whether more may come.
fn discard_output() -> bool {
    let mut piece = [0_u8; 16 << 10];
    // SAFETY: the buffer is as long as it says.
    let length = unsafe { libc::read(OUTPUT, piece.as_mut_ptr().cast(), piece.len()) };
    // Without an error, none means the end. Errors pass: there may be nothing at the moment after all.
    length != 0
}

/// Kills what is left of the job. As a process ends, what it started becomes the keeper's child, until nothing is left.
fn end_all() {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        kill_children();
        // Without a shell to look for, it is only that there are no children any more.
        if reap(None).is_some() {
            return;
        }
        wait(None, Some(Duration::from_millis(50)));
    }
}

/// Kills the keeper's children, or where they cannot be listed, the process group with the keeper in it.
fn kill_children() {
    let mut buffer = [0_u8; 4096];
    match list_children(&mut buffer) {
        Some(list) => {
            // The last one, if the list did not fit, may be cut: only what ends with a blank counts.
            let whole = list.iter().rposition(|byte| *byte == b' ').unwrap_or(0);
            for id in list[..whole].split(|byte| *byte == b' ') {
                let id = id.iter().fold(0_i32, |id, digit| {
                    id.wrapping_mul(10)
                        .wrapping_add(i32::from(digit.wrapping_sub(b'0')))
                });
                if id > 1 {
                    // SAFETY: a system call with two numbers. A child's id is its own until the keeper has reaped it.
                    unsafe { libc::kill(id, libc::SIGKILL) };
                }
            }
        }
        // SAFETY: a system call with two numbers.
        None => unsafe {
            libc::kill(0, libc::SIGKILL);
        },
    }
}

#[cfg(target_os = "linux")]
fn list_children(buffer: &mut [u8; 4096]) -> Option<&[u8]> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/thread-self/children", flags, Mode::empty()).ok()?;
    let length = rustix::io::read(&file, &mut buffer[..]).ok()?;
    buffer.get(..length)
}

#[cfg(not(target_os = "linux"))]
fn list_children(_buffer: &mut [u8; 4096]) -> Option<&[u8]> {
    None
}

/// Puts the keeper's files where it looks for them, and closes all others.
fn take_files(kept: &Kept) {
    // SAFETY: system calls with numbers. None of the keeper's files is among the first three, and nothing in this process
    // uses another one after this.
    unsafe {
        libc::dup2(kept.output.as_raw_fd(), OUTPUT);
        libc::dup2(kept.lifeline.as_raw_fd(), LIFELINE);
        match &kept.lock {
            Some(lock) => libc::dup2(lock.as_raw_fd(), LOCK),
            None => libc::close(LOCK),
        };
    }
    close_from(LOCK + 1);
}

fn close_from(first: i32) {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a system call with three numbers; nothing in this process uses these files after it.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
        if closed == 0 {
            return;
        }
    }
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = most.and_then(|most| i32::try_from(most).ok()).unwrap_or(i32::MAX);
    for file in first..most.min(1 << 20) {
        // SAFETY: nothing in this process uses these files after it; numbers that are no file do no harm.
        unsafe { libc::close(file) };
    }
}

#[cfg(target_os = "linux")]
fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Only Linux has such a thing: elsewhere a kill reaches what is below the keeper and in its process group.
#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> io::Result<()> {
    Ok(())
}
