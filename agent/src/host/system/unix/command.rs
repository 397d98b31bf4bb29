//! Commands that are run for their output, within a time limit.

use super::process_group::{Exit, ProcessGroup};
use crate::host::{Command, CommandOutput, HostError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsStr;
use std::io::{self, PipeReader, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// More output than this is a failure, bytes.
const OUTPUT_LIMIT: usize = 64 << 20;
/// Where the administrator's tools are.
const TOOLS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/// English, or none, in UTF-8. A system without this locale takes `C`.
const LOCALE: &str = if cfg!(target_os = "macos") {
    "en_US.UTF-8"
} else {
    "C.UTF-8"
};
/// What every pipe takes without anybody reading, bytes.
const INPUT_LIMIT: usize = 4096;

/// What becomes of a piece of output; a break or an error ends the command.
type Consume<'a> = dyn FnMut(&[u8]) -> io::Result<ControlFlow<()>> + 'a;

/// Runs a command. It ends when the command does, even if something that it left in the background still holds its
/// output open; at the time limit it is killed with everything it started.
pub(crate) fn run(command: &Command<'_>) -> Result<CommandOutput> {
    collect(command, Stdio::null(), false).map_err(|error| HostError::new("run", command, error))
}

/// The same with something to read, which must fit into a pipe. The output includes standard error.
pub(crate) fn run_with_input(command: &Command<'_>, input: &[u8]) -> Result<CommandOutput> {
    let run = || {
        if input.len() > INPUT_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much input"));
        }
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(input)?;
        drop(writer);
        collect(command, reader.into(), true)
    };
    run().map_err(|error| HostError::new("run", command, error))
}

/// Runs a command and hands on its output as it comes, until `consume` breaks: then it is killed.
pub(crate) fn stream(
    command: &Command<'_>,
    consume: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Option<i32>> {
    execute(command, Stdio::null(), false, &mut |piece| Ok(consume(piece)))
        .map_err(|error| HostError::new("run", command, error))
}

fn collect(command: &Command<'_>, stdin: Stdio, with_stderr: bool) -> io::Result<CommandOutput> {
    let mut stdout = Vec::new();
    let code = execute(command, stdin, with_stderr, &mut |piece| {
        stdout.extend_from_slice(piece);
        if stdout.len() > OUTPUT_LIMIT {
            let reason = format!("more than {OUTPUT_LIMIT} bytes of output");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(CommandOutput { code, stdout })
}

fn execute(
    command: &Command<'_>,
    stdin: Stdio,
    with_stderr: bool,
    consume: &mut Consume<'_>,
) -> io::Result<Option<i32>> {
    let deadline = Instant::now().checked_add(command.time_limit);
    let (output, output_writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(
        &output,
        rustix::fs::fcntl_getfl(&output)? | rustix::fs::OFlags::NONBLOCK,
    )?;
    // Closed when the command has ended, which wakes up the poll below.
    let (exit_pipe, exit_signal) = io::pipe()?;
    let (exit_sender, exit) = mpsc::channel();

    let mut child = std::process::Command::new(located(command.program));
    let stderr = if with_stderr {
        output_writer.try_clone()?.into()
    } else {
        Stdio::null()
    };
    child
        .args(command.args)
        // What is read must not depend on the language that the machine is set to.
        .env("LC_ALL", LOCALE)
        .env_remove("LANGUAGE")
        .stdin(stdin)
        .stdout(output_writer)
        .stderr(stderr);
    let group = ProcessGroup::start(child, move |result| {
        let _ = exit_sender.send(result);
        drop(exit_signal);
    })?;
    let end = follow(output, &exit_pipe, deadline, consume);
    if !matches!(end, Ok(ControlFlow::Continue(())))
        && let Err(error) = group.kill()
    {
        tracing::warn!(command = %command.program, error = %error, "cannot kill a command");
    }
    if end?.is_break() {
        return Ok(None);
    }
    Ok(match exit.recv().map_err(io::Error::other)?? {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) => None,
    })
}

/// Where a program is, if the search path of the agent's environment does not lead to it: service managers and
/// `/etc/environment` may leave out the folders of the administrator's tools.
fn located(program: &str) -> PathBuf {
    located_by(
        std::env::var_os("PATH").as_deref(),
        &TOOLS.map(Path::new),
        program,
    )
}

fn located_by(search_path: Option<&OsStr>, tools: &[&Path], program: &str) -> PathBuf {
    let named = PathBuf::from(program);
    let is_found = |folder: PathBuf| folder.join(program).is_file();
    if program.contains('/') || search_path.is_some_and(|path| std::env::split_paths(path).any(is_found)) {
        return named;
    }
    let mut tools = tools.iter().map(|folder| folder.join(program));
    tools.find(|path| path.is_file()).unwrap_or(named)
}

/// Reads until the command has ended and everything it wrote is there, or `consume` breaks.
fn follow(
    mut output: PipeReader,
    exit: &PipeReader,
    deadline: Option<Instant>,
    consume: &mut Consume<'_>,
) -> io::Result<ControlFlow<()>> {
    let mut open = true;
    loop {
        let ended = wait(&output, open, exit, deadline)?;
        // Whatever the command wrote was in the pipe before it ended, so this read is the last one then.
        if open {
            match drain(&mut output, deadline, consume)? {
                ControlFlow::Continue(more) => open = more,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            }
        }
        if ended {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

/// Waits for output, if that is still open, and for the command's end. Returns whether it has ended.
fn wait(output: &PipeReader, open: bool, exit: &PipeReader, deadline: Option<Instant>) -> io::Result<bool> {
    let timeout = match time_left(deadline)? {
        Some(left) => Timespec::try_from(left).ok(),
        None => None,
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
fn drain(
    output: &mut PipeReader,
    deadline: Option<Instant>,
    consume: &mut Consume<'_>,
) -> io::Result<ControlFlow<(), bool>> {
    let mut buffer = [0; 16 << 10];
    loop {
        // Something that never stops writing must not outrun the time limit.
        time_left(deadline)?;
        match output.read(&mut buffer) {
            Ok(0) => return Ok(ControlFlow::Continue(false)),
            Ok(length) => {
                if consume(&buffer[..length])?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(ControlFlow::Continue(true));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Time until the deadline, if there is one; an error once it has passed.
fn time_left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(left) if left.is_zero() => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str, time_limit: Duration) -> Result<CommandOutput> {
        run(&Command {
            program: "sh",
            args: &["-c", script],
            time_limit,
        })
    }

    #[test]
    fn the_administrators_tools_are_found_behind_the_search_path() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, sbin) = (folder.path().join("bin"), folder.path().join("sbin"));
        for path in ["bin/both", "sbin/both", "sbin/tool"] {
            std::fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(path), "").unwrap();
        }
        let located = |program: &str| located_by(Some(bin.as_os_str()), &[&sbin], program);
        assert_eq!(located("both"), Path::new("both"), "the search path goes first");
        assert_eq!(located("tool"), sbin.join("tool"));
        assert_eq!(located("none"), Path::new("none"));
        assert_eq!(located_by(None, &[&sbin], "tool"), sbin.join("tool"));
        assert_eq!(located("./tool"), Path::new("./tool"));
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
            let mut keep = |piece: &[u8]| {
                said.extend_from_slice(piece);
                Ok(ControlFlow::Continue(()))
            };
            if drain(&mut alive, None, &mut keep).unwrap() == ControlFlow::Continue(false) {
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

    #[test]
    fn a_stream_is_cut_off_where_the_reader_has_enough() {
        let command = Command {
            program: "yes",
            args: &[],
            time_limit: LIMIT,
        };
        let mut read = 0;
        let code = stream(&command, &mut |piece| {
            read += piece.len();
            if read > 1 << 20 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert_eq!(code.unwrap(), None);
        assert!(read < 2 << 20, "{read}");
    }

    #[test]
    fn a_stream_without_end_is_cut_off_at_the_time_limit() {
        let command = Command {
            program: "yes",
            args: &[],
            time_limit: Duration::from_millis(200),
        };
        let error = stream(&command, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn input_reaches_the_command_and_its_complaints_come_back() {
        let command = Command {
            program: "sh",
            args: &["-c", "cat; echo complaint >&2; exit 2"],
            time_limit: LIMIT,
        };
        let output = run_with_input(&command, b"read me\n").unwrap();
        assert_eq!(
            (output.code, output.stdout.as_slice()),
            (Some(2), &b"read me\ncomplaint\n"[..])
        );
        assert!(run_with_input(&command, &[b'x'; INPUT_LIMIT + 1]).is_err());
    }
}
