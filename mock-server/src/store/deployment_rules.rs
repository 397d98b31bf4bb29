//! Deployment rules: the computers of a group get a job for each package of another group that they do not have.
//!
//! Jobs are made when something they depend on changes: the rule, a membership, or an installation that is taken away.

use super::deployments::{FIRST_STATE, FIRST_STATE_TABLES};
use super::jobs::recount;
use super::rows::{delete, exists};
use super::{Batch, Cache, Store, StoreError, Write, micros};
use oco_protocol::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::sync::Arc;

/// Adds a rule.
#[derive(Debug)]
pub(crate) struct AddDeploymentRule {
    pub(crate) cache: Arc<Cache>,
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) enabled: bool,
    pub(crate) computer_group: i64,
    pub(crate) package_group: i64,
    pub(crate) priority: i64,
    pub(crate) abort_on_failure: bool,
    /// Minutes.
    pub(crate) post_action_timeout: i64,
    pub(crate) now: Timestamp,
}

impl Write for AddDeploymentRule {
    /// None: there is no such group.
    type Output = Option<i64>;
    const OPERATION: &'static str = "add a deployment rule";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        let known = exists(
            batch,
            "SELECT 1 FROM computer_groups WHERE id = ?",
            self.computer_group,
        )
        .await?
            && exists(
                batch,
                "SELECT 1 FROM package_groups WHERE id = ?",
                self.package_group,
            )
            .await?;
        if !known {
            return Ok(None);
        }
        let id = sqlx::query_scalar(
            "INSERT INTO deployment_rules (name, notes, enabled, computer_group_id, package_group_id, priority, \
             sequence_mode, post_action_delay, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(&self.name)
        .bind(&self.notes)
        .bind(i64::from(self.enabled))
        .bind(self.computer_group)
        .bind(self.package_group)
        .bind(self.priority)
        .bind(i64::from(self.abort_on_failure))
        .bind(self.post_action_timeout)
        .bind(micros(self.now))
        .fetch_one(batch.connection())
        .await?;
        make_jobs(batch, &self.cache, self.now).await?;
        Ok(Some(id))
    }
}

/// Enables or disables a rule; its jobs stay, and are given out only while it is enabled.
#[derive(Debug)]
pub(crate) struct EnableDeploymentRule {
    pub(crate) cache: Arc<Cache>,
    pub(crate) id: i64,
    pub(crate) enabled: bool,
    pub(crate) now: Timestamp,
}

impl Write for EnableDeploymentRule {
    /// False: there is no such rule.
    type Output = bool;
    const OPERATION: &'static str = "change a deployment rule";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let changed = sqlx::query("UPDATE deployment_rules SET enabled = ? WHERE id = ?")
            .bind(i64::from(self.enabled))
            .bind(self.id)
            .execute(batch.connection())
            .await?
            .rows_affected();
        make_jobs(batch, &self.cache, self.now).await?;
        Ok(changed > 0)
    }
}

/// Removes a rule with its jobs.
#[derive(Debug)]
pub(crate) struct RemoveDeploymentRule {
    pub(crate) cache: Arc<Cache>,
    pub(crate) id: i64,
}

impl Write for RemoveDeploymentRule {
    /// False: there is no such rule.
    type Output = bool;
    const OPERATION: &'static str = "remove a deployment rule";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let removed = delete(batch, "DELETE FROM deployment_rules WHERE id = ?", self.id).await?;
        recount(batch, &self.cache).await?;
        Ok(removed)
    }
}

/// Makes the jobs that enabled rules want and that are not there. Those that wait and that their rules want no more, since
/// computer or package is in the group no more, are taken away.
pub(super) async fn make_jobs(
    batch: &mut Batch,
    cache: &Arc<Cache>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let unwanted = sqlx::query(
        "DELETE FROM jobs WHERE rule_id IS NOT NULL AND state = 0 AND NOT EXISTS (SELECT 1 FROM deployment_rules r \
         JOIN computer_group_members m ON m.group_id = r.computer_group_id \
         JOIN package_group_members g ON g.group_id = r.package_group_id \
         WHERE r.id = jobs.rule_id AND m.computer_id = jobs.computer_id AND g.package_id = jobs.package_id)",
    )
    .execute(batch.connection())
    .await?
    .rows_affected();
    // An installation that is there makes no job at all, so that a job is made once it is taken away.
    let sql = format!(
        "INSERT INTO jobs (rule_id, computer_id, package_id, position, run_procedure, success_codes, \
         upgrade_behavior, is_uninstall, download, post_action, post_action_delay, state, output, created_at, \
         changed_at) SELECT r.id, c.id, p.id, g.position, p.install_procedure, p.success_codes, p.upgrade_behavior, \
         0, CASE WHEN p.archive_size > 0 THEN 1 ELSE 0 END, p.post_action, r.post_action_delay, {FIRST_STATE}, '', \
         ?, ? FROM deployment_rules r JOIN computer_group_members m ON m.group_id = r.computer_group_id \
         JOIN computers c ON c.id = m.computer_id JOIN package_group_members g ON g.group_id = r.package_group_id \
         JOIN packages p ON p.id = g.package_id {FIRST_STATE_TABLES} WHERE r.enabled = 1 AND s.id IS NULL \
         AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.rule_id = r.id AND j.computer_id = c.id \
         AND j.package_id = p.id) ORDER BY r.id, c.id, g.position"
    );
    let made = sqlx::query(AssertSqlSafe(sql))
        .bind(1_i64)
        .bind(micros(now))
        .bind(micros(now))
        .execute(batch.connection())
        .await?
        .rows_affected();
    if made + unwanted > 0 {
        recount(batch, cache).await?;
    }
    Ok(())
}

/// A rule as it is listed.
#[derive(Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub(crate) struct DeploymentRule {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) enabled: i64,
    pub(crate) computer_group_id: i64,
    pub(crate) package_group_id: i64,
    pub(crate) sequence_mode: i64,
    pub(crate) priority: i64,
    /// Minutes.
    pub(crate) post_action_timeout: i64,
    /// Microseconds of UNIX time.
    pub(crate) created_at: i64,
    #[schema(required)]
    pub(crate) created_by: Option<i64>,
    #[schema(required)]
    pub(crate) created_by_name: Option<String>,
}

impl Store {
    /// All rules, by id.
    pub(crate) async fn deployment_rules(&self) -> Result<Vec<DeploymentRule>, StoreError> {
        sqlx::query_as(
            "SELECT r.id, r.name, r.notes, r.enabled, r.computer_group_id, r.package_group_id, r.sequence_mode, \
             r.priority, r.post_action_delay AS post_action_timeout, r.created_at, r.created_by, \
             u.name AS created_by_name FROM deployment_rules r LEFT JOIN users u ON u.id = r.created_by ORDER BY r.id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list deployment rules"))
    }
}
