//! Procedures of software jobs: a shell, its output as it comes, all its processes on a kill.

use super::job_object::{JobObject, handle};
use crate::host::{HostError, Procedure, Result, RunningProcedure};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::IO::CancelSynchronousIo;
use windows::Win32::System::Threading::{INFINITE, WaitForSingleObject};

/// How long output is still collected after the shell has ended: for the last words of a process that it left in the
/// background, which may hold the pipe open for ever.
const GRACE: Duration = Duration::from_secs(2);

/// Largest piece of output, bytes.
const PIECE: usize = 16 << 10;

/// Pieces that wait for their reader; then the procedure waits.
const PIECES: usize = 16;

/// A shell that runs a procedure.
///
/// Until the shell has ended, a kill or drop kills all its processes. What a procedure left in the background on purpose
/// survives its regular end.
#[derive(Debug)]
pub(super) struct SystemProcedure {
    subject: String,
    job: JobObject,
    exited: oneshot::Receiver<io::Result<i32>>,
    code: Option<i32>,
    output: Option<Output>,
    /// When collecting output ends; set once the shell has ended.
    deadline: Option<Instant>,
}

impl SystemProcedure {
    /// Starts `cmd /c COMMAND`.
    pub(super) fn start(procedure: &Procedure) -> Result<Self> {
        let subject = match &procedure.folder {
            Some(folder) => format!("the procedure in {}", folder.display()),
            None => "the procedure".to_owned(),
        };
        Self::try_start(procedure, subject.clone()).map_err(|error| HostError::new("start", subject, error))
    }

    fn try_start(procedure: &Procedure, subject: String) -> io::Result<Self> {
        let folder = procedure.folder.clone().unwrap_or_else(std::env::temp_dir);
        // Of a missing folder the system says that the program is missing.
        if !folder.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let (output, output_writer) = io::pipe()?;
        let mut command = Command::new(shell());
        // With /s exactly the outer quotes are the shell's; /d: without what a user had it run first.
        command
            .raw_arg(command_line(&procedure.command))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output_writer.try_clone()?)
            .stderr(output_writer);
        let (job, child) = JobObject::start(&mut command)?;
        drop(command);
        let (exit_sender, exited) = oneshot::channel();
        let wait = move || {
            let _ = exit_sender.send(wait(child));
        };
        std::thread::Builder::new()
            .name("oco-process".to_owned())
            .spawn(wait)?;
        Ok(Self {
            subject,
            job,
            exited,
            code: None,
            output: Some(Output::start(output)?),
            deadline: None,
        })
    }

    fn error(&self, operation: &'static str, error: impl Into<io::Error>) -> HostError {
        HostError::new(operation, &self.subject, error)
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        while let Some(output) = &mut self.output {
            let deadline = self.deadline;
            tokio::select! {
                // The deadline first: a process in the background may write without a pause.
                biased;
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.output = None;
                }
                piece = output.pieces.recv() => match piece {
                    Some(Ok(piece)) => return Ok(Some(piece)),
                    Some(Err(error)) => return Err(self.error("read the output of", error)),
                    None => self.output = None,
                },
                exit = &mut self.exited, if self.code.is_none() => self.note_exit(exit)?,
            }
        }
        Ok(None)
    }

    fn note_exit(&mut self, exit: Result<io::Result<i32>, oneshot::error::RecvError>) -> Result<()> {
        let code = exit
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| self.error("wait for", error))?;
        self.deadline = Some(Instant::now() + GRACE);
        self.code = Some(code);
        Ok(())
    }
}

/// The system's own shell, whatever the environment says.
fn shell() -> PathBuf {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| OsString::from(r"C:\Windows"));
    PathBuf::from(root).join(r"System32\cmd.exe")
}

fn command_line(command: &str) -> String {
    format!("/d /s /c \"{command}\"")
}

fn wait(mut child: Child) -> io::Result<i32> {
    // The code of a child that was killed is one, too; there are no signals.
    // SAFETY: the handle is open as long as the child lives.
    unsafe { WaitForSingleObject(handle(&child), INFINITE) };
    child
        .wait()?
        .code()
        .ok_or_else(|| io::Error::other("the system reports no exit code"))
}

