//! Groups of computers and of packages: trees with members.

use super::deployment_rules::make_jobs;
use super::packages::Removal;
use super::rows::{delete, exists};
use super::{Batch, Cache, Store, StoreError, Write};
use oco_protocol::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use std::sync::Arc;

/// What a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Computers,
    Packages,
}

impl GroupKind {
    const fn table(self) -> &'static str {
        match self {
            Self::Computers => "computer_groups",
            Self::Packages => "package_groups",
        }
    }

    const fn exists(self) -> &'static str {
        match self {
            Self::Computers => "SELECT 1 FROM computer_groups WHERE id = ?",
            Self::Packages => "SELECT 1 FROM package_groups WHERE id = ?",
        }
    }

    const fn member_exists(self) -> &'static str {
        match self {
            Self::Computers => "SELECT 1 FROM computers WHERE id = ?",
            Self::Packages => "SELECT 1 FROM packages WHERE id = ?",
        }
    }
}

/// Adds a group.
#[derive(Debug)]
pub(crate) struct AddGroup {
    pub(crate) kind: GroupKind,
    pub(crate) parent: Option<i64>,
    pub(crate) name: String,
}

impl Write for AddGroup {
    /// None: there is no such parent.
    type Output = Option<i64>;
    const OPERATION: &'static str = "add a group";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        if let Some(parent) = self.parent
            && !exists(batch, self.kind.exists(), parent).await?
        {
            return Ok(None);
        }
        let sql = format!(
            "INSERT INTO {} (parent_id, name) VALUES (?, ?) RETURNING id",
            self.kind.table()
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(self.parent)
            .bind(&self.name)
            .fetch_one(batch.connection())
            .await
            .map(Some)
    }
}

/// Removes a group with the groups in it; its members stay. One that users are limited to stays too.
#[derive(Debug)]
pub(crate) struct RemoveGroup {
    pub(crate) kind: GroupKind,
    pub(crate) cache: Arc<Cache>,
    pub(crate) id: i64,
}

impl Write for RemoveGroup {
    type Output = Removal;
    const OPERATION: &'static str = "remove a group";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Removal, sqlx::Error> {
        if self.kind == GroupKind::Computers && self.limits_users(batch).await? {
            return Ok(Removal::InUse);
        }
        let sql = match self.kind {
            GroupKind::Computers => "DELETE FROM computer_groups WHERE id = ?",
            GroupKind::Packages => "DELETE FROM package_groups WHERE id = ?",
        };
        if !delete(batch, sql, self.id).await? {
            return Ok(Removal::NotFound);
        }
        // Rules of the group go with it, and their jobs with them.
        super::jobs::recount(batch, &self.cache).await?;
        if self.kind == GroupKind::Computers {
            publish_memberships(batch, &self.cache).await?;
        }
        Ok(Removal::Done)
    }
}

impl RemoveGroup {
    /// Whether users are limited to it or to a group in it: without it they would have no limit.
    async fn limits_users(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let users: i64 = sqlx::query_scalar(
            "WITH RECURSIVE inside (id) AS (SELECT id FROM computer_groups WHERE id = ? UNION ALL \
             SELECT g.id FROM computer_groups g JOIN inside i ON g.parent_id = i.id) \
             SELECT COUNT(*) FROM user_limits WHERE group_id IN (SELECT id FROM inside)",
        )
        .bind(self.id)
        .fetch_one(batch.connection())
        .await?;
        Ok(users > 0)
    }
}

/// Puts something into a group or takes it out; doing so again changes nothing.
#[derive(Debug)]
pub(crate) struct ChangeMembership {
    pub(crate) kind: GroupKind,
    pub(crate) cache: Arc<Cache>,
    pub(crate) group: i64,
    pub(crate) member: i64,
    pub(crate) belongs: bool,
    pub(crate) now: Timestamp,
}

