//! Running a job: its folder, its procedure within the time limit, its output while it grows.

use super::journal::Claim;
use super::output::OutputBuffer;
use super::{JobEngine, JobError, blocking, report};
use crate::errors::with_causes;
use crate::host::{Procedure, RunningProcedure, Staging};
use futures::FutureExt;
use futures::future::OptionFuture;
use oco_protocol::job::{Job, JobState};
use std::sync::Arc;
use tokio::time::Instant;

/// What a procedure left behind.
pub(super) struct Ended {
    pub(super) return_code: i32,
    pub(super) output: String,
}

impl JobEngine {
    /// Fetches what the procedure needs and runs it. What was staged for it is left in `staging`, to be removed
    /// afterwards.
    pub(super) async fn perform(
        &self,
        job: &Job,
        claim: &Arc<Claim>,
        staging: &mut Option<Box<dyn Staging>>,
    ) -> Result<Ended, JobError> {
        // Also without a package: a procedure that ran in a folder which others can write to would run what they put there.
        let staging = if job.download {
            self.fetch(job, staging).await?
        } else {
            staging.insert(self.stage().await?)
        };
        let executing = report(job, JobState::Executing, None, Some(100.0), String::new());
        self.report_progress(&executing).await;
        let procedure = Procedure {
            command: job.procedure.clone(),
            folder: Some(staging.folder().to_owned()),
            time_limit: self.settings.time_limit,
        };
        let (claim, started) = (claim.clone(), job.clone());
        blocking("writing the job journal", move || claim.start(&started))
            .await?
            .map_err(JobError::Journal)?;
        let mut running = self.host.start_procedure(&procedure)?;
        self.attend(job, running.as_mut()).await
    }

    /// A new staging folder.
    pub(super) async fn stage(&self) -> Result<Box<dyn Staging>, JobError> {
        let host = self.host.clone();
        Ok(blocking("making room for the package", move || host.create_staging()).await??)
    }

    /// Lets a procedure run to its end, within its time limit.
    async fn attend(&self, job: &Job, running: &mut dyn RunningProcedure) -> Result<Ended, JobError> {
        let mut output = OutputBuffer::new(self.settings.max_output, self.host.os());
        let Some(limit) = self.settings.time_limit else {
            let return_code = self.watch(job, running, &mut output).await?;
            return Ok(Ended {
                return_code,
                output: output.text(),
            });
        };
        // A procedure that has closed its output is still running: the limit holds until it has ended.
        match tokio::time::timeout(limit, self.watch(job, running, &mut output)).await {
            Ok(return_code) => Ok(Ended {
                return_code: return_code?,
                output: output.text(),
            }),
            Err(_) => {
                let rest = match running.kill().await {
                    Ok(()) => String::new(),
                    Err(error) => format!(" ({})", with_causes(&error)),
                };
                Err(JobError::TimeLimit {
                    limit,
                    rest,
                    output: output.text(),
                })
            }
        }
    }

    /// Collects a procedure's output and reports it while it grows. Output is taken while a report is under way too: a
    /// slow server must not hold up a procedure that writes much.
    async fn watch(
        &self,
        job: &Job,
        running: &mut dyn RunningProcedure,
        output: &mut OutputBuffer,
    ) -> Result<i32, JobError> {
        let interval = self.settings.output_interval;
        let next = || interval.map(|interval| Instant::now() + interval);
        let (mut next_report, mut reported) = (next(), 0);
        let mut under_way = OptionFuture::default();
        loop {
            tokio::select! {
                piece = running.next_output() => match piece? {
                    Some(piece) => output.push(&piece),
                    None => break,
                },
                Some(()) = &mut under_way => {
                    under_way = OptionFuture::default();
                    next_report = next();
                }
                () = until(next_report) => {
                    next_report = next();
                    if output.total() > reported {
                        reported = output.total();
                        next_report = None;
                        let report = report(job, JobState::Executing, None, Some(100.0), output.text());
                        under_way = Some(async move { self.report_progress(&report).await }.boxed()).into();
                    }
                }
            }
        }
        let (return_code, _) = tokio::join!(running.wait(), under_way);
        Ok(return_code?)
    }
}

/// Waits for a moment, or for ever where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