/// A thread that reads the output: pipes of this kind cannot be waited for.
#[derive(Debug)]
struct Output {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    unwanted: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Output {
    fn start(mut pipe: PipeReader) -> io::Result<Self> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let unwanted = Arc::new(AtomicBool::new(false));
        let given_up = unwanted.clone();
        let read = move || {
            while !given_up.load(Ordering::Acquire) {
                let mut piece = vec![0; PIECE];
                let read = match pipe.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => {
                        piece.truncate(length);
                        Ok(Bytes::from(piece))
                    }
                    Err(error) => Err(error),
                };
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("oco-output".to_owned())
            .spawn(read)?;
        Ok(Self {
            pieces,
            unwanted,
            thread,
        })
    }
}

impl Drop for Output {
    /// Wakes the thread up, which may wait for somebody who holds the pipe open for ever.
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Release);
        // SAFETY: the thread's handle is open until this value is gone. Where it does not wait for a pipe, nothing happens.
        let _ = unsafe { CancelSynchronousIo(HANDLE(self.thread.as_raw_handle())) };
    }
}

impl RunningProcedure for SystemProcedure {
    fn next_output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.read().boxed()
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<i32>> {
        async {
            loop {
                if let Some(code) = self.code {
                    return Ok(code);
                }
                let exit = (&mut self.exited).await;
                self.note_exit(exit)?;
            }
        }
        .boxed()
    }

    fn kill(&mut self) -> BoxFuture<'_, Result<()>> {
        let killed = self.job.kill().map_err(|error| self.error("kill", error));
        async move { killed }.boxed()
    }
}

impl Drop for SystemProcedure {
    fn drop(&mut self) {
        if self.code.is_none()
            && let Err(error) = self.job.kill()
        {
            tracing::warn!(%error, "cannot kill a procedure");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn start(command: &str, folder: Option<&Path>) -> SystemProcedure {
        let procedure = Procedure {
            time_limit: None,
            command: command.to_owned(),
            folder: folder.map(Path::to_owned),
        };
        SystemProcedure::start(&procedure).unwrap()
    }

    async fn output(procedure: &mut SystemProcedure) -> String {
        let mut collected = Vec::new();
        while let Some(piece) = procedure.next_output().await.unwrap() {
            assert!(!piece.is_empty());
            collected.extend_from_slice(&piece);
        }
        String::from_utf8(collected).unwrap()
    }

    #[tokio::test]
    async fn both_outputs_arrive_in_the_order_they_were_written_with_the_code() {
        let mut procedure = start("echo 1& echo 2 1>&2& echo 3& exit 7", None);
        let lines = output(&mut procedure).await;
        let lines: Vec<&str> = lines.lines().map(str::trim).collect();
        assert_eq!(lines, ["1", "2", "3"]);
        assert_eq!(procedure.wait().await.unwrap(), 7);
        assert_eq!(procedure.wait().await.unwrap(), 7, "the code stays known");
    }

    #[tokio::test]
    async fn quotes_in_a_command_are_its_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b.cmd"), "@echo [%~1]\r\n").unwrap();
        let mut procedure = start("\"a b.cmd\" \"c d\"", Some(folder.path()));
        assert_eq!(output(&mut procedure).await.trim(), "[c d]");
    }

    #[tokio::test]
    async fn it_runs_in_its_folder_and_files_in_it_are_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("setup.cmd"),
            "@type data.txt\r\n@exit /b 5\r\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("data.txt"), "unpacked").unwrap();
        let mut procedure = start("setup.cmd", Some(folder.path()));
        assert_eq!(output(&mut procedure).await.trim(), "unpacked");
        assert_eq!(procedure.wait().await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_kill_ends_the_whole_tree() {
        let folder = tempfile::tempdir().unwrap();
        let inner = "cmd /d /c \"echo up& for /l %i in () do @rem\"";
        let mut procedure = start(inner, Some(folder.path()));
        let first = procedure.next_output().await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&first).trim(), "up");
        procedure.kill().await.unwrap();
        assert_eq!(procedure.wait().await.unwrap(), 1);
        // Ends only when no process holds the writing end any more, or by the grace: then the next line would fail.
        let before = Instant::now();
        while procedure.next_output().await.unwrap().is_some() {}
        assert!(before.elapsed() < GRACE, "the inner shell lives on");
    }

    #[tokio::test]
    async fn a_background_process_that_holds_the_output_does_not_block_the_end() {
        let mut procedure = start("start /b cmd /d /c \"for /l %i in () do @rem\"& echo done", None);
        let started = Instant::now();
        assert_eq!(output(&mut procedure).await.trim(), "done");
        assert_eq!(procedure.wait().await.unwrap(), 0);
        assert!(started.elapsed() < Duration::from_secs(60));
        procedure.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_folder_is_an_error_that_names_it() {
        let procedure = Procedure {
            time_limit: None,
            command: "exit 0".to_owned(),
            folder: Some(r"C:\oco\missing".into()),
        };
        let error = SystemProcedure::start(&procedure).unwrap_err();
        assert_eq!(error.to_string(), r"cannot start the procedure in C:\oco\missing");
        assert!(error.is_not_found());
    }
}
