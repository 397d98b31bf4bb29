//! Old rows, found and removed some at a time.

use super::{Batch, Store, StoreError, Write, date_text, micros, placeholders};
use oco_protocol::Timestamp;
use sqlx::AssertSqlSafe;

/// Rows that one write removes.
const CHUNK: i64 = 500;

/// What is old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Old {
    EventsBefore(Timestamp),
    /// All but the latest ones of a computer.
    EventsBeyond {
        computer: i64,
        kept: i64,
    },
    LoginsBefore(Timestamp),
    /// With its jobs.
    Container(i64),
    /// All but the latest ones of an account.
    Passwords {
        computer: i64,
        username: String,
        kept: i64,
    },
}

/// Removes some of what is old.
#[derive(Debug)]
pub(crate) struct Forget(pub(crate) Old);

impl Write for Forget {
    /// How many rows are gone; 0 where nothing is left.
    type Output = u64;
    const OPERATION: &'static str = "forget old rows";

    async fn apply(&self, batch: &mut Batch) -> Result<u64, sqlx::Error> {
        match &self.0 {
            Old::EventsBefore(time) => {
                let query = "SELECT id FROM events WHERE happened_at < ? ORDER BY happened_at LIMIT ?";
                let query = sqlx::query_scalar(query).bind(date_text(*time)).bind(CHUNK);
                let ids = query.fetch_all(batch.connection()).await?;
                delete(batch, "events", &ids).await
            }
            Old::EventsBeyond { computer, kept } => {
                let query = sqlx::query_scalar(
                    "SELECT id FROM events WHERE computer_id = ? ORDER BY happened_at DESC, id DESC LIMIT ? OFFSET ?",
                );
                let query = query.bind(computer).bind(CHUNK).bind(kept);
                let ids = query.fetch_all(batch.connection()).await?;
                delete(batch, "events", &ids).await
            }
            Old::LoginsBefore(time) => forget_logins(batch, *time).await,
            Old::Container(container) => forget_container(batch, *container).await,
            Old::Passwords {
                computer,
                username,
                kept,
            } => {
                let query = sqlx::query_scalar(
                    "SELECT id FROM passwords WHERE computer_id = ? AND username = ? \
                     ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?",
                );
                let query = query.bind(computer).bind(username).bind(CHUNK).bind(kept);
                let ids = query.fetch_all(batch.connection()).await?;
                delete(batch, "passwords", &ids).await
            }
        }
    }
}

async fn delete(batch: &mut Batch, table: &'static str, ids: &[i64]) -> Result<u64, sqlx::Error> {
    if ids.is_empty() {
        return Ok(0);
    }
    let sql = format!("DELETE FROM {table} WHERE id IN {}", placeholders(1, ids.len()));
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for id in ids {
        query = query.bind(id);
    }
    Ok(query.execute(batch.connection()).await?.rows_affected())
}

async fn forget_logins(batch: &mut Batch, before: Timestamp) -> Result<u64, sqlx::Error> {
    let keys: Vec<(i64, String, String, String)> = sqlx::query_as(
        "SELECT computer_id, logged_in_at, username, console FROM logins WHERE logged_in_at < ? \
         ORDER BY logged_in_at LIMIT ?",
    )
    .bind(date_text(before))
    .bind(CHUNK)
    .fetch_all(batch.connection())
    .await?;
    let mut rows = 0;
    for (computer, logged_in_at, username, console) in keys {
        rows += sqlx::query(
            "DELETE FROM logins WHERE computer_id = ? AND logged_in_at = ? AND username = ? AND console = ?",
        )
        .bind(computer)
        .bind(logged_in_at)
        .bind(username)
        .bind(console)
        .execute(batch.connection())
        .await?
        .rows_affected();
    }
    Ok(rows)
}

/// Removes jobs of the container, and itself with the last of them.
async fn forget_container(batch: &mut Batch, container: i64) -> Result<u64, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT id FROM jobs WHERE container_id = ? ORDER BY id LIMIT ?");
    let query = query.bind(container).bind(CHUNK);
    let ids: Vec<i64> = query.fetch_all(batch.connection()).await?;
    if !ids.is_empty() {
        return delete(batch, "jobs", &ids).await;
    }
    let query = sqlx::query("DELETE FROM job_containers WHERE id = ?").bind(container);
    Ok(query.execute(batch.connection()).await?.rows_affected())
}

impl Store {
    /// The computers that have more than `kept` events.
    pub(crate) async fn computers_with_more_events(&self, kept: i64) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar("SELECT computer_id FROM events GROUP BY computer_id HAVING COUNT(*) > ?")
            .bind(kept)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("count the events of computers"))
    }

    /// The containers in which nothing has happened since `time` and nothing is left to do.
    pub(crate) async fn ended_containers(&self, time: Timestamp) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT n.id FROM job_containers n WHERE n.created_at < ? AND NOT EXISTS (SELECT 1 FROM jobs j \
             WHERE j.container_id = n.id AND (j.state IN (0, 1, 2) OR j.changed_at >= ?)) ORDER BY n.id",
        )
        .bind(micros(time))
        .bind(micros(time))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("look for old containers"))
    }

    /// The accounts that have more than one password: computer, user name and how many.
    pub(crate) async fn accounts_with_old_passwords(&self) -> Result<Vec<(i64, String, i64)>, StoreError> {
        sqlx::query_as(
            "SELECT computer_id, username, COUNT(*) FROM passwords GROUP BY computer_id, username \
             HAVING COUNT(*) > 1 ORDER BY computer_id, username",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("count the passwords of accounts"))
    }
}
