//! The shell of a software job.

use super::job_object::{JobObject, handle};
use super::orphan;
use crate::host::Procedure;
use crate::host::system::procedure::{PIECE, Started};
use bytes::Bytes;
use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};
use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::IO::CancelSynchronousIo;
use windows::Win32::System::Threading::{INFINITE, WaitForSingleObject};

/// Pieces of output that wait for their reader; then the procedure waits.
const PIECES: usize = 16;

/// Starts `cmd /c COMMAND`. In a staging folder, it is written down which process that is.
pub(in crate::host::system) fn start(procedure: &Procedure, staging: Option<&Path>) -> io::Result<Started> {
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
    let (job, child) = match staging {
        Some(staging) => orphan::start(&mut command, staging, procedure.time_limit)?,
        None => JobObject::start(&mut command)?,
    };
    drop(command);
    let (exit_sender, exited) = oneshot::channel();
    let wait = move || {
        let _ = exit_sender.send(wait(child));
    };
    std::thread::Builder::new()
        .name("oco-process".to_owned())
        .spawn(wait)?;
    Ok(Started {
        processes: Processes(job),
        output: Output::start(output)?,
        exited,
    })
}

/// All that a shell has started.
#[derive(Debug)]
pub(in crate::host::system) struct Processes(JobObject);

impl Processes {
    /// Kills them.
    pub(in crate::host::system) async fn kill(&mut self) -> io::Result<()> {
        self.kill_at_once()
    }

    /// Kills them.
    pub(in crate::host::system) fn kill_at_once(&self) -> io::Result<()> {
        self.0.kill()
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

/// What a shell writes, which a thread reads: pipes of this kind cannot be waited for.
#[derive(Debug)]
pub(in crate::host::system) struct Output {
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

    /// The next piece; none at the end. May be dropped before it is ready without losing anything.
    pub(in crate::host::system) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.pieces.recv().await.transpose()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RunningProcedure;
    use crate::host::system::procedure::{GRACE, SystemProcedure};
    use std::time::Duration;
    use tokio::time::Instant;

    fn start(command: &str, folder: Option<&Path>) -> SystemProcedure {
        let procedure = Procedure {
            time_limit: None,
            command: command.to_owned(),
            folder: folder.map(Path::to_owned),
        };
        SystemProcedure::start(&procedure, None).unwrap()
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
        let error = SystemProcedure::start(&procedure, None).unwrap_err();
        assert_eq!(error.to_string(), r"cannot start the procedure in C:\oco\missing");
        assert!(error.is_not_found());
    }
}
