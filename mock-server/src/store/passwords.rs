//! Rotated passwords and the rules that have them rotated.

use super::rows::exists;
use super::{Batch, Computer, Store, StoreError, Write, micros};
use oco_protocol::{Key, Timestamp};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Age up to which an agent may revoke a password, µs.
const REVOKE_WINDOW: i64 = 5 * 60 * 1_000_000;

/// One password to store or to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PasswordChange {
    pub(crate) username: String,
    pub(crate) password: Key,
    pub(crate) revoke: bool,
}

/// Stores and revokes passwords.
#[derive(Debug)]
pub(crate) struct StorePasswords {
    pub(crate) computer: Arc<Computer>,
    pub(crate) changes: Vec<PasswordChange>,
    /// The rules that hold for the computer.
    pub(crate) rules: Vec<StoredPasswordRule>,
    pub(crate) now: Timestamp,
}

/// What came of the last of some password changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordOutcome {
    /// Nothing happened: no change, or none for an account with a rule.
    Ignored,
    /// Stored, under this id.
    Stored(i64),
    Revoked,
}

impl Write for StorePasswords {
    type Output = PasswordOutcome;
    const OPERATION: &'static str = "store passwords";

    async fn apply(&self, batch: &mut Batch) -> Result<PasswordOutcome, sqlx::Error> {
        batch.answered(&self.computer);
        let mut outcome = PasswordOutcome::Ignored;
        for change in &self.changes {
            let Some(rule) = self.rules.iter().find(|rule| rule.username == change.username) else {
                continue;
            };
            outcome = if change.revoke {
                self.revoke(batch, change).await?
            } else {
                PasswordOutcome::Stored(self.store(batch, change, rule.history).await?)
            };
        }
        Ok(outcome)
    }
}

impl StorePasswords {
    async fn store(
        &self,
        batch: &mut Batch,
        change: &PasswordChange,
        history: Option<i64>,
    ) -> Result<i64, sqlx::Error> {
        let id = sqlx::query_scalar(
            "INSERT INTO passwords (computer_id, username, password, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        )
        .bind(self.computer.id)
        .bind(&change.username)
        .bind(change.password.expose())
        .bind(micros(self.now))
        .fetch_one(batch.connection())
        .await?;
        if let Some(history) = history {
            self.forget_oldest(batch, change, history).await?;
        }
        Ok(id)
    }

    /// Forgets the passwords of an account but the latest one and `history` before it. Those that can be revoked yet do not
    /// count: the computer still has the one before, if it could not set them.
    async fn forget_oldest(
        &self,
        batch: &mut Batch,
        change: &PasswordChange,
        history: i64,
    ) -> Result<(), sqlx::Error> {
        let passwords: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT id, created_at FROM passwords WHERE computer_id = ? AND username = ? \
             ORDER BY created_at DESC, id DESC",
        )
        .bind(self.computer.id)
        .bind(&change.username)
        .fetch_all(batch.connection())
        .await?;
        let mut lasting = 0;
        for (id, created_at) in passwords {
            if lasting > history {
                sqlx::query("DELETE FROM passwords WHERE id = ?")
                    .bind(id)
                    .execute(batch.connection())
                    .await?;
            }
            lasting += i64::from(created_at <= micros(self.now) - REVOKE_WINDOW);
        }
        Ok(())
    }

    async fn revoke(
        &self,
        batch: &mut Batch,
        change: &PasswordChange,
    ) -> Result<PasswordOutcome, sqlx::Error> {
        let removed = sqlx::query(
            "DELETE FROM passwords WHERE computer_id = ? AND username = ? AND password = ? AND created_at > ?",
        )
        .bind(self.computer.id)
        .bind(&change.username)
        .bind(change.password.expose())
        .bind(micros(self.now) - REVOKE_WINDOW)
        .execute(batch.connection())
        .await?
        .rows_affected();
        Ok(if removed > 0 {
            PasswordOutcome::Revoked
        } else {
            PasswordOutcome::Ignored
        })
    }
}

