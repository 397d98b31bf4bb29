//! Software jobs: downloads a package, unpacks it, runs its procedure, and reports each step. The journal keeps any
//! procedure from running twice and any outcome from being lost.

mod decode;
mod download;
mod follow_up;
mod journal;
mod output;
mod unpack;

pub use journal::Ticket;
#[cfg(feature = "fuzzing")]
pub(crate) use unpack::unpack as unpack_archive;
pub use unpack::{Limits, UnpackError};

use crate::config::Config;
use crate::errors::with_causes;
use crate::host::{Host, HostError, PowerAction, Procedure, RunningProcedure};
use crate::observer::{JobEvent, Observer};
use crate::server_client::{ExchangeError, ServerClient};
use follow_up::{FollowUp, Power};
use futures::FutureExt;
use futures::future::OptionFuture;
use journal::{Claim, Decision, Journal};
use oco_protocol::job::{AGENT_ERROR_CODE, Job, JobReport, JobReportAnswer, JobState};
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use output::OutputBuffer;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Waiting times before an outcome is reported again that did not get through.
const REPORT_RETRIES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

/// Runs jobs for one computer.
pub struct JobEngine {
    host: Arc<dyn Host>,
    client: Arc<ServerClient>,
    observer: Arc<dyn Observer>,
    settings: JobSettings,
    journal: Journal,
    power: Power,
    leaving: AtomicBool,
}

/// What the configuration says of jobs.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// Bytes between two reports of a download's progress.
    pub progress_step: u64,
    /// Between two reports of a running job's output; none: only at its end.
    pub output_interval: Option<Duration>,
    /// A procedure that runs longer is killed; none: no limit.
    pub time_limit: Option<Duration>,
    /// Bytes of output that are kept.
    pub max_output: usize,
    /// Bounds on a package.
    pub limits: Limits,
}

impl From<&Config> for JobSettings {
    fn from(config: &Config) -> Self {
        Self {
            progress_step: config.chunk_size.saturating_mul(config.report_frames),
            output_interval: config.report_job_output,
            time_limit: config.job_timeout,
            max_output: config.max_output,
            limits: Limits::default(),
        }
    }
}

/// How a list of jobs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobsSummary {
    /// The server counts them as succeeded.
    pub succeeded: usize,
    /// They ran but failed, or could not be run.
    pub failed: usize,
    /// Not run, because a job of the same container failed before.
    pub skipped: usize,
}

