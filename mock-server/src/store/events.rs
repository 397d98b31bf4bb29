//! Events of computers and the rules that ask for them.

use super::rows::delete;
use super::{Batch, Computer, Store, StoreError, Write};
use serde::Serialize;
use std::sync::Arc;

/// One event, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EventRow {
    pub(crate) log: String,
    pub(crate) provider: String,
    pub(crate) event_id: i64,
    pub(crate) level: String,
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub(crate) timestamp: String,
    /// Its fields as a JSON object.
    pub(crate) data: String,
    #[serde(skip)]
    pub(crate) digest: [u8; 16],
}

/// Stores events.
#[derive(Debug)]
pub(crate) struct StoreEvents {
    pub(crate) computer: Arc<Computer>,
    pub(crate) events: Vec<EventRow>,
}

impl Write for StoreEvents {
    /// The id of the last event that was new.
    type Output = Option<i64>;
    const OPERATION: &'static str = "store events";

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        batch.answered(&self.computer);
        let mut last = None;
        for event in &self.events {
            let id: Option<i64> = sqlx::query_scalar(
                "INSERT INTO events (computer_id, digest, log, provider, event_id, level, happened_at, data) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (computer_id, digest) DO NOTHING RETURNING id",
            )
            .bind(self.computer.id)
            .bind(event.digest.as_slice())
            .bind(&event.log)
            .bind(&event.provider)
            .bind(event.event_id)
            .bind(&event.level)
            .bind(&event.timestamp)
            .bind(&event.data)
            .fetch_optional(batch.connection())
            .await?;
            last = id.or(last);
        }
        Ok(last)
    }
}

/// What a rule asks computers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleKind {
    Events,
    Passwords,
}

/// Removes a rule; what computers have sent by it stays.
#[derive(Debug)]
pub(crate) struct RemoveRule {
    pub(crate) kind: RuleKind,
    pub(crate) id: i64,
}

impl Write for RemoveRule {
    /// False: there is no such rule.
    type Output = bool;
    const OPERATION: &'static str = "remove a rule";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let sql = match self.kind {
            RuleKind::Events => "DELETE FROM event_rules WHERE id = ?",
            RuleKind::Passwords => "DELETE FROM password_rules WHERE id = ?",
        };
        delete(batch, sql, self.id).await
    }
}

/// Adds a rule that asks computers for events.
#[derive(Debug)]
pub(crate) struct AddEventRule {
    pub(crate) log: String,
    pub(crate) query: String,
}

impl Write for AddEventRule {
    type Output = i64;
    const OPERATION: &'static str = "add an event rule";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("INSERT INTO event_rules (log, query) VALUES (?, ?) RETURNING id")
            .bind(&self.log)
            .bind(&self.query)
            .fetch_one(batch.connection())
            .await
    }
}

/// A rule that asks computers for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub(crate) struct EventRule {
    pub(crate) id: i64,
    pub(crate) log: String,
    pub(crate) query: String,
}

/// An event as the REST surface shows it.
#[derive(Debug, Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[schema(as = Event)]
pub(crate) struct EventView {
    id: i64,
    log: String,
    provider: String,
    event_id: i64,
    level: String,
    timestamp: String,
    data: String,
}

impl Store {
    /// All rules, by id.
    pub(crate) async fn event_rules(&self) -> Result<Vec<EventRule>, StoreError> {
        sqlx::query_as("SELECT id, log, query FROM event_rules ORDER BY id")
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("read the event rules"))
    }

    /// When the latest event of a computer happened.
    pub(crate) async fn last_event(&self, computer: i64) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT MAX(happened_at) FROM events WHERE computer_id = ?")
            .bind(computer)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::during("read a computer's latest event"))
    }

    /// Events of a computer, latest first.
    pub(crate) async fn events_of(&self, computer: i64, limit: i64) -> Result<Vec<EventView>, StoreError> {
        sqlx::query_as(
            "SELECT id, log, provider, event_id, level, happened_at AS timestamp, data FROM events \
             WHERE computer_id = ? ORDER BY happened_at DESC, id DESC LIMIT ?",
        )
        .bind(computer)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's events"))
    }
}
