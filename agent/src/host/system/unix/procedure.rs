//! Procedures of software jobs: a shell, its output as it comes, all its processes on a kill.

use super::keeper::{self, Kept};
use super::process_group::{Exit, ProcessGroup};
use crate::host::system::native::process_tree;
use crate::host::{HostError, Procedure, Result, RunningProcedure};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fs::File;
use std::io::{self, PipeWriter};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// How long output is still collected after the shell has ended. What the shell itself wrote is in the pipe by then;
/// this is for the last words of a process that it left in the background, which may hold the pipe open for ever.
const GRACE: Duration = Duration::from_secs(2);

/// Largest piece of output, bytes.
const PIECE: usize = 16 << 10;

/// A shell that runs a procedure.
///
/// Until the shell has ended, a kill or drop kills all its processes; the end of the agent without either does not. What a
/// procedure left in the background on purpose survives its regular end.
#[derive(Debug)]
pub(crate) struct SystemProcedure {
    subject: String,
    group: ProcessGroup,
    exited: oneshot::Receiver<io::Result<Exit>>,
    code: Option<i32>,
    output: Option<pipe::Receiver>,
    /// When collecting output ends; set once the shell has ended.
    deadline: Option<Instant>,
    /// Held only to end with the agent.
    _lifeline: PipeWriter,
}

impl SystemProcedure {
    /// Starts `/bin/sh -c COMMAND`. The lock is held for as long as the shell runs, whatever becomes of the agent.
    pub(crate) fn start(procedure: &Procedure, lock: Option<File>) -> Result<Self> {
        let subject = match &procedure.folder {
            Some(folder) => format!("the procedure in {}", folder.display()),
            None => "the procedure".to_owned(),
        };
        Self::try_start(procedure, lock, subject.clone())
            .map_err(|error| HostError::new("start", subject, error))
    }

    fn try_start(procedure: &Procedure, lock: Option<File>, subject: String) -> io::Result<Self> {
        let (output, output_writer) = io::pipe()?;
        let (lifeline, agents_end) = io::pipe()?;
        let kept = Kept {
            output: output.try_clone()?.into(),
            lifeline: lifeline.into(),
            lock: lock.map(Into::into),
            time_limit: procedure.time_limit,
        };
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &procedure.command])
            .current_dir(procedure.folder.clone().unwrap_or_else(std::env::temp_dir))
            .stdin(Stdio::null())
            .stdout(output_writer.try_clone()?)
            .stderr(output_writer);
        keeper::keep(&mut command, kept);
        let (exit_sender, exited) = oneshot::channel();
        let group = ProcessGroup::start(command, move |exit| {
            let _ = exit_sender.send(exit);
        })?;
        Ok(Self {
            subject,
            group,
            exited,
            code: None,
            output: Some(output),
            deadline: None,
            _lifeline: agents_end,
        })
    }

    fn error(&self, operation: &'static str, error: impl Into<io::Error>) -> HostError {
        HostError::new(operation, &self.subject, error)
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        while let Some(output) = &self.output {
            let deadline = self.deadline;
            tokio::select! {
                // The deadline first: a process in the background may write without a pause.
                biased;
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.output = None;
                }
                ready = output.readable() => {
                    ready.map_err(|error| self.error("read the output of", error))?;
                    match try_read(output) {
                        Ok(None) => {}
                        Ok(Some(piece)) if piece.is_empty() => self.output = None,
                        Ok(Some(piece)) => return Ok(Some(piece)),
                        Err(error) => return Err(self.error("read the output of", error)),
                    }
                }
                exit = &mut self.exited, if self.code.is_none() => self.note_exit(exit)?,
            }
        }
        Ok(None)
    }

    fn note_exit(&mut self, exit: Result<io::Result<Exit>, oneshot::error::RecvError>) -> Result<()> {
        let exit = exit
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| self.error("wait for", error))?;
        self.deadline = Some(Instant::now() + GRACE);
        self.code = Some(match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        });
        Ok(())
    }
}

