//! Commands that are run for their output, within a time limit.

use super::job_object::{JobObject, handle};
use super::text::error;
use crate::host::{Command, CommandOutput, HostError, Result};
use std::io::{self, PipeReader, Read};
use std::ops::ControlFlow;
use std::os::windows::io::AsRawHandle;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use windows::Win32::Foundation::{ERROR_BROKEN_PIPE, HANDLE, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows::Win32::System::Pipes::PeekNamedPipe;
use windows::Win32::System::Threading::{INFINITE, WaitForSingleObject};

/// More output than this is a failure, bytes.
const OUTPUT_LIMIT: usize = 64 << 20;
/// Between two looks for output: pipes of this kind cannot be waited for together with a process.
const PAUSE: Duration = Duration::from_millis(10);

/// What becomes of a piece of output; a break or an error ends the command.
type Consume<'a> = dyn FnMut(&[u8]) -> io::Result<ControlFlow<()>> + 'a;

/// Runs a command. It ends when the command does, even if something that it left in the background still holds its
/// output open; at the time limit it is killed with everything it started.
pub(super) fn run(command: &Command<'_>) -> Result<CommandOutput> {
    let mut stdout = Vec::new();
    let code = execute(command, &mut |piece| {
        stdout.extend_from_slice(piece);
        if stdout.len() > OUTPUT_LIMIT {
            let reason = format!("more than {OUTPUT_LIMIT} bytes of output");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(ControlFlow::Continue(()))
    });
    let code = code.map_err(|error| HostError::new("run", command, error))?;
    Ok(CommandOutput { code, stdout })
}

/// Runs a command and hands on its output as it comes, until `consume` breaks: then it is killed.
pub(super) fn stream(
    command: &Command<'_>,
    consume: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Option<i32>> {
    execute(command, &mut |piece| Ok(consume(piece))).map_err(|error| HostError::new("run", command, error))
}

fn execute(command: &Command<'_>, consume: &mut Consume<'_>) -> io::Result<Option<i32>> {
    let deadline = Instant::now().checked_add(command.time_limit);
    let (mut output, output_writer) = io::pipe()?;
    let mut process = std::process::Command::new(command.program);
    process
        .args(command.args)
        .stdin(Stdio::null())
        .stdout(output_writer)
        .stderr(Stdio::null());
    let (job, mut child) = JobObject::start(&mut process)?;
    // With it go the writing ends that were meant for the child.
    drop(process);
    let end = follow(&mut output, &child, deadline, consume);
    if !matches!(end, Ok(ControlFlow::Continue(())))
        && let Err(error) = job.kill()
    {
        tracing::warn!(command = %command.program, %error, "cannot kill a command");
    }
    if end?.is_break() {
        return Ok(None);
    }
    Ok(child.wait()?.code())
}

/// Reads until the command has ended and everything it wrote is there, or `consume` breaks.
fn follow(
    output: &mut PipeReader,
    child: &Child,
    deadline: Option<Instant>,
    consume: &mut Consume<'_>,
) -> io::Result<ControlFlow<()>> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        // Before the look at the pipe: whatever the command wrote is in it once it has ended.
        let ended = has_ended(child, Duration::ZERO)?;
        match available(output)? {
            Some(0) if ended => return Ok(ControlFlow::Continue(())),
            Some(0) => {
                has_ended(child, time_left(deadline)?.unwrap_or(PAUSE).min(PAUSE))?;
            }
            Some(_) => {
                // Something that never stops writing must not outrun the time limit.
                time_left(deadline)?;
                let length = output.read(&mut buffer)?;
                if consume(&buffer[..length])?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            // The output is closed: only the end is to come.
            None => {
                let left = time_left(deadline)?;
                if has_ended(child, left.unwrap_or(Duration::MAX))? {
                    return Ok(ControlFlow::Continue(()));
                }
            }
        }
    }
}

/// Bytes that can be read at once; none where nobody can write any more.
fn available(output: &PipeReader) -> io::Result<Option<u32>> {
    let mut available = 0;
    // SAFETY: the pipe is open, and the number lives until the function returns.
    let looked = unsafe {
        PeekNamedPipe(
            HANDLE(output.as_raw_handle()),
            None,
            0,
            None,
            Some(&raw mut available),
            None,
        )
    };
    match looked {
        Ok(()) => Ok(Some(available)),
        Err(gone) if gone.code() == ERROR_BROKEN_PIPE.to_hresult() => Ok(None),
        Err(cause) => Err(error(cause)),
    }
}

/// Waits until the process has ended, or for so long.
fn has_ended(child: &Child, wait: Duration) -> io::Result<bool> {
    let wait = u32::try_from(wait.as_millis()).unwrap_or(INFINITE);
    // SAFETY: the handle is open as long as the child lives.
    match unsafe { WaitForSingleObject(handle(child), wait) } {
        WAIT_OBJECT_0 => Ok(true),
        WAIT_TIMEOUT => Ok(false),
        _ => Err(io::Error::last_os_error()),
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

    const LIMIT: Duration = Duration::from_secs(60);

    fn cmd(script: &str, time_limit: Duration) -> Result<CommandOutput> {
        run(&Command {
            program: "cmd",
            args: &["/d", "/c", script],
            time_limit,
        })
    }

    #[test]
    fn output_and_code_of_a_command_are_reported() {
        let output = cmd("echo out& echo err 1>&2& exit 3", LIMIT).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "out");
        assert_eq!(output.code, Some(3));
    }

    #[test]
    fn a_large_output_arrives_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.txt");
        std::fs::write(&file, "0123456789\r\n".repeat(20_000)).unwrap();
        let output = cmd(&format!("type {}", file.display()), LIMIT).unwrap();
        assert_eq!((output.code, output.stdout.len()), (Some(0), 240_000));
    }

    #[test]
    fn a_missing_command_is_an_error_that_names_it() {
        let command = Command {
            program: "oco-no-such-command",
            args: &["-x"],
            time_limit: LIMIT,
        };
        let error = run(&command).unwrap_err();
        assert!(error.is_not_found(), "{error:?}");
        assert_eq!(error.to_string(), "cannot run oco-no-such-command -x");
    }

    #[test]
    fn at_the_time_limit_the_command_is_killed() {
        let started = Instant::now();
        let error = cmd("for /l %i in () do @rem", Duration::from_millis(1500)).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_is_handed_on_until_nobody_wants_more() {
        let mut pieces = 0;
        let code = stream(
            &Command {
                program: "cmd",
                args: &["/d", "/c", "for /l %i in () do @echo x"],
                time_limit: LIMIT,
            },
            &mut |_| {
                pieces += 1;
                if pieces < 3 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        );
        assert_eq!((code.unwrap(), pieces), (None, 3));
    }
}