/// Why a job could not be run; what the server is told.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("the server ordered a download but named no package")]
    NoPackage,
    #[error("the package cannot be downloaded")]
    Download(#[from] ExchangeError),
    #[error("the package cannot be written")]
    Archive(#[source] std::io::Error),
    #[error("the package is {received} bytes long, the server announced {announced}")]
    WrongLength { received: u64, announced: u64 },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("unpacking was ended")]
    Interrupted,
    #[error("the job cannot be run")]
    Host(#[from] HostError),
    #[error("the job is not run, because the job journal cannot be written")]
    Journal(#[source] HostError),
    #[error("the job was killed after its time limit of {} s; its output until then:\n{output}", limit.as_secs())]
    TimeLimit { limit: Duration, output: String },
}

/// What a procedure left behind.
struct Ended {
    return_code: i32,
    output: String,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The job has ended; whether the server counts it as succeeded.
    Ended(bool),
    /// The job had ended before, and the order was out of date; whether the server counts it as succeeded.
    OutOfDate(bool),
    /// Nothing can be done about it now.
    Left,
}

impl JobEngine {
    /// An engine that reports through `client` and keeps its journal in the folder `journal`.
    pub fn new(
        host: Arc<dyn Host>,
        client: Arc<ServerClient>,
        observer: Arc<dyn Observer>,
        settings: JobSettings,
        journal: &Path,
    ) -> Self {
        Self {
            journal: Journal::load(host.clone(), journal),
            power: Power::new(journal),
            leaving: AtomicBool::new(false),
            host,
            client,
            observer,
            settings,
        }
    }

    /// To be drawn before a hello is sent, for the orders that it brings.
    pub fn ticket(&self) -> Ticket {
        self.journal.ticket()
    }

    /// Whether a job wants this agent to end, so that the service manager starts its new version.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Runs jobs in their order, as they were ordered at `ticket`. A job that fails in a container with sequence mode 1
    /// takes the rest of it along. `stop` is asked before each job: once true, no further one is started.
    pub async fn run(&self, jobs: Vec<Job>, ticket: Ticket, stop: impl Fn() -> bool) -> JobsSummary {
        let mut summary = JobsSummary::default();
        let mut aborted: HashSet<Id> = HashSet::new();
        for job in jobs {
            if stop() || self.is_leaving() {
                tracing::info!(job.id = %job.id, "stopping: this job and those after it are left for the next start");
                break;
            }
            if let Some(action) = self.power.pending(self.host.as_ref()) {
                tracing::info!(job.id = %job.id, ?action, "this job and those after it wait until the computer has started again");
                break;
            }
            if job
                .container_id
                .as_ref()
                .is_some_and(|container| aborted.contains(container))
            {
                tracing::info!(job.id = %job.id, "skipped, because a job before it in its container failed");
                summary.skipped += 1;
                continue;
            }
            let verdict = self.deal_with(&job, ticket).await;
            summary.succeeded += usize::from(verdict == Verdict::Ended(true));
            summary.failed += usize::from(verdict == Verdict::Ended(false));
            let succeeded = matches!(verdict, Verdict::Ended(true) | Verdict::OutOfDate(true));
            if !succeeded && job.aborts_container_on_failure() {
                aborted.extend(job.container_id);
            }
        }
        summary
    }

    /// Reports the outcomes that the server has not accepted, once each. `orders` are the jobs that it orders now.
    pub async fn report_unaccepted(&self, orders: &[Job]) {
        for id in self.journal.unaccepted(orders) {
            // Whoever has the claim reports it.
            let Some(claim) = self.journal.claim(&id) else {
                continue;
            };
            if let Some(outcome) = claim.outcome() {
                tracing::info!(job.id = %id, "an earlier outcome is reported");
                self.deliver(&claim, &outcome, &[]).await;
            }
        }
    }

    /// Does about an order what the journal decides.
    async fn deal_with(&self, job: &Job, ticket: Ticket) -> Verdict {
        let Some(claim) = self.journal.claim(&job.id) else {
            tracing::info!(job.id = %job.id, "the job is being dealt with already");
            return Verdict::Left;
        };
        let outcome = match claim.decide(job, ticket) {
            Ok(Decision::Run) => self.run_one(job, &claim).await,
            Ok(Decision::Report) => {
                tracing::warn!(job.id = %job.id, "the job is not run again, because it has an outcome that the server did not accept yet");
                claim.ordered_again();
                let Some(outcome) = claim.outcome() else {
                    return Verdict::Left;
                };
                outcome
            }
            Ok(Decision::Interrupted) => {
                tracing::warn!(job.id = %job.id, "the job was interrupted half-way and is not run again");
                let report = journal::interrupted(job.id.clone());
                claim.end(job, report, FollowUp::None)
            }
            Ok(Decision::Settled { succeeded }) => {
                tracing::info!(job.id = %job.id, "the job ended while it was being ordered");
                return Verdict::OutOfDate(succeeded);
            }
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %with_causes(&error), "the job waits until the job journal can be read");
                return Verdict::Left;
            }
        };
        Verdict::Ended(self.deliver(&claim, &outcome, &REPORT_RETRIES).await)
    }

    /// Runs one job to its end and records its outcome.
    async fn run_one(&self, job: &Job, claim: &Claim<'_>) -> journal::Outcome {
        tracing::info!(job.id = %job.id, "job starts");
        let result = if job.procedure.trim().is_empty() {
            Ok(Ended {
                return_code: 0,
                output: String::new(),
            })
        } else {
            self.perform(job, claim).await
        };
        let (state, code, message) = match result {
            Ok(ended) => (JobState::Finished, i64::from(ended.return_code), ended.output),
            Err(error) => (JobState::AgentError, AGENT_ERROR_CODE, with_causes(&error)),
        };
        match state {
            JobState::Finished => tracing::info!(job.id = %job.id, job.return_code = code, "job ended"),
            _ => tracing::warn!(job.id = %job.id, reason = %message, "job could not be run"),
        }
        let report = report(job, state, Some(code), None, message);
        claim.end(job, report, FollowUp::of(job))
    }

    /// Reports an outcome until the server accepts it, again after each of the `retries`, and then does what follows it.
    /// Whether the server counts the job as succeeded.
    async fn deliver(&self, claim: &Claim<'_>, outcome: &journal::Outcome, retries: &[Duration]) -> bool {
        let Some(succeeded) = self.report_outcome(&outcome.report, retries).await else {
            return false;
        };
        claim.accepted(succeeded);
        self.observe(&outcome.report, Some(succeeded));
        if succeeded {
            self.follow_up(outcome).await;
        }
        claim.forget();
        succeeded
    }

    /// Does what a job wants after its success.
    async fn follow_up(&self, outcome: &journal::Outcome) {
        let job = &outcome.report.job_id;
        match outcome.follow_up {
            FollowUp::None => {}
            FollowUp::Exit => {
                tracing::info!(job.id = %job, "the agent ends, so that its new version is started");
                self.leaving.store(true, Ordering::Relaxed);
            }
            FollowUp::Power(action, minutes) => self.order_power(job, outcome.ended, action, minutes).await,
        }
    }

    async fn order_power(&self, job: &Id, ended: u64, action: PowerAction, minutes: u32) {
        let now = follow_up::seconds(self.host.now());
        let uptime = self.host.uptime().unwrap_or(Duration::MAX);
        if follow_up::restarted_since(ended, now, uptime) {
            tracing::info!(job.id = %job, ?action, "not needed any more: the computer was started after the job");
            return;
        }
        tracing::info!(job.id = %job, ?action, minutes, "the job wants the computer to be restarted or shut down");
        let (host, power) = (self.host.clone(), self.power.clone());
        let ordered = tokio::task::spawn_blocking(move || power.order(host.as_ref(), action, minutes)).await;
        match ordered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(job.id = %job, ?action, error = %with_causes(&error), "the computer has to be restarted or shut down by hand");
            }
            Err(error) => tracing::error!(job.id = %job, ?action, %error, "ordering it ended early"),
        }
    }

    async fn perform(&self, job: &Job, claim: &Claim<'_>) -> Result<Ended, JobError> {
        // Also without a package: a procedure that ran in a folder which others can write to would run what they put there.
        let staging = if job.download {
            self.fetch(job).await?
        } else {
            self.host.create_staging()?
        };
        self.report_progress(&report(
            job,
            JobState::Executing,
            None,
            Some(100.0),
            String::new(),
        ))
        .await;
        let procedure = Procedure {
            command: job.procedure.clone(),
            folder: Some(staging.folder().to_owned()),
        };
        claim.start(job).map_err(JobError::Journal)?;
        let mut running = self.host.start_procedure(&procedure)?;
        self.attend(job, running.as_mut()).await
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
                running.kill().await?;
                Err(JobError::TimeLimit {
                    limit,
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

    /// Reports a step on the way. One that does not get through is not worth a retry: the next one says more.
    async fn report_progress(&self, report: &JobReport) {
        self.observe(report, None);
        if let Err(error) = self
            .client
            .exchange::<_, JobReportAnswer>(Method::UpdateJobState, report)
            .await
        {
            tracing::warn!(job.id = %report.job_id, error = %with_causes(&error), "progress could not be reported");
        }
    }

    /// Reports an outcome, again if it does not get through; whether the server counts the job as succeeded, if it has
    /// accepted the report at all.
    async fn report_outcome(&self, report: &JobReport, retries: &[Duration]) -> Option<bool> {
        let mut retries = retries.iter();
        loop {
            let error = match self
                .client
                .exchange::<_, JobReportAnswer>(Method::UpdateJobState, report)
                .await
            {
                Ok(answer) => return Some(answer.job_succeeded),
                Err(error) => error,
            };
            let lost = matches!(
                error,
                ExchangeError::Transport { .. } | ExchangeError::TimedOut { .. }
            );
            let Some(wait) = retries.next().filter(|_| lost) else {
                tracing::error!(job.id = %report.job_id, error = %with_causes(&error), "outcome could not be reported: it is at the next check-in");
                return None;
            };
            tracing::warn!(job.id = %report.job_id, error = %with_causes(&error), "outcome is reported again soon");
            tokio::time::sleep(*wait).await;
        }
    }

    fn observe(&self, report: &JobReport, succeeded: Option<bool>) {
        self.observer.job(&JobEvent {
            id: report.job_id.clone(),
            state: report.state,
            return_code: report.return_code,
            succeeded,
        });
    }
}

fn report(
    job: &Job,
    state: JobState,
    return_code: Option<i64>,
    progress: Option<f64>,
    message: String,
) -> JobReport {
    JobReport {
        job_id: job.id.clone(),
        state,
        return_code,
        download_progress: progress,
        message,
    }
}

/// Waits for a moment, or for ever where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
