//! Policies that hold for all computers.

use super::{Batch, Store, StoreError, Write};
use oco_protocol::policy::ScopePolicies;

/// Replaces all policies.
#[derive(Debug)]
pub(crate) struct ReplacePolicies(pub(crate) ScopePolicies);

impl Write for ReplacePolicies {
    type Output = ();
    const OPERATION: &'static str = "store the policies";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM policies")
            .execute(batch.connection())
            .await?;
        for (name, value) in &self.0 {
            sqlx::query("INSERT INTO policies (name, value) VALUES (?, ?)")
                .bind(name)
                .bind(value.to_string())
                .execute(batch.connection())
                .await?;
        }
        Ok(())
    }
}

impl Store {
    /// All policies.
    pub(crate) async fn policies(&self) -> Result<ScopePolicies, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, value FROM policies")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("read the policies"))?;
        let policies = rows
            .into_iter()
            .filter_map(|(name, value)| Some((name, serde_json::from_str(&value).ok()?)));
        Ok(policies.collect())
    }
}
