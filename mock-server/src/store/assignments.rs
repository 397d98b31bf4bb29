//! What ties packages to computers, taken away again: containers, jobs and installations.

use super::deployment_rules::make_jobs;
use super::jobs::recount;
use super::rows::delete;
use super::{Batch, Cache, Write};
use oco_protocol::Timestamp;
use std::sync::Arc;

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assignment {
    /// With its jobs.
    Container,
    /// Of a container.
    Job,
    /// The package stays on the computer; the server forgets about it.
    Installation,
}

/// Takes one of them away.
#[derive(Debug)]
pub(crate) struct RemoveAssignment {
    pub(crate) cache: Arc<Cache>,
    pub(crate) kind: Assignment,
    pub(crate) id: i64,
    pub(crate) now: Timestamp,
}

impl Write for RemoveAssignment {
    /// False: there is none of that id.
    type Output = bool;
    const OPERATION: &'static str = "remove an assignment";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let sql = match self.kind {
            Assignment::Container => "DELETE FROM job_containers WHERE id = ?",
            Assignment::Job => "DELETE FROM jobs WHERE id = ? AND rule_id IS NULL",
            Assignment::Installation => "DELETE FROM installations WHERE id = ?",
        };
        if self.kind == Assignment::Installation {
            // A rule that wants the package there makes a new job for it.
            sqlx::query(
                "DELETE FROM jobs WHERE rule_id IS NOT NULL AND state NOT IN (0, 1, 2) AND EXISTS \
                 (SELECT 1 FROM installations i WHERE i.id = ? AND i.computer_id = jobs.computer_id \
                 AND i.package_id = jobs.package_id)",
            )
            .bind(self.id)
            .execute(batch.connection())
            .await?;
        }
        let removed = delete(batch, sql, self.id).await?;
        match self.kind {
            Assignment::Installation => make_jobs(batch, &self.cache, self.now).await?,
            Assignment::Container | Assignment::Job => recount(batch, &self.cache).await?,
        }
        Ok(removed)
    }
}