/// Adds a rule that has a local account's password rotated on every computer.
#[derive(Debug)]
pub(crate) struct AddPasswordRule {
    pub(crate) computer_group: Option<i64>,
    pub(crate) username: String,
    pub(crate) alphabet: String,
    pub(crate) length: i64,
    /// Seconds.
    pub(crate) valid_for: i64,
    /// Passwords that are kept beside the current one; none: all.
    pub(crate) history: Option<i64>,
}

impl Write for AddPasswordRule {
    /// None: there is one for that account and group, or no such group.
    type Output = Option<i64>;
    const OPERATION: &'static str = "add a password rule";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        let others: Vec<Option<i64>> =
            sqlx::query_scalar("SELECT computer_group_id FROM password_rules WHERE username = ?")
                .bind(&self.username)
                .fetch_all(batch.connection())
                .await?;
        let no_group = match self.computer_group {
            Some(group) => !exists(batch, "SELECT 1 FROM computer_groups WHERE id = ?", group).await?,
            None => false,
        };
        if others.contains(&self.computer_group) || no_group {
            return Ok(None);
        }
        sqlx::query_scalar(
            "INSERT INTO password_rules (computer_group_id, username, alphabet, length, valid_for, history) \
             VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(self.computer_group)
        .bind(&self.username)
        .bind(&self.alphabet)
        .bind(self.length)
        .bind(self.valid_for)
        .bind(self.history)
        .fetch_one(batch.connection())
        .await
        .map(Some)
    }
}

/// A rule as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[schema(as = PasswordRule)]
pub(crate) struct StoredPasswordRule {
    pub(crate) id: i64,
    /// Null: all computers.
    #[schema(required)]
    pub(crate) computer_group_id: Option<i64>,
    pub(crate) username: String,
    pub(crate) alphabet: String,
    pub(crate) length: i64,
    /// Seconds.
    pub(crate) valid_for: i64,
    /// Null: all are kept.
    #[schema(required)]
    pub(crate) history: Option<i64>,
}

/// Of passwords that are kept, latest first, those to show: the latest one and the history before it.
pub(crate) fn within_history(
    mut passwords: Vec<StoredPassword>,
    rules: &[StoredPasswordRule],
) -> Vec<StoredPassword> {
    let mut seen: HashMap<String, i64> = HashMap::new();
    passwords.retain(|password| {
        let before = seen.entry(password.username.clone()).or_default();
        *before += 1;
        let rule = rules.iter().find(|rule| rule.username == password.username);
        rule.and_then(|rule| rule.history)
            .is_none_or(|history| *before <= history.saturating_add(1))
    });
    passwords
}

/// A password as stored.
#[derive(sqlx::FromRow)]
pub(crate) struct StoredPassword {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) created_at: i64,
}

impl Store {
    /// All rules, by id.
    pub(crate) async fn password_rules(&self) -> Result<Vec<StoredPasswordRule>, StoreError> {
        sqlx::query_as("SELECT id, computer_group_id, username, alphabet, length, valid_for, history FROM password_rules ORDER BY id")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("read the password rules"))
    }

    /// The latest password of each account that has a rule.
    pub(crate) async fn latest_passwords(&self, computer: i64) -> Result<Vec<StoredPassword>, StoreError> {
        sqlx::query_as(
            "SELECT p.username, p.password, p.created_at FROM (SELECT DISTINCT username FROM password_rules) r \
             JOIN passwords p ON p.id = (SELECT id FROM passwords WHERE computer_id = ? AND username = r.username \
             ORDER BY created_at DESC, id DESC LIMIT 1)",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's latest passwords"))
    }

    /// The passwords of a computer, latest first.
    pub(crate) async fn passwords_of(&self, computer: i64) -> Result<Vec<StoredPassword>, StoreError> {
        sqlx::query_as(
            "SELECT username, password, created_at FROM passwords WHERE computer_id = ? ORDER BY created_at DESC, id DESC",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's passwords"))
    }
}
