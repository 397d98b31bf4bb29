//! Procedures of software jobs: a shell, its output as it comes, all its processes on a kill.

#[cfg(unix)]
use super::unix::procedure as shell;
#[cfg(windows)]
use super::windows::procedure as shell;
use crate::host::{HostError, Procedure, Result, RunningProcedure};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// How long output is still collected after the shell has ended. What the shell itself wrote is in the pipe by then;
/// this is for the last words of a process that it left in the background, which may hold the pipe open for ever.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Largest piece of output, bytes.
pub(super) const PIECE: usize = 16 << 10;

/// A shell that has just been started.
pub(super) struct Started {
    pub(super) processes: shell::Processes,
    pub(super) output: shell::Output,
    /// Gets the exit code.
    pub(super) exited: oneshot::Receiver<io::Result<i32>>,
}

/// A shell that runs a procedure.
///
/// Until the shell has ended, a kill or drop kills all its processes; the end of the agent without either does not. What a
/// procedure left in the background on purpose survives its regular end.
#[derive(Debug)]
pub(crate) struct SystemProcedure {
    subject: String,
    processes: shell::Processes,
    exited: oneshot::Receiver<io::Result<i32>>,
    code: Option<i32>,
    output: Option<shell::Output>,
    /// When collecting output ends; set once the shell has ended.
    deadline: Option<Instant>,
}

impl SystemProcedure {
    /// Starts the system's shell with the procedure's command. By `staging`, its staging folder, a later agent knows whether
    /// it still runs, whatever becomes of this one.
    pub(crate) fn start(procedure: &Procedure, staging: Option<&Path>) -> Result<Self> {
        let subject = match &procedure.folder {
            Some(folder) => format!("the procedure in {}", folder.display()),
            None => "the procedure".to_owned(),
        };
        match shell::start(procedure, staging) {
            Ok(started) => Ok(Self {
                subject,
                processes: started.processes,
                exited: started.exited,
                code: None,
                output: Some(started.output),
                deadline: None,
            }),
            Err(error) => Err(HostError::new("start", subject, error)),
        }
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
                piece = output.next() => match piece {
                    Ok(Some(piece)) => return Ok(Some(piece)),
                    Ok(None) => self.output = None,
                    Err(error) => return Err(self.error("read the output of", error)),
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
        async {
            let killed = self.processes.kill().await;
            killed.map_err(|error| self.error("kill", error))
        }
        .boxed()
    }
}

impl Drop for SystemProcedure {
    fn drop(&mut self) {
        if self.code.is_none()
            && let Err(error) = self.processes.kill_at_once()
        {
            tracing::warn!(%error, "cannot kill a procedure");
        }
    }
}
