//! Computers: registration, check-ins and what the REST surface lists.

use super::cache::key_of;
use super::{
    Batch, Cache, Computer, ComputerState, Store, StoreError, Write, micros, placeholders, timestamp,
};
use oco_protocol::{Key, Timestamp};
use serde::Serialize;
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::sync::Arc;

/// Rows of one check-in statement, largest first: few different statements, all of them prepared once.
const CHECK_IN_CHUNKS: [usize; 3] = [64, 8, 1];

/// What a hello leaves behind every time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CheckInRow {
    pub(crate) computer_id: i64,
    pub(crate) agent_timestamp: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) uptime: Option<f64>,
    pub(crate) battery_level: Option<f64>,
    pub(crate) battery_status: Option<i64>,
}

/// Stores a check-in.
#[derive(Debug)]
pub(crate) struct CheckIn(pub(crate) CheckInRow);

impl Write for CheckIn {
    type Output = ();
    const OPERATION: &'static str = "store a check-in";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        batch.check_in(self.0);
        Ok(())
    }
}

/// Writes check-ins in as few statements as possible.
pub(super) async fn flush_check_ins(
    connection: &mut SqliteConnection,
    rows: impl Iterator<Item = &CheckInRow>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = rows.collect();
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let size = CHECK_IN_CHUNKS
            .into_iter()
            .find(|size| *size <= rest.len())
            .unwrap_or(1);
        let (chunk, tail) = rest.split_at(size);
        let sql = format!(
            "INSERT INTO check_ins (computer_id, agent_timestamp, seen_at, uptime, battery_level, battery_status) \
             VALUES {} ON CONFLICT (computer_id) DO UPDATE SET agent_timestamp = excluded.agent_timestamp, \
             seen_at = excluded.seen_at, uptime = excluded.uptime, battery_level = excluded.battery_level, \
             battery_status = excluded.battery_status \
             WHERE excluded.agent_timestamp > check_ins.agent_timestamp",
            placeholders(size, 6)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in chunk {
            query = query
                .bind(row.computer_id)
                .bind(micros(row.agent_timestamp))
                .bind(micros(row.seen_at))
                .bind(row.uptime)
                .bind(row.battery_level)
                .bind(row.battery_status);
        }
        query.execute(&mut *connection).await?;
        rest = tail;
    }
    Ok(())
}

/// Gives a computer its keys at its first hello; an unknown one is added.
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) cache: Arc<Cache>,
    pub(crate) hostname: String,
    pub(crate) uid: Option<String>,
    pub(crate) agent_key: Key,
    pub(crate) server_key: Key,
    pub(crate) agent_version: Option<String>,
    /// The first check-in; its computer id is filled in here.
    pub(crate) check_in: CheckInRow,
}

/// How a registration ended.
#[derive(Debug)]
pub(crate) enum Registration {
    Done(Arc<Computer>),
    /// It has keys already: another request was faster.
    AlreadyRegistered,
    /// Its uid belongs to another computer.
    UidTaken,
}

impl Write for Register {
    type Output = Registration;
    const OPERATION: &'static str = "register a computer";

    async fn apply(&self, batch: &mut Batch) -> Result<Registration, sqlx::Error> {
        let key = key_of(&self.hostname);
        let known: Option<(i64, Option<String>)> =
            sqlx::query_as("SELECT id, agent_key FROM computers WHERE hostname_key = ?")
                .bind(&key)
                .fetch_optional(batch.connection())
                .await?;
        if matches!(known, Some((_, Some(_)))) {
            return Ok(Registration::AlreadyRegistered);
        }
        let known = known.map(|(id, _)| id);
        if uid_is_taken(batch, self.uid.as_deref(), known).await? {
            return Ok(Registration::UidTaken);
        }
        let id = match known {
            Some(id) => id,
            None => insert(batch, &self.hostname, "", self.check_in.seen_at).await?,
        };
        sqlx::query(
            "UPDATE computers SET uid = ?, uid_key = ?, agent_key = ?, server_key = ?, agent_version = ? \
             WHERE id = ?",
        )
        .bind(&self.uid)
        .bind(self.uid.as_deref().map(key_of))
        .bind(self.agent_key.expose())
        .bind(self.server_key.expose())
        .bind(&self.agent_version)
        .bind(id)
        .execute(batch.connection())
        .await?;
        batch.check_in(CheckInRow {
            computer_id: id,
            ..self.check_in
        });
        Ok(Registration::Done(self.publish(batch, id)))
    }
}

impl Register {
    /// Makes the keys valid for further requests, from the commit on.
    fn publish(&self, batch: &mut Batch, id: i64) -> Arc<Computer> {
        let before = self.cache.get(&self.hostname);
        let computer = before.unwrap_or_else(|| Arc::new(Computer::new(id, ComputerState::default())));
        let (cache, hostname, published) = (self.cache.clone(), self.hostname.clone(), computer.clone());
        let (uid, agent_key, server_key) =
            (self.uid.clone(), self.agent_key.clone(), self.server_key.clone());
        let (agent_version, agent_timestamp) = (self.agent_version.clone(), self.check_in.agent_timestamp);
        batch.after_commit(move || {
            let mut state = published.state();
            state.uid = uid;
            state.agent_key = Some(agent_key);
            state.server_key = Some(server_key);
            state.agent_version = agent_version;
            state.last_timestamp = state.last_timestamp.max(agent_timestamp);
            drop(state);
            cache.insert(&hostname, published);
        });
        computer
    }
}

