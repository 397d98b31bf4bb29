//! Users of the client API.

use super::cache::key_of;
use super::rows::{delete, exists};
use super::{Batch, Store, StoreError, Write, micros};
use crate::users::{Role, User};
use oco_protocol::Timestamp;

/// Adds a user. Its password hash is a secret of sorts, so it has no `Debug`.
pub(crate) struct AddUser {
    pub(crate) name: String,
    pub(crate) password_hash: String,
    pub(crate) role: Role,
    pub(crate) limits: Vec<i64>,
    pub(crate) now: Timestamp,
}

/// What came of a change of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserOutcome {
    Done(i64),
    NameTaken,
    NoSuchUser,
    NoSuchGroup(i64),
    /// Nobody would be left who may do everything.
    LastAdministrator,
}

impl Write for AddUser {
    type Output = UserOutcome;
    const OPERATION: &'static str = "add a user";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<UserOutcome, sqlx::Error> {
        if let Some(group) = unknown_group(batch, &self.limits).await? {
            return Ok(UserOutcome::NoSuchGroup(group));
        }
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO users (name, name_key, password_hash, user_role, created_at) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (name_key) DO NOTHING RETURNING id",
        )
        .bind(&self.name)
        .bind(key_of(&self.name))
        .bind(&self.password_hash)
        .bind(self.role.name())
        .bind(micros(self.now))
        .fetch_optional(batch.connection())
        .await?;
        let Some(id) = id else {
            return Ok(UserOutcome::NameTaken);
        };
        limit(batch, id, &self.limits).await?;
        Ok(UserOutcome::Done(id))
    }
}

/// Changes a user; what is none stays.
pub(crate) struct ChangeUser {
    pub(crate) id: i64,
    pub(crate) password_hash: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) limits: Option<Vec<i64>>,
}

impl Write for ChangeUser {
    type Output = UserOutcome;
    const OPERATION: &'static str = "change a user";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<UserOutcome, sqlx::Error> {
        if let Some(group) = unknown_group(batch, self.limits.as_deref().unwrap_or_default()).await? {
            return Ok(UserOutcome::NoSuchGroup(group));
        }
        if !exists(batch, "SELECT 1 FROM users WHERE id = ?", self.id).await? {
            return Ok(UserOutcome::NoSuchUser);
        }
        let limited = self.limits.as_ref().is_some_and(|limits| !limits.is_empty());
        let demoted = self.role.is_some_and(|role| role != Role::Administrator);
        if (demoted || limited) && is_last_administrator(batch, self.id).await? {
            return Ok(UserOutcome::LastAdministrator);
        }
        sqlx::query(
            "UPDATE users SET password_hash = COALESCE(?, password_hash), user_role = COALESCE(?, user_role) WHERE id = ?",
        )
        .bind(&self.password_hash)
        .bind(self.role.map(Role::name))
        .bind(self.id)
        .execute(batch.connection())
        .await?;
        if let Some(limits) = &self.limits {
            limit(batch, self.id, limits).await?;
        }
        Ok(UserOutcome::Done(self.id))
    }
}

/// Removes a user.
#[derive(Debug)]
pub(crate) struct RemoveUser(pub(crate) i64);

impl Write for RemoveUser {
    type Output = UserOutcome;
    const OPERATION: &'static str = "remove a user";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<UserOutcome, sqlx::Error> {
        if is_last_administrator(batch, self.0).await? {
            return Ok(UserOutcome::LastAdministrator);
        }
        Ok(
            match delete(batch, "DELETE FROM users WHERE id = ?", self.0).await? {
                true => UserOutcome::Done(self.0),
                false => UserOutcome::NoSuchUser,
            },
        )
    }
}

async fn unknown_group(batch: &mut Batch, groups: &[i64]) -> Result<Option<i64>, sqlx::Error> {
    for group in groups {
        if !exists(batch, "SELECT 1 FROM computer_groups WHERE id = ?", *group).await? {
            return Ok(Some(*group));
        }
    }
    Ok(None)
}

async fn is_last_administrator(batch: &mut Batch, id: i64) -> Result<bool, sqlx::Error> {
    let unlimited: Vec<i64> = sqlx::query_scalar(
        "SELECT u.id FROM users u WHERE u.user_role = 'administrator' \
         AND NOT EXISTS (SELECT 1 FROM user_limits l WHERE l.user_id = u.id)",
    )
    .fetch_all(batch.connection())
    .await?;
    Ok(unlimited == [id])
}

async fn limit(batch: &mut Batch, user: i64, groups: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM user_limits WHERE user_id = ?")
        .bind(user)
        .execute(batch.connection())
        .await?;
    for group in groups {
        sqlx::query("INSERT INTO user_limits (user_id, group_id) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(user)
            .bind(group)
            .execute(batch.connection())
            .await?;
    }
    Ok(())
}

impl Store {
    /// All users, by id.
    pub(crate) async fn users(&self) -> Result<Vec<User>, StoreError> {
        let failed = || StoreError::during("read the users");
        let limits: Vec<(i64, i64)> =
            sqlx::query_as("SELECT user_id, group_id FROM user_limits ORDER BY user_id, group_id")
                .fetch_all(&self.readers)
                .await
                .map_err(failed())?;
        let rows: Vec<(i64, String, String, String)> =
            sqlx::query_as("SELECT id, name, password_hash, user_role FROM users ORDER BY id")
                .fetch_all(&self.readers)
                .await
                .map_err(failed())?;
        let users = rows.into_iter().map(|(id, name, password_hash, role)| User {
            id,
            name,
            password_hash,
            role: Role::from_name(&role),
            limits: limits
                .iter()
                .filter(|(user, _)| *user == id)
                .map(|(_, group)| *group)
                .collect(),
        });
        Ok(users.collect())
    }
}