/// What is in the pipe: nothing at the moment, or a piece, which is empty at the end.
fn try_read(output: &pipe::Receiver) -> io::Result<Option<Bytes>> {
    let mut piece = vec![0; PIECE];
    match output.try_read(&mut piece) {
        Ok(length) => {
            piece.truncate(length);
            Ok(Some(piece.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
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
        let keeper = self.group.leader();
        async move {
            let below = tokio::task::spawn_blocking(move || process_tree::kill_below(keeper)).await;
            let below = below.map_err(io::Error::other).flatten();
            self.group
                .kill()
                .and(below)
                .map_err(|error| self.error("kill", error))
        }
        .boxed()
    }
}

impl Drop for SystemProcedure {
    fn drop(&mut self) {
        if self.code.is_some() {
            return;
        }
        let below = process_tree::kill_below(self.group.leader());
        if let Err(error) = self.group.kill().and(below) {
            tracing::warn!(error = %error, "cannot kill a procedure");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn start(command: &str, folder: Option<&Path>) -> SystemProcedure {
        let procedure = Procedure {
            command: command.to_owned(),
            folder: folder.map(Path::to_owned),
            time_limit: None,
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

    /// Ends once no process holds the writing end of `pipe`, which the procedure opened, any more.
    async fn all_writers_gone(pipe: pipe::Receiver) {
        loop {
            pipe.readable().await.unwrap();
            match pipe.try_read(&mut [0; 64]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    fn fifo(folder: &Path) -> pipe::Receiver {
        let path = folder.join("alive");
        let status = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(status.success());
        pipe::OpenOptions::new().open_receiver(path).unwrap()
    }

    #[tokio::test]
    async fn both_outputs_arrive_in_the_order_they_were_written() {
        let mut procedure = start("echo 1; echo 2 >&2; echo 3; exit 7", None);
        assert_eq!(output(&mut procedure).await, "1\n2\n3\n");
        assert_eq!(procedure.wait().await.unwrap(), 7);
        assert_eq!(procedure.wait().await.unwrap(), 7, "the code stays known");
        assert_eq!(procedure.next_output().await.unwrap(), None);
    }

    #[tokio::test]
    async fn it_runs_in_its_folder_with_input_closed() {
        let folder = tempfile::tempdir().unwrap();
        let mut procedure = start("pwd -P; cat", Some(folder.path()));
        let expected = folder.path().canonicalize().unwrap();
        assert_eq!(
            output(&mut procedure).await.trim_end(),
            expected.to_str().unwrap()
        );
        assert_eq!(procedure.wait().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn output_can_be_waited_for_and_given_up_without_loss() {
        let mut procedure = start("read line < /dev/null; echo early; exec sleep 1000", None);
        assert_eq!(procedure.next_output().await.unwrap().unwrap(), "early\n");
        let nothing = tokio::time::timeout(Duration::from_millis(50), procedure.next_output()).await;
        assert!(nothing.is_err(), "the shell is still silent");
        procedure.kill().await.unwrap();
        assert_eq!(procedure.next_output().await.unwrap(), None);
        assert_eq!(procedure.wait().await.unwrap(), 128 + 9);
    }

    #[tokio::test]
    async fn large_output_arrives_whole() {
        let mut procedure = start("head -c 1000000 /dev/zero | tr '\\0' x", None);
        assert_eq!(output(&mut procedure).await.len(), 1_000_000);
    }

    #[tokio::test]
    async fn the_code_can_be_asked_for_before_the_output() {
        let mut procedure = start("echo late; exit 5", None);
        assert_eq!(procedure.wait().await.unwrap(), 5);
        assert_eq!(output(&mut procedure).await, "late\n");
    }

    #[tokio::test]
    async fn a_signal_is_reported_as_shells_do() {
        assert_eq!(start("kill -TERM $$", None).wait().await.unwrap(), 128 + 15);
        assert_eq!(start("oco-no-such-command", None).wait().await.unwrap(), 127);
    }

    #[tokio::test]
    async fn a_kill_ends_the_whole_tree() {
        let folder = tempfile::tempdir().unwrap();
        let alive = fifo(folder.path());
        let script = "exec 3> alive; (sh -c 'sleep 1000; :'; :) & (sleep 1000; :) & echo up; sleep 1000; :";
        let mut procedure = start(script, Some(folder.path()));
        assert_eq!(procedure.next_output().await.unwrap().unwrap(), "up\n");
        procedure.kill().await.unwrap();
        assert_eq!(procedure.wait().await.unwrap(), 128 + 9);
        all_writers_gone(alive).await;
        procedure.kill().await.unwrap();
    }

    /// Starts processes that hold `alive` open: one in a session of its own, one whose parent has ended, one whose
    /// parents are all in other sessions and have ended.
    #[cfg(target_os = "linux")]
    const ESCAPES: &str = "exec 3> alive; setsid sleep 1000 & (setsid sh -c '(sleep 1000; :) & :' &) ; \
        setsid sh -c 'setsid sh -c \"sleep 1000 & sleep 1000 &\" &'; echo up; sleep 1000; :";

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_kill_ends_processes_of_other_sessions_and_orphans_too() {
        let folder = tempfile::tempdir().unwrap();
        let alive = fifo(folder.path());
        let mut procedure = start(ESCAPES, Some(folder.path()));
        assert_eq!(procedure.next_output().await.unwrap().unwrap(), "up\n");
        procedure.kill().await.unwrap();
        assert_eq!(procedure.wait().await.unwrap(), 128 + 9);
        all_writers_gone(alive).await;
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_kill_outruns_processes_that_start_others_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let alive = fifo(folder.path());
        let script =
            "exec 3> alive; echo 'setsid sh ./again & exit' > again; sh ./again; echo up; sleep 1000; :";
        let mut procedure = start(script, Some(folder.path()));
        assert_eq!(procedure.next_output().await.unwrap().unwrap(), "up\n");
        procedure.kill().await.unwrap();
        all_writers_gone(alive).await;
    }

    #[tokio::test]
    async fn what_it_left_in_the_background_survives_its_regular_end() {
        let folder = tempfile::tempdir().unwrap();
        let alive = fifo(folder.path());
        let script = "exec 3> alive; setsid sh -c 'read line < gate; echo lived >&3' > /dev/null 2>&1 &";
        assert!(
            Command::new("mkfifo")
                .arg(folder.path().join("gate"))
                .status()
                .unwrap()
                .success()
        );
        let mut procedure = start(script, Some(folder.path()));
        assert_eq!(procedure.wait().await.unwrap(), 0);
        assert_eq!(output(&mut procedure).await, "");
        drop(procedure);
        std::fs::write(folder.path().join("gate"), "go\n").unwrap();
        let mut said = [0; 6];
        alive.readable().await.unwrap();
        assert_eq!(alive.try_read(&mut said).unwrap(), 6);
        assert_eq!(&said, b"lived\n");
    }

    #[tokio::test]
    async fn files_that_it_makes_can_be_read_whatever_the_agents_own_mask() {
        // The mask is the whole process's, so another one sets it.
        let status = Command::new("sh")
            .args([
                "-c",
                "umask 077; exec \"$0\" --exact --ignored --nocapture \"$1\"",
            ])
            .arg(std::env::current_exe().unwrap())
            .arg("host::system::unix::procedure::tests::child_with_a_mask_of_its_own")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    #[tokio::test]
    #[ignore = "runs as a child of files_that_it_makes_can_be_read_whatever_the_agents_own_mask"]
    async fn child_with_a_mask_of_its_own() {
        let mut procedure = start("umask", None);
        assert_eq!(output(&mut procedure).await, "0022\n");
    }

    #[tokio::test]
    async fn a_drop_ends_the_whole_tree() {
        let folder = tempfile::tempdir().unwrap();
        let alive = fifo(folder.path());
        let mut procedure = start(
            "exec 3> alive; (sleep 1000; :) & echo up; sleep 1000; :",
            Some(folder.path()),
        );
        assert_eq!(procedure.next_output().await.unwrap().unwrap(), "up\n");
        drop(procedure);
        all_writers_gone(alive).await;
    }

    #[tokio::test]
    async fn a_background_process_that_holds_the_output_does_not_block_the_end() {
        let started = Instant::now();
        let mut procedure = start("sleep 60 & echo done", None);
        assert_eq!(output(&mut procedure).await, "done\n");
        assert_eq!(procedure.wait().await.unwrap(), 0);
        assert!(started.elapsed() < Duration::from_secs(30));
        procedure.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_background_process_that_writes_without_a_pause_does_not_either() {
        let started = Instant::now();
        let mut procedure = start("yes & exit 0", None);
        while procedure.next_output().await.unwrap().is_some() {}
        assert!(started.elapsed() < Duration::from_secs(30));
        procedure.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_folder_is_an_error_that_names_it() {
        let procedure = Procedure {
            command: "true".to_owned(),
            folder: Some("/oco/missing".into()),
            time_limit: None,
        };
        let error = SystemProcedure::start(&procedure, None).unwrap_err();
        assert_eq!(error.to_string(), "cannot start the procedure in /oco/missing");
        assert!(error.is_not_found());
    }
}