impl Write for ChangeMembership {
    /// False: there is no such group or member.
    type Output = bool;
    const OPERATION: &'static str = "change a group";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let known = exists(batch, self.kind.exists(), self.group).await?
            && exists(batch, self.kind.member_exists(), self.member).await?;
        if !known {
            return Ok(false);
        }
        match (self.kind, self.belongs) {
            (GroupKind::Computers, true) => {
                self.run(batch, "INSERT INTO computer_group_members (group_id, computer_id) VALUES (?, ?) ON CONFLICT DO NOTHING")
                    .await?;
            }
            (GroupKind::Computers, false) => {
                self.run(
                    batch,
                    "DELETE FROM computer_group_members WHERE group_id = ? AND computer_id = ?",
                )
                .await?;
            }
            (GroupKind::Packages, true) => self.append_package(batch).await?,
            (GroupKind::Packages, false) => {
                self.run(
                    batch,
                    "DELETE FROM package_group_members WHERE group_id = ? AND package_id = ?",
                )
                .await?;
            }
        }
        if self.kind == GroupKind::Computers {
            let groups: Vec<i64> = sqlx::query_scalar(
                "SELECT group_id FROM computer_group_members WHERE computer_id = ? ORDER BY group_id",
            )
            .bind(self.member)
            .fetch_all(batch.connection())
            .await?;
            let (cache, member) = (self.cache.clone(), self.member);
            batch.after_commit(move || {
                if let Some(computer) = cache.by_id(member) {
                    computer.state().groups = groups;
                }
            });
        }
        make_jobs(batch, &self.cache, self.now).await?;
        Ok(true)
    }
}

impl ChangeMembership {
    async fn run(&self, batch: &mut Batch, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql)
            .bind(self.group)
            .bind(self.member)
            .execute(batch.connection())
            .await?;
        Ok(())
    }

    async fn append_package(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT MAX(position) FROM package_group_members WHERE group_id = ?")
                .bind(self.group)
                .fetch_one(batch.connection())
                .await?;
        sqlx::query(
            "INSERT INTO package_group_members (group_id, package_id, position) VALUES (?, ?, ?) \
             ON CONFLICT DO NOTHING",
        )
        .bind(self.group)
        .bind(self.member)
        .bind(last.unwrap_or(0) + 1)
        .execute(batch.connection())
        .await?;
        Ok(())
    }
}

/// Has the cache know again which computers are in which groups.
async fn publish_memberships(batch: &mut Batch, cache: &Arc<Cache>) -> Result<(), sqlx::Error> {
    if batch.dialect().is_shared() {
        return Ok(());
    }
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT computer_id, group_id FROM computer_group_members ORDER BY group_id")
            .fetch_all(batch.connection())
            .await?;
    let mut groups: HashMap<i64, Vec<i64>> = HashMap::new();
    for (computer, group) in rows {
        groups.entry(computer).or_default().push(group);
    }
    let cache = cache.clone();
    batch.after_commit(move || {
        for computer in cache.all() {
            computer.state().groups = groups.remove(&computer.id).unwrap_or_default();
        }
    });
    Ok(())
}

/// A group as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub(crate) struct Group {
    pub(crate) id: i64,
    /// Null: at the top.
    #[schema(required)]
    pub(crate) parent_id: Option<i64>,
    pub(crate) name: String,
}

impl Store {
    /// All groups of a kind, by id.
    pub(crate) async fn groups(&self, kind: GroupKind) -> Result<Vec<Group>, StoreError> {
        let sql = format!("SELECT id, parent_id, name FROM {} ORDER BY id", kind.table());
        sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("list groups"))
    }

    /// The members of a group, packages in their order.
    pub(crate) async fn members(&self, kind: GroupKind, group: i64) -> Result<Vec<i64>, StoreError> {
        let sql = match kind {
            GroupKind::Computers => {
                "SELECT computer_id FROM computer_group_members WHERE group_id = ? ORDER BY computer_id"
            }
            GroupKind::Packages => {
                "SELECT package_id FROM package_group_members WHERE group_id = ? ORDER BY position, package_id"
            }
        };
        sqlx::query_scalar(sql)
            .bind(group)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("list the members of a group"))
    }

    /// The groups that have a package.
    pub(crate) async fn groups_of_package(&self, package: i64) -> Result<Vec<Group>, StoreError> {
        sqlx::query_as(
            "SELECT g.id, g.parent_id, g.name FROM package_groups g JOIN package_group_members m ON m.group_id = g.id \
             WHERE m.package_id = ? ORDER BY g.id",
        )
        .bind(package)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list the groups of a package"))
    }
}
