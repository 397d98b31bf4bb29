//! Policies: for all computers or those of a group, for the machine or for users.

use super::groups::Group;
use super::{Batch, Store, StoreError, Write};
use crate::policies::{PolicyBook, ScopedPolicies};
use std::collections::BTreeMap;

/// Replaces the policies of a group, or those for all computers.
#[derive(Debug)]
pub(crate) struct ReplacePolicies {
    pub(crate) group: Option<i64>,
    pub(crate) policies: ScopedPolicies,
}

impl Write for ReplacePolicies {
    type Output = ();
    const OPERATION: &'static str = "store the policies";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        // `= NULL` is never true, and `IS ?` is no SQL everywhere.
        match self.group {
            Some(group) => sqlx::query("DELETE FROM policies WHERE computer_group_id = ?").bind(group),
            None => sqlx::query("DELETE FROM policies WHERE computer_group_id IS NULL"),
        }
        .execute(batch.connection())
        .await?;
        for (scope, policies) in &self.policies {
            for (name, value) in policies {
                sqlx::query(
                    "INSERT INTO policies (computer_group_id, policy_scope, name, value) VALUES (?, ?, ?, ?)",
                )
                .bind(self.group)
                .bind(scope)
                .bind(name)
                .bind(value.to_string())
                .execute(batch.connection())
                .await?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// All policies, with the tree of groups they are inherited in.
    pub(crate) async fn policies(&self, groups: &[Group]) -> Result<PolicyBook, StoreError> {
        let rows: Vec<(Option<i64>, String, String, String)> =
            sqlx::query_as("SELECT computer_group_id, policy_scope, name, value FROM policies ORDER BY id")
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::during("read the policies"))?;
        let mut owners: BTreeMap<Option<i64>, ScopedPolicies> = BTreeMap::new();
        for (group, scope, name, value) in rows {
            if let Ok(value) = serde_json::from_str(&value) {
                let scopes = owners.entry(group).or_default();
                scopes.entry(scope).or_default().insert(name, value);
            }
        }
        let parents = groups.iter().map(|group| (group.id, group.parent_id));
        Ok(PolicyBook::new(owners, parents.collect()))
    }

    /// The GUIDs of the users that have logged in on a computer.
    pub(crate) async fn user_guids(&self, computer: i64) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT DISTINCT guid FROM logins WHERE computer_id = ? AND guid IS NOT NULL AND guid <> '' ORDER BY guid",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read the users of a computer"))
    }
}
