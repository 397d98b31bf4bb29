//! Commands that are run for their output, within a time limit.

use super::process_group::{Exit, ProcessGroup};
use crate::host::{Command, CommandOutput, HostError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Instant;

/// More output than this is a failure, bytes.
const OUTPUT_LIMIT: usize = 64 << 20;

/// Runs a command. It ends when the command does, even if something that it left in the background still holds its
/// output open; at the time limit it is killed with everything it started.
pub(crate) fn run(command: &Command<'_>) -> Result<CommandOutput> {
    try_run(command).map_err(|error| HostError::new("run", command, error))
}

fn try_run(command: &Command<'_>) -> io::Result<CommandOutput> {
    let deadline = Instant::now().checked_add(command.time_limit);
    let (output, output_writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(
        &output,
        rustix::fs::fcntl_getfl(&output)? | rustix::fs::OFlags::NONBLOCK,
    )?;
    // Closed when the command has ended, which wakes up the poll below.
    let (exit_pipe, exit_signal) = io::pipe()?;
    let (exit_sender, exit) = mpsc::channel();

    let mut child = std::process::Command::new(command.program);
    child
        .args(command.args)
        .stdin(Stdio::null())
        .stdout(output_writer)
        .stderr(Stdio::null());
    let group = ProcessGroup::start(child, move |result| {
        let _ = exit_sender.send(result);
        drop(exit_signal);
    })?;
    let stdout = collect(output, &exit_pipe, deadline).inspect_err(|_| {
        if let Err(error) = group.kill() {
            tracing::warn!(command = %command.program, error = %error, "cannot kill a command");
        }
    })?;
    let code = match exit.recv().map_err(io::Error::other)?? {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    };
    Ok(CommandOutput { code, stdout })
}

/// Reads until the command has ended and everything it wrote is there.
fn collect(mut output: PipeReader, exit: &PipeReader, deadline: Option<Instant>) -> io::Result<Vec<u8>> {
    let mut collected = Vec::new();
    let mut open = true;
    loop {
        let ended = wait(&output, open, exit, deadline)?;
        // Whatever the command wrote was in the pipe before it ended, so this read is the last one then.
        open = open && drain(&mut output, &mut collected)?;
        if ended {
            return Ok(collected);
        }
    }
}

/// Waits for output, if that is still open, and for the command's end. Returns whether it has ended.
fn wait(output: &PipeReader, open: bool, exit: &PipeReader, deadline: Option<Instant>) -> io::Result<bool> {
    let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(left) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
        left => left.and_then(|left| Timespec::try_from(left).ok()),
    };
    let mut fds = [
        PollFd::from_borrowed_fd(exit.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN),
    ];
    let watched = if open { &mut fds[..] } else { &mut fds[..1] };
    match poll(watched, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// Reads what is there. Returns whether more may come.
fn drain(output: &mut PipeReader, collected: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => collected.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if collected.len() > OUTPUT_LIMIT {
            let reason = format!("more than {OUTPUT_LIMIT} bytes of output");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str, time_limit: Duration) -> Result<CommandOutput> {
        run(&Command {
            program: "sh",
            args: &["-c", script],
            time_limit,
        })
    }

    #[test]
    fn output_and_code_of_a_command_are_reported() {
        let output = sh("echo out; echo err >&2; exit 3", LIMIT).unwrap();
        assert_eq!(
            output,
            CommandOutput {
                code: Some(3),
                stdout: b"out\n".to_vec()
            }
        );
    }

    #[test]
    fn arguments_reach_the_command_as_they_are() {
        let output = run(&Command {
            program: "printf",
            args: &["%s|", "a b", "$HOME"],
            time_limit: LIMIT,
        });
        assert_eq!(output.unwrap().stdout, b"a b|$HOME|");
    }

    #[test]
    fn a_large_output_arrives_whole() {
        let output = sh("head -c 3000000 /dev/zero", LIMIT).unwrap();
        assert_eq!((output.code, output.stdout.len()), (Some(0), 3_000_000));
    }

    #[test]
    fn a_command_that_reads_finds_its_input_empty() {
        assert_eq!(sh("cat; echo done", LIMIT).unwrap().stdout, b"done\n");
    }

    #[test]
    fn a_command_killed_by_a_signal_has_no_code() {
        assert_eq!(sh("kill -9 $$", LIMIT).unwrap().code, None);
    }

    #[test]
    fn a_missing_command_is_an_error_that_names_it() {
        let command = Command {
            program: "oco-no-such-command",
            args: &["-x"],
            time_limit: LIMIT,
        };
        let error = run(&command).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "cannot run oco-no-such-command -x");
    }

    #[test]
    fn at_the_time_limit_the_command_and_its_children_are_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        assert_eq!(
            sh(&format!("mkfifo {}", path.display()), LIMIT).unwrap().code,
            Some(0)
        );
        let options = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
        let alive = PipeReader::from(rustix::fs::open(&path, options, rustix::fs::Mode::empty()).unwrap());
        let started = Instant::now();
        let script = format!(
            "exec 3> {}; echo up >&3; (sleep 1000; :) & sleep 1000; :",
            path.display()
        );
        let error = sh(&script, Duration::from_millis(400)).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::TimedOut);
        // Hangs up once the last process that holds the writing end is gone.
        let (mut alive, mut said) = (alive, Vec::new());
        loop {
            poll(&mut [PollFd::new(&alive, PollFlags::IN)], None).unwrap();
            if !drain(&mut alive, &mut said).unwrap() {
                break;
            }
        }
        assert_eq!(said, b"up\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn something_left_in_the_background_does_not_delay_the_answer() {
        let started = Instant::now();
        let output = sh("sleep 30 & echo done", LIMIT).unwrap();
        assert_eq!(output.stdout, b"done\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_command_that_closes_its_output_early_is_waited_for() {
        let output = sh("exec >&-; sleep 0.2; exit 4", LIMIT).unwrap();
        assert_eq!(output.code, Some(4));
    }
}
