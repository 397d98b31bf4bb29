//! Jobs: those a computer has to run, the reports of them, and lists.

use super::{Batch, Computer, Store, StoreError, Write, micros, timestamp};
use crate::jobs::{JobState, SEQUENCE_ABORTED_CODE, state_after};
use futures::TryStreamExt;
use oco_protocol::Timestamp;
use oco_protocol::job::{Job, JobState as Reported};
use oco_protocol::lenient::Id;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::sync::Arc;

/// Stores what an agent reports of a job.
#[derive(Debug)]
pub(crate) struct ReportJob {
    pub(crate) computer: Arc<Computer>,
    pub(crate) job: i64,
    pub(crate) reported: Reported,
    pub(crate) return_code: Option<i64>,
    pub(crate) progress: Option<f64>,
    pub(crate) output: String,
    pub(crate) now: Timestamp,
}

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportOutcome {
    Stored(JobState),
    UnknownJob,
    ForeignJob,
}

#[derive(sqlx::FromRow)]
struct ReportedJob {
    computer_id: i64,
    container_id: i64,
    position: i64,
    success_codes: String,
    sequence_mode: i64,
}

impl Write for ReportJob {
    type Output = ReportOutcome;
    const OPERATION: &'static str = "store a job report";

    async fn apply(&self, batch: &mut Batch) -> Result<ReportOutcome, sqlx::Error> {
        let job: Option<ReportedJob> = sqlx::query_as(
            "SELECT j.computer_id, j.container_id, j.position, j.success_codes, c.sequence_mode FROM jobs j \
             JOIN job_containers c ON c.id = j.container_id WHERE j.id = ?",
        )
        .bind(self.job)
        .fetch_optional(batch.connection())
        .await?;
        let Some(job) = job else {
            return Ok(ReportOutcome::UnknownJob);
        };
        if job.computer_id != self.computer.id {
            return Ok(ReportOutcome::ForeignJob);
        }
        let state = state_after(self.reported, self.return_code, &job.success_codes);
        self.update(batch, state).await?;
        if state == JobState::Failed && job.sequence_mode == 1 {
            self.abort_rest(batch, &job).await?;
        }
        let active: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE computer_id = ? AND state IN (0, 1, 2)")
                .bind(self.computer.id)
                .fetch_one(batch.connection())
                .await?;
        let computer = self.computer.clone();
        batch.after_commit(move || computer.state().active_jobs = active);
        Ok(ReportOutcome::Stored(state))
    }
}

impl ReportJob {
    async fn update(&self, batch: &mut Batch, state: JobState) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE jobs SET state = ?, return_code = ?, progress = COALESCE(?, progress), output = ?, \
             changed_at = ? WHERE id = ?",
        )
        .bind(state.code())
        .bind(self.return_code)
        .bind(self.progress)
        .bind(&self.output)
        .bind(micros(self.now))
        .bind(self.job)
        .execute(batch.connection())
        .await?;
        Ok(())
    }

    /// Gives up the jobs of the same container that come after this one and have not ended.
    async fn abort_rest(&self, batch: &mut Batch, job: &ReportedJob) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE jobs SET state = -1, return_code = ?, changed_at = ? WHERE container_id = ? AND computer_id = ? \
             AND position > ? AND state IN (0, 1, 2)",
        )
        .bind(SEQUENCE_ABORTED_CODE)
        .bind(micros(self.now))
        .bind(job.container_id)
        .bind(job.computer_id)
        .bind(job.position)
        .execute(batch.connection())
        .await?;
        Ok(())
    }
}

#[derive(sqlx::FromRow)]
struct OrderedJob {
    id: i64,
    container_id: i64,
    package_id: i64,
    run_procedure: String,
    download: i64,
    post_action: i64,
    post_action_delay: i64,
    sequence_mode: i64,
}

impl From<OrderedJob> for Job {
    fn from(row: OrderedJob) -> Self {
        let delay_of = |action| (row.post_action == action).then_some(row.post_action_delay);
        Self {
            id: Id::Number(row.id),
            container_id: Some(Id::Number(row.container_id)),
            package_id: Some(Id::Number(row.package_id)),
            download: row.download != 0,
            procedure: row.run_procedure,
            sequence_mode: row.sequence_mode,
            restart: delay_of(1),
            shutdown: delay_of(2),
            exit: delay_of(3),
        }
    }
}

