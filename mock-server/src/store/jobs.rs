//! Jobs: those a computer has to run, and lists.

use super::{Batch, Cache, Store, StoreError, Write, micros, timestamp};
use crate::conditions;
use crate::jobs::{JobId, JobState};
use futures::TryStreamExt;
use oco_protocol::Timestamp;
use oco_protocol::job::Job;
use oco_protocol::lenient::Id;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Ends the jobs that were not begun before the end of their container.
#[derive(Debug)]
pub(crate) struct ExpireJobs {
    pub(crate) cache: Arc<Cache>,
    pub(crate) now: Timestamp,
}

impl Write for ExpireJobs {
    type Output = ();
    const OPERATION: &'static str = "end expired jobs";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        let now = micros(self.now);
        sqlx::query(
            "UPDATE jobs SET state = -2, changed_at = ?, finished_at = ? WHERE state = 0 \
             AND container_id IN (SELECT id FROM job_containers WHERE ends_at <= ?)",
        )
        .bind(now)
        .bind(now)
        .bind(now)
        .execute(batch.connection())
        .await?;
        recount(batch, &self.cache).await
    }
}

/// Has the cache know again how many jobs each computer has.
pub(super) async fn recount(batch: &mut Batch, cache: &Arc<Cache>) -> Result<(), sqlx::Error> {
    // Computers of a shared database are read when they are needed.
    if batch.dialect().is_shared() {
        return Ok(());
    }
    let counts: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT computer_id, COUNT(*) FROM jobs WHERE state IN (0, 1, 2) GROUP BY computer_id",
    )
    .fetch_all(batch.connection())
    .await?;
    let (cache, counts) = (cache.clone(), counts.into_iter().collect::<HashMap<_, _>>());
    batch.after_commit(move || {
        for computer in cache.all() {
            computer.state().active_jobs = counts.get(&computer.id).copied().unwrap_or(0);
        }
    });
    Ok(())
}

/// The jobs a computer has to run now.
#[derive(Debug, Default)]
pub(crate) struct DueJobs {
    /// In the order of execution.
    pub(crate) jobs: Vec<Job>,
    /// Whether there are some whose time is over.
    pub(crate) some_expired: bool,
}

#[derive(sqlx::FromRow)]
struct OrderedJob {
    id: i64,
    container_id: Option<i64>,
    rule_id: Option<i64>,
    package_id: i64,
    run_procedure: String,
    download: i64,
    post_action: i64,
    post_action_delay: i64,
    state: i64,
    sequence_mode: i64,
    ends_at: Option<i64>,
    agent_ip_ranges: Option<String>,
    time_frames: Option<String>,
}

impl From<OrderedJob> for Job {
    fn from(row: OrderedJob) -> Self {
        let delay_of = |action| (row.post_action == action).then_some(row.post_action_delay);
        let rule = row
            .rule_id
            .map(|rule| Id::Text(format!("deployment_rule::{rule}")));
        let id = JobId {
            number: row.id,
            is_dynamic: rule.is_some(),
        };
        Self {
            id: id.to_wire(),
            container_id: rule.or(row.container_id.map(Id::Number)),
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

/// Jobs that have not ended and whose container has begun or whose rule is enabled.
const ACTIVE: &str = "FROM jobs j LEFT JOIN job_containers c ON c.id = j.container_id \
     LEFT JOIN deployment_rules r ON r.id = j.rule_id WHERE j.computer_id = ? \
     AND j.state IN (0, 1, 2) AND (c.starts_at <= ? OR r.enabled = 1)";

impl Store {
    /// The jobs a computer at `address` has to run now.
    pub(crate) async fn due_jobs(
        &self,
        computer: i64,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<DueJobs, StoreError> {
        let rows: Vec<OrderedJob> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT j.id, j.container_id, j.rule_id, j.package_id, j.run_procedure, j.download, j.post_action, \
             j.post_action_delay, j.state, COALESCE(c.sequence_mode, r.sequence_mode) AS sequence_mode, c.ends_at, \
             c.agent_ip_ranges, c.time_frames {ACTIVE} ORDER BY CASE WHEN j.rule_id IS NULL THEN 1 ELSE 0 END, \
             COALESCE(c.priority, r.priority) DESC, c.starts_at, c.id, r.id, j.position, j.id"
        )))
        .bind(computer)
        .bind(micros(now))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's jobs"))?;
        let mut due = DueJobs::default();
        let local = super::date_time(now);
        for row in rows {
            if row.ends_at.is_some_and(|end| end <= micros(now)) {
                due.some_expired |= row.state == JobState::Pending.code();
            } else if conditions::allows_address(row.agent_ip_ranges.as_deref(), address)
                && conditions::allows_time(row.time_frames.as_deref(), local)
            {
                due.jobs.push(row.into());
            }
        }
        Ok(due)
    }

    /// Whether a computer has a job for a package now.
    pub(crate) async fn has_due_job(
        &self,
        computer: i64,
        package: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT COUNT(*) {ACTIVE} AND (c.ends_at IS NULL OR c.ends_at > ?) AND j.package_id = ?"
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

    /// Ends jobs whose time is over, where there are any, so that lists tell.
    pub(crate) async fn settle_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        let expired: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM jobs j JOIN job_containers c ON c.id = j.container_id \
             WHERE j.state = 0 AND c.ends_at <= ?",
        )
        .bind(micros(now))
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::during("look for expired jobs"))?;
        if expired > 0 {
            let cache = self.cache.clone();
            self.write(ExpireJobs { cache, now }).await?;
        }
        Ok(())
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
            "SELECT j.id, j.container_id, j.rule_id, j.computer_id, c.hostname, j.package_id, j.run_procedure, \
             j.is_uninstall, j.download, \
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
    container_id: Option<i64>,
    rule_id: Option<i64>,
    computer_id: i64,
    hostname: String,
    package_id: i64,
    run_procedure: String,
    is_uninstall: i64,
    download: i64,
    state: i64,
    return_code: Option<i64>,
    output: String,
    progress: Option<f64>,
    changed_at: i64,
}

/// A job as the REST surface shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    id: i64,
    /// One of these two is null.
    #[schema(required)]
    container_id: Option<i64>,
    #[schema(required)]
    rule_id: Option<i64>,
    computer_id: i64,
    hostname: String,
    package_id: i64,
    procedure: String,
    uninstall: bool,
    download: bool,
    #[schema(required)]
    state: Option<JobState>,
    #[schema(required)]
    return_code: Option<i64>,
    output: String,
    /// Percent.
    #[schema(required)]
    progress: Option<f64>,
    #[schema(value_type = f64)]
    changed_at: Timestamp,
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        Self {
            id: row.id,
            container_id: row.container_id,
            rule_id: row.rule_id,
            computer_id: row.computer_id,
            hostname: row.hostname,
            package_id: row.package_id,
            procedure: row.run_procedure,
            uninstall: row.is_uninstall != 0,
            download: row.download != 0,
            state: JobState::from_code(row.state),
            return_code: row.return_code,
            output: row.output,
            progress: row.progress,
            changed_at: timestamp(row.changed_at),
        }
    }
}
