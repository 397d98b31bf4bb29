//! Reports of jobs, and what they make of the installations of a computer.

use super::dialect::{OPTIONAL_FLOAT, optional_float};
use super::{Batch, Computer, Write, micros};
use crate::jobs::{JobId, JobState, SEQUENCE_ABORTED_CODE, state_after};
use oco_protocol::Timestamp;
use oco_protocol::job::JobState as Reported;
use sqlx::AssertSqlSafe;
use std::sync::Arc;

/// Stores what an agent reports of a job.
#[derive(Debug)]
pub(crate) struct ReportJob {
    pub(crate) computer: Arc<Computer>,
    pub(crate) job: JobId,
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
    container_id: Option<i64>,
    rule_id: Option<i64>,
    package_id: i64,
    position: i64,
    run_procedure: String,
    success_codes: String,
    upgrade_behavior: i64,
    is_uninstall: i64,
    sequence_mode: i64,
    created_by: Option<i64>,
}

impl Write for ReportJob {
    type Output = ReportOutcome;
    const OPERATION: &'static str = "store a job report";

    async fn apply(&self, batch: &mut Batch) -> Result<ReportOutcome, sqlx::Error> {
        let job: Option<ReportedJob> = sqlx::query_as(
            "SELECT j.computer_id, j.container_id, j.rule_id, j.package_id, j.position, j.run_procedure, \
             j.success_codes, j.upgrade_behavior, j.is_uninstall, \
             COALESCE(c.sequence_mode, r.sequence_mode) AS sequence_mode, \
             COALESCE(c.created_by, r.created_by) AS created_by FROM jobs j \
             LEFT JOIN job_containers c ON c.id = j.container_id \
             LEFT JOIN deployment_rules r ON r.id = j.rule_id WHERE j.id = ?",
        )
        .bind(self.job.number)
        .fetch_optional(batch.connection())
        .await?;
        let Some(job) = job.filter(|job| job.rule_id.is_some() == self.job.is_dynamic) else {
            return Ok(ReportOutcome::UnknownJob);
        };
        if job.computer_id != self.computer.id {
            return Ok(ReportOutcome::ForeignJob);
        }
        batch.answered(&self.computer);
        let state = state_after(self.reported, self.return_code, &job.success_codes);
        self.update(batch, state).await?;
        match state {
            JobState::Failed if job.sequence_mode == 1 => self.abort_rest(batch, &job).await?,
            JobState::Succeeded if job.is_uninstall != 0 => self.forget_installation(batch, &job).await?,
            JobState::Succeeded => self.note_installation(batch, &job).await?,
            _ => {}
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
        let now = micros(self.now);
        let at = |of: JobState| (state == of).then_some(now);
        let ended = matches!(state, JobState::Succeeded | JobState::Failed).then_some(now);
        let (has_progress, progress) = optional_float(self.progress);
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE jobs SET state = ?, return_code = ?, progress = COALESCE({OPTIONAL_FLOAT}, progress), output = ?, \
             changed_at = ?, download_started_at = COALESCE(download_started_at, ?), \
             execution_started_at = COALESCE(execution_started_at, ?), finished_at = ? WHERE id = ?",
        )))
        .bind(state.code())
        .bind(self.return_code)
        .bind(has_progress)
        .bind(progress)
        .bind(&self.output)
        .bind(now)
        .bind(at(JobState::Downloading))
        .bind(at(JobState::Executing))
        .bind(ended)
        .bind(self.job.number)
        .execute(batch.connection())
        .await?;
        Ok(())
    }

    /// Gives up the jobs of the same container that come after this one and have not ended. Those that were not begun before
    /// the end of the container have expired, whether somebody has looked since or not.
    async fn abort_rest(&self, batch: &mut Batch, job: &ReportedJob) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE jobs SET state = -1, return_code = ?, changed_at = ?, finished_at = ? \
             WHERE (container_id = ? OR rule_id = ?) AND computer_id = ? \
             AND (position > ? OR (position = ? AND id > ?)) AND (state IN (1, 2) OR (state = 0 AND NOT EXISTS \
             (SELECT 1 FROM job_containers c WHERE c.id = jobs.container_id AND c.ends_at <= ?)))",
        )
        .bind(SEQUENCE_ABORTED_CODE)
        .bind(micros(self.now))
        .bind(micros(self.now))
        .bind(job.container_id)
        .bind(job.rule_id)
        .bind(job.computer_id)
        .bind(job.position)
        .bind(job.position)
        .bind(self.job.number)
        .bind(micros(self.now))
        .execute(batch.connection())
        .await?;
        Ok(())
    }

    async fn note_installation(&self, batch: &mut Batch, job: &ReportedJob) -> Result<(), sqlx::Error> {
        if job.upgrade_behavior == 1 {
            sqlx::query(
                "DELETE FROM installations WHERE computer_id = ? AND package_id IN (SELECT o.id FROM packages o \
                 JOIN packages p ON p.family_id = o.family_id WHERE p.id = ? AND o.id <> p.id)",
            )
            .bind(job.computer_id)
            .bind(job.package_id)
            .execute(batch.connection())
            .await?;
        }
        sqlx::query(
            "INSERT INTO installations (computer_id, package_id, run_procedure, installed_at, installed_by) \
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (computer_id, package_id) DO UPDATE SET \
             run_procedure = excluded.run_procedure, installed_at = excluded.installed_at, \
             installed_by = excluded.installed_by",
        )
        .bind(job.computer_id)
        .bind(job.package_id)
        .bind(&job.run_procedure)
        .bind(micros(self.now))
        .bind(job.created_by)
        .execute(batch.connection())
        .await?;
        Ok(())
    }

    async fn forget_installation(&self, batch: &mut Batch, job: &ReportedJob) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM installations WHERE computer_id = ? AND package_id = ?")
            .bind(job.computer_id)
            .bind(job.package_id)
            .execute(batch.connection())
            .await?;
        Ok(())
    }
}
