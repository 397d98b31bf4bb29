//! Counts over everything stored.

use super::{Store, StoreError, deployments::by_state};
use std::collections::BTreeMap;

/// What is stored, counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By product name; `-` where none is known.
    pub(crate) by_os: BTreeMap<String, i64>,
    pub(crate) by_state: BTreeMap<&'static str, i64>,
    pub(crate) jobs: BTreeMap<&'static str, i64>,
}

impl Store {
    /// Counts computers and jobs.
    pub(crate) async fn counts(&self) -> Result<Counts, StoreError> {
        let by_os: Vec<(String, i64)> = sqlx::query_as(
            "SELECT COALESCE(i.os, '-'), COUNT(*) FROM computers c \
             LEFT JOIN inventories i ON i.computer_id = c.id GROUP BY COALESCE(i.os, '-')",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("count computers by operating system"))?;
        let (new, registered, inventoried): (i64, i64, i64) = sqlx::query_as(
            "SELECT COUNT(CASE WHEN c.agent_key IS NULL THEN 1 END), \
             COUNT(CASE WHEN c.agent_key IS NOT NULL AND i.computer_id IS NULL THEN 1 END), \
             COUNT(CASE WHEN c.agent_key IS NOT NULL AND i.computer_id IS NOT NULL THEN 1 END) \
             FROM computers c LEFT JOIN inventories i ON i.computer_id = c.id",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::during("count computers by state"))?;
        let jobs: Vec<(i64, i64)> = sqlx::query_as("SELECT state, COUNT(*) FROM jobs GROUP BY state")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("count jobs by state"))?;
        Ok(Counts {
            by_os: by_os.into_iter().collect(),
            by_state: [
                ("pre-registered", new),
                ("registered", registered),
                ("inventoried", inventoried),
            ]
            .into(),
            jobs: by_state(&jobs),
        })
    }
}
