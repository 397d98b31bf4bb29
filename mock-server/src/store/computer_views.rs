//! Computers as the REST surface lists and shows them.

use super::cache::key_of;
use super::{Store, StoreError, timestamp};
use oco_protocol::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use utoipa::ToSchema;

/// A computer as the REST surface shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Computer)]
pub(crate) struct ComputerView {
    pub(crate) id: i64,
    pub(crate) hostname: String,
    #[schema(required)]
    uid: Option<String>,
    /// `pre-registered` (no keys yet), `registered` (no inventory yet) or `inventoried`.
    #[schema(pattern = "^(pre-registered|registered|inventoried)$")]
    state: &'static str,
    #[schema(required)]
    agent_version: Option<String>,
    #[schema(required)]
    os: Option<String>,
    #[schema(required)]
    os_version: Option<String>,
    notes: String,
    force_update: bool,
    #[schema(value_type = f64)]
    registered_at: Timestamp,
    #[schema(required, value_type = Option<f64>)]
    seen_at: Option<Timestamp>,
    /// When it last sent an inventory.
    #[schema(required, value_type = Option<f64>)]
    updated_at: Option<Timestamp>,
    /// The timestamp of its last request.
    #[schema(required, value_type = Option<f64>)]
    agent_timestamp: Option<Timestamp>,
    /// Seconds.
    #[schema(required)]
    uptime: Option<f64>,
    #[schema(required)]
    battery_level: Option<f64>,
    #[schema(required)]
    battery_status: Option<i64>,
    /// Jobs that have not ended.
    active_jobs: i64,
}

#[derive(sqlx::FromRow)]
struct ComputerRow {
    id: i64,
    hostname: String,
    uid: Option<String>,
    has_key: i64,
    agent_version: Option<String>,
    os: Option<String>,
    os_version: Option<String>,
    notes: String,
    force_update: i64,
    created_at: i64,
    seen_at: Option<i64>,
    updated_at: Option<i64>,
    agent_timestamp: Option<i64>,
    uptime: Option<f64>,
    battery_level: Option<f64>,
    battery_status: Option<i64>,
    active_jobs: i64,
}

impl From<ComputerRow> for ComputerView {
    fn from(row: ComputerRow) -> Self {
        Self {
            id: row.id,
            hostname: row.hostname,
            uid: row.uid,
            state: match (row.has_key != 0, row.updated_at) {
                (false, _) => "pre-registered",
                (true, None) => "registered",
                (true, Some(_)) => "inventoried",
            },
            agent_version: row.agent_version,
            os: row.os,
            os_version: row.os_version,
            notes: row.notes,
            force_update: row.force_update != 0,
            registered_at: timestamp(row.created_at),
            seen_at: row.seen_at.map(timestamp),
            updated_at: row.updated_at.map(timestamp),
            agent_timestamp: row.agent_timestamp.map(timestamp),
            uptime: row.uptime,
            battery_level: row.battery_level,
            battery_status: row.battery_status,
            active_jobs: row.active_jobs,
        }
    }
}

/// The columns of [`ComputerRow`], up to the condition.
const SELECT: &str = "SELECT c.id, c.hostname, c.uid, CASE WHEN c.agent_key IS NULL THEN 0 ELSE 1 END AS has_key, c.agent_version, i.os, \
     i.os_version, c.notes, c.force_update, c.created_at, k.seen_at, i.updated_at, k.agent_timestamp, k.uptime, \
     k.battery_level, k.battery_status, \
     (SELECT COUNT(*) FROM jobs j WHERE j.computer_id = c.id AND j.state IN (0, 1, 2)) AS active_jobs \
     FROM computers c LEFT JOIN check_ins k ON k.computer_id = c.id LEFT JOIN inventories i ON i.computer_id = c.id";

impl Store {
    /// Computers whose host name contains `filter`, by id, and how many there are.
    pub(crate) async fn computers(
        &self,
        filter: &str,
        offset: i64,
        limit: i64,
    ) -> Result<(i64, Vec<ComputerView>), StoreError> {
        const CONDITION: &str = "WHERE c.hostname_key LIKE ? ESCAPE '!'";
        let pattern = contains_pattern(&key_of(filter));
        let count = format!("SELECT COUNT(*) FROM computers c {CONDITION}");
        let total = sqlx::query_scalar(AssertSqlSafe(count))
            .bind(&pattern)
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::during("count computers"))?;
        let rows: Vec<ComputerRow> = sqlx::query_as(AssertSqlSafe(format!(
            "{SELECT} {CONDITION} ORDER BY c.id LIMIT ? OFFSET ?"
        )))
        .bind(&pattern)
        .bind(limit)
        .bind(offset)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list computers"))?;
        Ok((total, rows.into_iter().map(Into::into).collect()))
    }

    /// One computer.
    pub(crate) async fn computer(&self, id: i64) -> Result<Option<ComputerView>, StoreError> {
        let row: Option<ComputerRow> = sqlx::query_as(AssertSqlSafe(format!("{SELECT} WHERE c.id = ?")))
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::during("read a computer"))?;
        Ok(row.map(Into::into))
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1")
            .execute(&self.readers)
            .await
            .map_err(StoreError::during("reach the database"))?;
        Ok(())
    }

    /// The latest time at which anything was stored for a computer.
    pub(crate) async fn latest_time(&self) -> Result<Timestamp, StoreError> {
        let micros: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(at) FROM (SELECT MAX(seen_at) AS at FROM check_ins UNION ALL \
             SELECT MAX(updated_at) FROM inventories UNION ALL SELECT MAX(changed_at) FROM jobs UNION ALL \
             SELECT MAX(created_at) FROM passwords UNION ALL SELECT MAX(answered_at) FROM check_ins) latest",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::during("read the latest time"))?;
        Ok(micros.map_or(Timestamp::ZERO, timestamp))
    }
}

/// A LIKE pattern for texts that contain `text`, with `!` as the escape character.
pub(super) fn contains_pattern(text: &str) -> String {
    let escaped = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{escaped}%")
}
