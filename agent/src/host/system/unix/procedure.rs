//! The shell of a software job.

use super::keeper::{self, Kept};
use super::leftovers;
use super::process_group::{Exit, ProcessGroup};
use crate::host::Procedure;
use crate::host::system::native::process_tree;
use crate::host::system::procedure::{PIECE, Started};
use bytes::Bytes;
use std::io::{self, PipeWriter};
use std::path::Path;
use std::process::{Command, Stdio};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// Starts `/bin/sh -c COMMAND`. A staging folder is locked for as long as the shell runs, whatever becomes of the agent.
pub(in crate::host::system) fn start(procedure: &Procedure, staging: Option<&Path>) -> io::Result<Started> {
    let (output, output_writer) = io::pipe()?;
    let (lifeline, agents_end) = io::pipe()?;
    let kept = Kept {
        output: output.try_clone()?.into(),
        lifeline: lifeline.into(),
        lock: staging.map(leftovers::lock).transpose()?.map(Into::into),
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
        let _ = exit_sender.send(exit.map(code));
    })?;
    Ok(Started {
        processes: Processes {
            group,
            _lifeline: agents_end,
        },
        output: Output(output),
        exited,
    })
}

/// The code of an end, as shells say it.
fn code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    }
}

/// All that a shell has started.
#[derive(Debug)]
pub(in crate::host::system) struct Processes {
    group: ProcessGroup,
    /// Held only to end with the agent.
    _lifeline: PipeWriter,
}

impl Processes {
    /// Kills them without holding up other tasks.
    pub(in crate::host::system) async fn kill(&mut self) -> io::Result<()> {
        let keeper = self.group.leader();
        let below = tokio::task::spawn_blocking(move || process_tree::kill_below(keeper)).await;
        let below = below.map_err(io::Error::other).flatten();
        self.group.kill().and(below)
    }

    /// Kills them.
    pub(in crate::host::system) fn kill_at_once(&self) -> io::Result<()> {
        let below = process_tree::kill_below(self.group.leader());
        self.group.kill().and(below)
    }
}

/// What a shell writes.
#[derive(Debug)]
pub(in crate::host::system) struct Output(pipe::Receiver);

impl Output {
    /// The next piece; none at the end. May be dropped before it is ready without losing anything.
    pub(in crate::host::system) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            self.0.readable().await?;
            if let Some(piece) = try_read(&self.0)? {
                return Ok(Some(piece).filter(|piece| !piece.is_empty()));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RunningProcedure;
    use crate::host::system::procedure::SystemProcedure;
    use std::time::Duration;
    use tokio::time::Instant;

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

    #[cfg(target_os = "linux")] // setsid
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
