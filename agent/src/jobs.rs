//! Software jobs: downloads a package, unpacks it, runs its procedure, and reports each step. The journal keeps any
//! procedure from running twice and any outcome from being lost.

mod decode;
mod download;
mod follow_up;
mod journal;
mod output;
mod run;
mod unpack;

pub use journal::Ticket;
#[cfg(feature = "fuzzing")]
pub(crate) use unpack::unpack as unpack_archive;
pub use unpack::{Limits, UnpackError};

use crate::config::Config;
use crate::errors::with_causes;
use crate::host::{Host, HostError, PowerAction, Staging};
use crate::observer::{JobEvent, Observer};
use crate::server_client::{ExchangeError, ServerClient};
use follow_up::{FollowUp, Power};
use journal::{Claim, Decision, Journal};
use oco_protocol::job::{AGENT_ERROR_CODE, Job, JobReport, JobState};
use oco_protocol::lenient::Id;
use run::Ended;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    journal: Arc<Journal>,
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
    #[error("{0} ended early")]
    Interrupted(&'static str),
    #[error("the job cannot be run")]
    Host(#[from] HostError),
    #[error("the job is not run, because the job journal cannot be written")]
    Journal(#[source] HostError),
    #[error("the job was killed after its time limit of {} s{rest}", limit.as_secs())]
    TimeLimit {
        limit: Duration,
        /// What could not be killed, if anything.
        rest: String,
        /// For the server only: what it wrote may hold passwords, and logs have other readers.
        output: String,
    },
}

impl JobError {
    /// What the server is told.
    fn report(&self) -> String {
        match self {
            Self::TimeLimit { output, .. } => format!("{self}; its output until then:\n{output}"),
            other => with_causes(other),
        }
    }
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

/// What became of an outcome's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The server has accepted it.
    Accepted {
        /// Whether it counts the job as succeeded.
        succeeded: bool,
    },
    /// The server did not accept it, whatever it answered.
    Refused,
    /// It did not get through.
    Lost,
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
    /// takes the rest of it along. `stop` is asked once before each job: once true, no further one is started. Nor is one
    /// beside a job of an agent that was killed.
    pub async fn run(&self, jobs: Vec<Job>, ticket: Ticket, stop: impl Fn() -> bool) -> JobsSummary {
        let mut summary = JobsSummary::default();
        let mut aborted: HashSet<Id> = HashSet::new();
        for job in jobs {
            if stop() || self.is_leaving() {
                tracing::debug!(job.id = %job.id, "this job and those after it are not started now");
                break;
            }
            if self.earlier_job_runs().await {
                tracing::warn!(job.id = %job.id, "this job and those after it wait until a job has ended that an earlier agent started");
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

    /// Whether a job still runs that an agent started which was killed.
    async fn earlier_job_runs(&self) -> bool {
        let host = self.host.clone();
        let running = blocking("looking for earlier jobs", move || host.earlier_procedures()).await;
        // Not knowing is no reason never to run a job again.
        running.is_ok_and(|running| running > 0)
    }

    /// Reports the outcomes that the server has not accepted, once each until one is lost, and gives up those that are
    /// old. `orders` are the jobs that it orders now.
    pub async fn report_unaccepted(&self, orders: &[Job]) {
        for id in self.journal.unaccepted(orders) {
            // Whoever has the claim reports it.
            let Some(claim) = self.journal.claim(&id).map(Arc::new) else {
                continue;
            };
            if let Some(outcome) = claim.outcome() {
                tracing::info!(job.id = %id, "an earlier outcome is reported");
                if self.deliver(&claim, &outcome, &[]).await == Delivery::Lost {
                    tracing::warn!(
                        "the server cannot be reached: other earlier outcomes are reported at the next check-in"
                    );
                    break;
                }
            }
        }
        let (journal, outdated) = (self.journal.clone(), self.journal.outdated(orders));
        if outdated.is_empty() {
            return;
        }
        if let Err(error) = blocking("tidying the job journal", move || journal.give_up(&outdated)).await {
            tracing::error!(%error, "the job journal may lag behind");
        }
    }

    /// Does about an order what the journal decides.
    async fn deal_with(&self, job: &Job, ticket: Ticket) -> Verdict {
        let Some(claim) = self.journal.claim(&job.id).map(Arc::new) else {
            tracing::info!(job.id = %job.id, "the job is being dealt with already");
            return Verdict::Left;
        };
        let mut staging = None;
        let outcome = match claim.decide(job, ticket) {
            Ok(Decision::Run) => self.run_one(job, &claim, &mut staging).await,
            Ok(Decision::Report) => {
                tracing::warn!(job.id = %job.id, "the job is not run again, because it has an outcome that the server did not accept yet");
                self.record(&claim, Claim::ordered_again).await;
                let Some(outcome) = claim.outcome() else {
                    return Verdict::Left;
                };
                outcome
            }
            Ok(Decision::Interrupted) => {
                tracing::warn!(job.id = %job.id, "the job was interrupted half-way and is not run again");
                let report = journal::interrupted(job.id.clone());
                self.end(job, &claim, report, FollowUp::None).await
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
        // The outcome is on record and comes first; removing a large package may take its time.
        let removed = blocking("removing the package", move || drop(staging));
        let (delivery, removed) = tokio::join!(self.deliver(&claim, &outcome, &REPORT_RETRIES), removed);
        if let Err(error) = removed {
            tracing::warn!(job.id = %job.id, %error, "a package may be left behind until the agent's next start");
        }
        Verdict::Ended(delivery == Delivery::Accepted { succeeded: true })
    }

    /// Runs one job to its end and records its outcome. What was staged for it is to be removed afterwards.
    async fn run_one(
        &self,
        job: &Job,
        claim: &Arc<Claim>,
        staging: &mut Option<Box<dyn Staging>>,
    ) -> journal::Outcome {
        tracing::info!(job.id = %job.id, "job starts");
        let result = if job.procedure.trim().is_empty() {
            Ok(Ended {
                return_code: 0,
                output: String::new(),
            })
        } else {
            self.perform(job, claim, staging).await
        };
        let (state, code, message) = match result {
            Ok(ended) => {
                tracing::info!(job.id = %job.id, job.return_code = ended.return_code, "job ended");
                (JobState::Finished, i64::from(ended.return_code), ended.output)
            }
            Err(error) => {
                tracing::warn!(job.id = %job.id, reason = %with_causes(&error), "job could not be run");
                (JobState::AgentError, AGENT_ERROR_CODE, error.report())
            }
        };
        let report = report(job, state, Some(code), None, message);
        self.end(job, claim, report, FollowUp::of(job)).await
    }

    /// Records a job's outcome.
    async fn end(
        &self,
        job: &Job,
        claim: &Arc<Claim>,
        report: JobReport,
        follow_up: FollowUp,
    ) -> journal::Outcome {
        let outcome = claim.ends(report, follow_up);
        let (job, kept) = (job.clone(), outcome.clone());
        self.record(claim, move |claim| claim.end(&job, kept)).await;
        outcome
    }

    /// Has the journal write something.
    async fn record(&self, claim: &Arc<Claim>, write: impl FnOnce(&Claim) + Send + 'static) {
        let claim = claim.clone();
        if let Err(error) = blocking("writing the job journal", move || write(&claim)).await {
            tracing::error!(%error, "the job journal may lag behind");
        }
    }

    /// Reports an outcome until the server accepts it, again after each of the `retries`, and then does what follows it.
    async fn deliver(
        &self,
        claim: &Arc<Claim>,
        outcome: &journal::Outcome,
        retries: &[Duration],
    ) -> Delivery {
        let delivery = self.report_outcome(&outcome.report, retries).await;
        let Delivery::Accepted { succeeded } = delivery else {
            return delivery;
        };
        claim.accepted(succeeded);
        self.observe(&outcome.report, Some(succeeded));
        if succeeded {
            self.follow_up(outcome).await;
        }
        self.record(claim, Claim::forget).await;
        delivery
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

    /// Reports a step on the way. One that does not get through is not worth a retry: the next one says more.
    async fn report_progress(&self, report: &JobReport) {
        self.observe(report, None);
        if let Err(error) = self.client.report_job(report).await {
            tracing::warn!(job.id = %report.job_id, error = %with_causes(&error), "progress could not be reported");
        }
    }

    /// Reports an outcome, again if it does not get through.
    async fn report_outcome(&self, report: &JobReport, retries: &[Duration]) -> Delivery {
        let mut retries = retries.iter();
        loop {
            let error = match self.client.report_job(report).await {
                Ok(answer) => {
                    return Delivery::Accepted {
                        succeeded: answer.job_succeeded,
                    };
                }
                Err(error) => error,
            };
            let lost = matches!(
                error,
                ExchangeError::Transport { .. } | ExchangeError::TimedOut { .. }
            );
            let Some(wait) = retries.next().filter(|_| lost) else {
                tracing::error!(job.id = %report.job_id, error = %with_causes(&error), "outcome could not be reported: it is at the next check-in");
                return if lost { Delivery::Lost } else { Delivery::Refused };
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

/// Runs what may block beside the runtime.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|error| {
        tracing::error!(%error, "{what} ended early");
        JobError::Interrupted(what)
    })
}