/// Output in a page of jobs after which it ends, bytes.
const MAX_PAGE_OUTPUT: usize = 16 << 20;

/// Jobs that are given out: not ended, and within their container's time window.
const DUE: &str = "FROM jobs j JOIN job_containers c ON c.id = j.container_id WHERE j.computer_id = ? \
     AND j.state IN (0, 1, 2) AND c.starts_at <= ? AND (c.ends_at IS NULL OR c.ends_at > ?)";

impl Store {
    /// The jobs a computer has to run now, in the order of execution.
    pub(crate) async fn due_jobs(&self, computer: i64, now: Timestamp) -> Result<Vec<Job>, StoreError> {
        let rows: Vec<OrderedJob> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT j.id, j.container_id, j.package_id, j.run_procedure, j.download, j.post_action, \
             j.post_action_delay, c.sequence_mode {DUE} ORDER BY c.priority DESC, c.starts_at, c.id, j.position, j.id"
        )))
        .bind(computer)
        .bind(micros(now))
        .bind(micros(now))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's jobs"))?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Whether a computer has a job for a package now.
    pub(crate) async fn has_due_job(
        &self,
        computer: i64,
        package: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT COUNT(*) {DUE} AND j.package_id = ?"
        )))
        .bind(computer)
        .bind(micros(now))
        .bind(micros(now))
        .bind(package)
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's jobs"))?;
        Ok(count > 0)
    }

    /// Jobs that match, by id, and how many there are. A page ends early where its jobs' output is very long.
    pub(crate) async fn jobs(&self, filter: &JobFilter) -> Result<(i64, Vec<JobView>), StoreError> {
        const CONDITION: &str = "FROM jobs j JOIN computers c ON c.id = j.computer_id \
             WHERE (? IS NULL OR j.computer_id = ?) AND (? IS NULL OR j.container_id = ?) AND (? IS NULL OR j.state = ?)";
        let state = filter.state.map(JobState::code);
        let total = sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) {CONDITION}")))
            .bind(filter.computer)
            .bind(filter.computer)
            .bind(filter.container)
            .bind(filter.container)
            .bind(state)
            .bind(state)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::during("count jobs"))?;
        let mut rows = sqlx::query_as::<_, JobRow>(AssertSqlSafe(format!(
            "SELECT j.id, j.container_id, j.computer_id, c.hostname, j.package_id, j.run_procedure, j.download, \
             j.state, j.return_code, j.output, j.progress, j.changed_at {CONDITION} ORDER BY j.id LIMIT ? OFFSET ?"
        )))
        .bind(filter.computer)
        .bind(filter.computer)
        .bind(filter.container)
        .bind(filter.container)
        .bind(state)
        .bind(state)
        .bind(filter.limit)
        .bind(filter.offset)
        .fetch(&self.readers);
        let mut jobs: Vec<JobView> = Vec::new();
        let mut size = 0;
        while size < MAX_PAGE_OUTPUT
            && let Some(row) = rows.try_next().await.map_err(StoreError::during("list jobs"))?
        {
            size += row.output.len();
            jobs.push(row.into());
        }
        Ok((total, jobs))
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobFilter {
    pub(crate) computer: Option<i64>,
    pub(crate) container: Option<i64>,
    pub(crate) state: Option<JobState>,
    pub(crate) offset: i64,
    pub(crate) limit: i64,
}

#[derive(sqlx::FromRow)]
struct JobRow {
    id: i64,
    container_id: i64,
    computer_id: i64,
    hostname: String,
    package_id: i64,
    run_procedure: String,
    download: i64,
    state: i64,
    return_code: Option<i64>,
    output: String,
    progress: Option<f64>,
    changed_at: i64,
}

/// A job as the REST surface shows it.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    id: i64,
    container_id: i64,
    computer_id: i64,
    hostname: String,
    package_id: i64,
    procedure: String,
    download: bool,
    state: Option<JobState>,
    return_code: Option<i64>,
    output: String,
    progress: Option<f64>,
    changed_at: Timestamp,
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        Self {
            id: row.id,
            container_id: row.container_id,
            computer_id: row.computer_id,
            hostname: row.hostname,
            package_id: row.package_id,
            procedure: row.run_procedure,
            download: row.download != 0,
            state: JobState::from_code(row.state),
            return_code: row.return_code,
            output: row.output,
            progress: row.progress,
            changed_at: timestamp(row.changed_at),
        }
    }
}