/// Adds a computer that has not said hello yet.
#[derive(Debug)]
pub(crate) struct PreRegister {
    pub(crate) cache: Arc<Cache>,
    pub(crate) hostname: String,
    pub(crate) notes: String,
    pub(crate) now: Timestamp,
}

impl Write for PreRegister {
    /// None: there is one of that name.
    type Output = Option<i64>;
    const OPERATION: &'static str = "add a computer";

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        let known: Option<(i64,)> = sqlx::query_as("SELECT id FROM computers WHERE hostname_key = ?")
            .bind(key_of(&self.hostname))
            .fetch_optional(batch.connection())
            .await?;
        if known.is_some() {
            return Ok(None);
        }
        let id = insert(batch, &self.hostname, &self.notes, self.now).await?;
        let (cache, hostname) = (self.cache.clone(), self.hostname.clone());
        batch.after_commit(move || {
            cache.insert(&hostname, Arc::new(Computer::new(id, ComputerState::default())));
        });
        Ok(Some(id))
    }
}

/// Stores what a known computer says of itself differently from last time.
#[derive(Debug)]
pub(crate) struct Identify {
    pub(crate) computer: Arc<Computer>,
    pub(crate) uid: Option<String>,
    pub(crate) agent_version: Option<String>,
}

impl Write for Identify {
    /// False: the uid belongs to another computer.
    type Output = bool;
    const OPERATION: &'static str = "store a computer's identity";

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let id = self.computer.id;
        if uid_is_taken(batch, self.uid.as_deref(), Some(id)).await? {
            return Ok(false);
        }
        sqlx::query("UPDATE computers SET uid = ?, uid_key = ?, agent_version = ? WHERE id = ?")
            .bind(&self.uid)
            .bind(self.uid.as_deref().map(key_of))
            .bind(&self.agent_version)
            .bind(id)
            .execute(batch.connection())
            .await?;
        let (computer, uid, version) = (
            self.computer.clone(),
            self.uid.clone(),
            self.agent_version.clone(),
        );
        batch.after_commit(move || {
            let mut state = computer.state();
            state.uid = uid;
            state.agent_version = version;
        });
        Ok(true)
    }
}

/// Asks for an inventory at the next hello, or no longer.
#[derive(Debug)]
pub(crate) struct SetForceUpdate {
    pub(crate) computer: Arc<Computer>,
    pub(crate) force_update: bool,
}

impl Write for SetForceUpdate {
    type Output = ();
    const OPERATION: &'static str = "change a computer";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE computers SET force_update = ? WHERE id = ?")
            .bind(i64::from(self.force_update))
            .bind(self.computer.id)
            .execute(batch.connection())
            .await?;
        let (computer, force_update) = (self.computer.clone(), self.force_update);
        batch.after_commit(move || computer.state().force_update = force_update);
        Ok(())
    }
}

async fn insert(batch: &mut Batch, hostname: &str, notes: &str, now: Timestamp) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO computers (hostname, hostname_key, notes, force_update, created_at) VALUES (?, ?, ?, 0, ?) \
         RETURNING id",
    )
    .bind(hostname)
    .bind(key_of(hostname))
    .bind(notes)
    .bind(micros(now))
    .fetch_one(batch.connection())
    .await
}

async fn uid_is_taken(batch: &mut Batch, uid: Option<&str>, own: Option<i64>) -> Result<bool, sqlx::Error> {
    let Some(uid) = uid else { return Ok(false) };
    let owner: Option<(i64,)> = sqlx::query_as("SELECT id FROM computers WHERE uid_key = ?")
        .bind(key_of(uid))
        .fetch_optional(batch.connection())
        .await?;
    Ok(owner.is_some_and(|(id,)| Some(id) != own))
}

/// A computer as the REST surface shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ComputerView {
    pub(crate) id: i64,
    pub(crate) hostname: String,
    uid: Option<String>,
    /// `pre-registered` (no keys yet), `registered` (no inventory yet) or `inventoried`.
    state: &'static str,
    agent_version: Option<String>,
    os: Option<String>,
    os_version: Option<String>,
    notes: String,
    force_update: bool,
    registered_at: Timestamp,
    seen_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    agent_timestamp: Option<Timestamp>,
    uptime: Option<f64>,
    battery_level: Option<f64>,
    battery_status: Option<i64>,
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
const SELECT: &str = "SELECT c.id, c.hostname, c.uid, (c.agent_key IS NOT NULL) AS has_key, c.agent_version, i.os, \
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

    /// The time of the latest check-in of all computers.
    pub(crate) async fn last_seen(&self) -> Result<Timestamp, StoreError> {
        let micros: Option<i64> = sqlx::query_scalar("SELECT MAX(seen_at) FROM check_ins")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::during("read the latest check-in"))?;
        Ok(micros.map_or(Timestamp::ZERO, timestamp))
    }
}

/// A LIKE pattern for texts that contain `text`, with `!` as the escape character.
pub(super) fn contains_pattern(text: &str) -> String {
    let escaped = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{escaped}%")
}
