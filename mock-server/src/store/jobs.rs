//! Deployments and their jobs.

use super::{Batch, Cache, Computer, Store, StoreError, Write, micros, placeholders, timestamp};
use crate::jobs::{JobState, SEQUENCE_ABORTED_CODE, state_after};
use oco_protocol::Timestamp;
use oco_protocol::job::{Job, JobState as Reported};
use oco_protocol::lenient::Id;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Computers of one statement.
const CHUNK: usize = 200;

/// Which computers a deployment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Targets {
    /// Every computer there is now.
    All,
    /// These.
    Ids(Vec<i64>),
}

/// Makes a container with a job for every package on every computer.
#[derive(Debug)]
pub(crate) struct Deploy {
    pub(crate) cache: Arc<Cache>,
    pub(crate) name: String,
    pub(crate) packages: Vec<i64>,
    pub(crate) targets: Targets,
    pub(crate) priority: i64,
    pub(crate) abort_on_failure: bool,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
    /// Minutes until a package's restart, shutdown or exit.
    pub(crate) restart_timeout: i64,
    pub(crate) now: Timestamp,
}

/// What came of a deployment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    Done { id: i64, jobs: u64 },
    NoSuchPackage(i64),
    NoSuchComputer(i64),
}

impl Write for Deploy {
    type Output = Deployment;
    const OPERATION: &'static str = "store a deployment";

    async fn apply(&self, batch: &mut Batch) -> Result<Deployment, sqlx::Error> {
        for package in &self.packages {
            if !exists(batch, "SELECT 1 FROM packages WHERE id = ?", *package).await? {
                return Ok(Deployment::NoSuchPackage(*package));
            }
        }
        if let Targets::Ids(ids) = &self.targets {
            for computer in ids {
                if !exists(batch, "SELECT 1 FROM computers WHERE id = ?", *computer).await? {
                    return Ok(Deployment::NoSuchComputer(*computer));
                }
            }
        }
        let container = self.insert_container(batch).await?;
        let mut jobs = 0;
        for (position, package) in (0_i64..).zip(&self.packages) {
            jobs += self.insert_jobs(batch, container, position, *package).await?;
        }
        let counts: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT computer_id, COUNT(*) FROM jobs WHERE container_id = ? GROUP BY computer_id",
        )
        .bind(container)
        .fetch_all(batch.connection())
        .await?;
        let (cache, counts) = (self.cache.clone(), counts.into_iter().collect::<BTreeMap<_, _>>());
        batch.after_commit(move || {
            for computer in cache.all() {
                computer.state().active_jobs += counts.get(&computer.id).copied().unwrap_or(0);
            }
        });
        Ok(Deployment::Done { id: container, jobs })
    }
}

impl Deploy {
    async fn insert_container(&self, batch: &mut Batch) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "INSERT INTO job_containers (name, priority, sequence_mode, starts_at, ends_at, created_at) \
             VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(&self.name)
        .bind(self.priority)
        .bind(i64::from(self.abort_on_failure))
        .bind(micros(self.starts_at))
        .bind(self.ends_at.map(micros))
        .bind(micros(self.now))
        .fetch_one(batch.connection())
        .await
    }

    async fn insert_jobs(
        &self,
        batch: &mut Batch,
        container: i64,
        position: i64,
        package: i64,
    ) -> Result<u64, sqlx::Error> {
        let all = [[].as_slice()];
        let chunks: Vec<&[i64]> = match &self.targets {
            Targets::All => all.to_vec(),
            Targets::Ids(ids) => ids.chunks(CHUNK).collect(),
        };
        let mut jobs = 0;
        for ids in chunks {
            let condition = if ids.is_empty() {
                String::new()
            } else {
                format!("AND c.id IN {}", placeholders(1, ids.len()))
            };
            let sql = format!(
                "INSERT INTO jobs (container_id, computer_id, package_id, position, run_procedure, success_codes, \
                 download, post_action, post_action_delay, state, output, created_at, changed_at) \
                 SELECT ?, c.id, p.id, ?, p.install_procedure, p.success_codes, \
                 CASE WHEN p.archive_size > 0 THEN 1 ELSE 0 END, p.post_action, ?, 0, '', ?, ? \
                 FROM packages p CROSS JOIN computers c WHERE p.id = ? {condition} ORDER BY c.id"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .persistent(false)
                .bind(container)
                .bind(position)
                .bind(self.restart_timeout)
                .bind(micros(self.now))
                .bind(micros(self.now))
                .bind(package);
            for id in ids {
                query = query.bind(id);
            }
            jobs += query.execute(batch.connection()).await?.rows_affected();
        }
        Ok(jobs)
    }
}

async fn exists(batch: &mut Batch, sql: &'static str, id: i64) -> Result<bool, sqlx::Error> {
    let row: Option<(i64,)> = sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(batch.connection())
        .await?;
    Ok(row.is_some())
}

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

    /// One deployment with its jobs counted by state.
    pub(crate) async fn deployment(&self, id: i64) -> Result<Option<DeploymentView>, StoreError> {
        let failed = || StoreError::during("read a deployment");
        let row: Option<ContainerRow> = sqlx::query_as(
            "SELECT id, name, priority, sequence_mode, starts_at, ends_at, created_at FROM job_containers WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed())?;
        let Some(row) = row else { return Ok(None) };
        let counts: Vec<(i64, i64)> =
            sqlx::query_as("SELECT state, COUNT(*) FROM jobs WHERE container_id = ? GROUP BY state")
                .bind(id)
                .fetch_all(&self.readers)
                .await
                .map_err(failed())?;
        Ok(Some(DeploymentView {
            id: row.id,
            name: row.name,
            priority: row.priority,
            sequence_mode: row.sequence_mode,
            start: timestamp(row.starts_at),
            end: row.ends_at.map(timestamp),
            created_at: timestamp(row.created_at),
            jobs: by_state(&counts),
        }))
    }

    /// Jobs that match, by id, and how many there are.
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
        let rows: Vec<JobRow> = sqlx::query_as(AssertSqlSafe(format!(
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
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list jobs"))?;
        Ok((total, rows.into_iter().map(Into::into).collect()))
    }
}

/// Counts by the name of the state, zeros included.
pub(super) fn by_state(counts: &[(i64, i64)]) -> BTreeMap<&'static str, i64> {
    let mut by_state: BTreeMap<_, _> = JobState::ALL.into_iter().map(|state| (state.name(), 0)).collect();
    for (code, count) in counts {
        if let Some(state) = JobState::from_code(*code) {
            by_state.insert(state.name(), *count);
        }
    }
    by_state
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
struct ContainerRow {
    id: i64,
    name: String,
    priority: i64,
    sequence_mode: i64,
    starts_at: i64,
    ends_at: Option<i64>,
    created_at: i64,
}

/// A deployment as the REST surface shows it.
#[derive(Debug, Serialize)]
pub(crate) struct DeploymentView {
    id: i64,
    name: String,
    priority: i64,
    sequence_mode: i64,
    start: Timestamp,
    end: Option<Timestamp>,
    created_at: Timestamp,
    jobs: BTreeMap<&'static str, i64>,
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
