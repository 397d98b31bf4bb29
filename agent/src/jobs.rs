//! Software jobs: downloads a package, unpacks it, runs its procedure, and reports each step.

mod output;
mod unpack;

pub use unpack::{Limits, UnpackError};

use crate::config::Config;
use crate::host::{Host, HostError, Procedure, RunningProcedure, Staging};
use crate::observer::{JobEvent, Observer};
use crate::server_client::{ExchangeError, ServerClient};
use oco_protocol::job::{AGENT_ERROR_CODE, Job, JobReport, JobReportAnswer, JobState, PROGRESS_UNPACKING};
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use output::OutputBuffer;
use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
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
    #[error("the job was killed after its time limit of {} s", .0.as_secs())]
    TimeLimit(Duration),
}

/// What a procedure left behind.
struct Outcome {
    return_code: i32,
    output: String,
}

impl JobEngine {
    /// An engine that reports through `client`.
    pub fn new(
        host: Arc<dyn Host>,
        client: Arc<ServerClient>,
        observer: Arc<dyn Observer>,
        settings: JobSettings,
    ) -> Self {
        Self {
            host,
            client,
            observer,
            settings,
        }
    }

    /// Runs jobs in their order. A job that fails in a container with sequence mode 1 takes the rest of it along.
    /// `stop` is asked before each job: once true, no further one is started.
    pub async fn run(&self, jobs: Vec<Job>, stop: impl Fn() -> bool) -> JobsSummary {
        let mut summary = JobsSummary::default();
        let mut aborted: HashSet<Id> = HashSet::new();
        for job in jobs {
            if stop() {
                tracing::info!(job.id = %job.id, "stopping: this job and those after it are left for the next start");
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
            if self.run_one(&job).await {
                summary.succeeded += 1;
                continue;
            }
            summary.failed += 1;
            if job.aborts_container_on_failure() {
                aborted.extend(job.container_id);
            }
        }
        summary
    }

    /// Runs one job to its end; whether the server counts it as succeeded.
    async fn run_one(&self, job: &Job) -> bool {
        tracing::info!(job.id = %job.id, "job starts");
        let result = if job.procedure.trim().is_empty() {
            Ok(Outcome {
                return_code: 0,
                output: String::new(),
            })
        } else {
            self.perform(job).await
        };
        let (state, code, message) = match result {
            Ok(outcome) => (JobState::Finished, i64::from(outcome.return_code), outcome.output),
            Err(error) => (JobState::AgentError, AGENT_ERROR_CODE, with_causes(&error)),
        };
        match state {
            JobState::Finished => tracing::info!(job.id = %job.id, job.return_code = code, "job ended"),
            _ => tracing::warn!(job.id = %job.id, reason = %message, "job could not be run"),
        }
        self.report_outcome(&report(job, state, Some(code), None, message))
            .await
    }

    async fn perform(&self, job: &Job) -> Result<Outcome, JobError> {
        let staging = if job.download {
            Some(self.fetch(job).await?)
        } else {
            None
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
            folder: staging.as_ref().map(|staging| staging.folder().to_owned()),
        };
        let mut running = self.host.start_procedure(&procedure)?;
        self.attend(job, running.as_mut()).await
    }

    /// Downloads and unpacks the job's package.
    async fn fetch(&self, job: &Job) -> Result<Box<dyn Staging>, JobError> {
        let downloading = |progress| report(job, JobState::Downloading, None, Some(progress), String::new());
        let package = job.package_id.as_ref().ok_or(JobError::NoPackage)?;
        self.report_progress(&downloading(0.0)).await;
        let mut staging = self.host.create_staging()?;
        self.download(job, package, staging.as_mut()).await?;
        self.report_progress(&downloading(PROGRESS_UNPACKING)).await;
        let limits = self.settings.limits;
        tokio::task::spawn_blocking(move || unpack::unpack(staging.as_mut(), limits).map(|()| staging))
            .await
            .map_err(|_| JobError::Interrupted)?
            .map_err(JobError::from)
    }

    async fn download(&self, job: &Job, package: &Id, staging: &mut dyn Staging) -> Result<(), JobError> {
        let mut archive = staging.write_archive()?;
        let (mut received, mut announced) = (0u64, None);
        let (progress, mut reports) = tokio::sync::mpsc::channel::<f64>(1);
        let transfer = {
            let (archive, received, announced) = (&mut archive, &mut received, &mut announced);
            let mut next_report = self.settings.progress_step;
            self.client.download(package, move |chunk, length| {
                archive.write_all(chunk).map_err(JobError::Archive)?;
                *received += chunk.len() as u64;
                *announced = length;
                if let Some(length) = length.filter(|_| *received >= next_report) {
                    next_report = received.saturating_add(self.settings.progress_step);
                    // A report that still waits to be sent is as good as this one: the download goes on meanwhile.
                    let _ = progress.try_send(percent(*received, length));
                }
                Ok::<(), JobError>(())
            })
        };
        let reporter = async {
            while let Some(percent) = reports.recv().await {
                self.report_progress(&report(
                    job,
                    JobState::Downloading,
                    None,
                    Some(percent),
                    String::new(),
                ))
                .await;
            }
        };
        tokio::join!(transfer, reporter).0?;
        archive.flush().map_err(JobError::Archive)?;
        match announced {
            Some(announced) if announced != received => Err(JobError::WrongLength { received, announced }),
            _ => Ok(()),
        }
    }

    /// Collects a procedure's output, reports it while it grows, and enforces the time limit.
    async fn attend(&self, job: &Job, running: &mut dyn RunningProcedure) -> Result<Outcome, JobError> {
        let mut output = OutputBuffer::new(self.settings.max_output);
        let deadline = self
            .settings
            .time_limit
            .map(|limit| (Instant::now() + limit, limit));
        let mut next_report = self
            .settings
            .output_interval
            .map(|interval| Instant::now() + interval);
        let mut reported = 0;
        loop {
            tokio::select! {
                piece = running.next_output() => match piece? {
                    Some(piece) => output.push(&piece),
                    None => break,
                },
                () = until(next_report) => {
                    if output.total() > reported {
                        reported = output.total();
                        self.report_progress(&report(job, JobState::Executing, None, Some(100.0), output.text())).await;
                    }
                    next_report = self.settings.output_interval.map(|interval| Instant::now() + interval);
                }
                () = until(deadline.map(|(at, _)| at)) => {
                    running.kill().await?;
                    return Err(JobError::TimeLimit(deadline.map_or(Duration::ZERO, |(_, limit)| limit)));
                }
            }
        }
        Ok(Outcome {
            return_code: running.wait().await?,
            output: output.text(),
        })
    }

    /// Reports a step on the way. One that does not get through is not worth a retry: the next one says more.
    async fn report_progress(&self, report: &JobReport) {
        self.observe(report);
        if let Err(error) = self
            .client
            .exchange::<_, JobReportAnswer>(Method::UpdateJobState, report)
            .await
        {
            tracing::warn!(job.id = %report.job_id, error = %with_causes(&error), "progress could not be reported");
        }
    }

    /// Reports the outcome, again if need be; whether the server counts the job as succeeded.
    async fn report_outcome(&self, report: &JobReport) -> bool {
        self.observe(report);
        let mut retries = REPORT_RETRIES.iter();
        loop {
            match self
                .client
                .exchange::<_, JobReportAnswer>(Method::UpdateJobState, report)
                .await
            {
                Ok(answer) => return answer.params.job_succeeded,
                Err(error @ (ExchangeError::Transport { .. } | ExchangeError::TimedOut { .. })) => {
                    let Some(wait) = retries.next() else {
                        tracing::error!(job.id = %report.job_id, error = %with_causes(&error), "outcome could not be reported");
                        return false;
                    };
                    tracing::warn!(job.id = %report.job_id, error = %with_causes(&error), "outcome is reported again soon");
                    tokio::time::sleep(*wait).await;
                }
                Err(error) => {
                    tracing::error!(job.id = %report.job_id, error = %with_causes(&error), "outcome was not accepted");
                    return false;
                }
            }
        }
    }

    fn observe(&self, report: &JobReport) {
        self.observer.job(&JobEvent {
            id: report.job_id.clone(),
            state: report.state,
            return_code: report.return_code,
        });
    }
}

/// An error with all its causes in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
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

/// Whole percent of a transfer.
#[allow(clippy::cast_precision_loss)] // a hundredth is more than anyone needs
fn percent(received: u64, length: u64) -> f64 {
    if length == 0 {
        100.0
    } else {
        (received as f64 / length as f64 * 100.0).floor().min(100.0)
    }
}

/// Waits for a moment, or for ever where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
