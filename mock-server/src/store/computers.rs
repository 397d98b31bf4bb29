//! Computers: registration, identity and what an administrator sets.

use super::cache::key_of;
use super::check_ins::CheckInRow;
use super::inventory::{ChangedSection, write_sections};
use super::packages::Removal;
use super::rows::delete;
use super::{Batch, Cache, Computer, ComputerState, Write, micros};
use oco_protocol::{Key, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;

/// What is noted of computers that no administrator has added.
const SELF_REGISTERED: &str = "self_registration";

/// Gives a computer its keys at its first hello; an unknown one is added.
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) cache: Arc<Cache>,
    pub(crate) hostname: String,
    pub(crate) uid: Option<String>,
    pub(crate) agent_key: Key,
    pub(crate) server_key: Key,
    pub(crate) agent_version: Option<String>,
    pub(crate) remote_address: Option<IpAddr>,
    /// The first check-in; its computer id is filled in here.
    pub(crate) check_in: CheckInRow,
    /// What the hello brings of an inventory, stored in the same commit: keys that are stored must be handed out.
    pub(crate) sections: Vec<ChangedSection>,
}

/// How a registration ended.
#[derive(Debug)]
pub(crate) enum Registration {
    Done,
    /// It has keys already: another request was faster.
    AlreadyRegistered,
    /// Its uid belongs to another computer.
    UidTaken,
}

impl Write for Register {
    type Output = Registration;
    const OPERATION: &'static str = "register a computer";

    async fn apply(&self, batch: &mut Batch) -> Result<Registration, sqlx::Error> {
        let computer = match self.give_keys(batch).await? {
            Ok(computer) => computer,
            Err(refused) => return Ok(refused),
        };
        let check_in = CheckInRow {
            computer_id: computer.id,
            ..self.check_in
        };
        batch.check_in(check_in).await?;
        write_sections(batch, &computer, &self.sections).await?;
        Ok(Registration::Done)
    }
}

impl Register {
    /// Stores the keys of a computer that has none, which is added if it is unknown. Else it says why it cannot.
    pub(super) async fn give_keys(
        &self,
        batch: &mut Batch,
    ) -> Result<Result<Arc<Computer>, Registration>, sqlx::Error> {
        let key = key_of(&self.hostname);
        // Before the name: another process that registers the same computer meanwhile is then found by its name.
        let owner = owner_of(batch, self.uid.as_deref()).await?;
        let known: Option<(i64, Option<String>)> =
            sqlx::query_as("SELECT id, agent_key FROM computers WHERE hostname_key = ?")
                .bind(&key)
                .fetch_optional(batch.connection())
                .await?;
        if matches!(known, Some((_, Some(_)))) {
            return Ok(Err(Registration::AlreadyRegistered));
        }
        let known = known.map(|(id, _)| id);
        if owner.is_some() && owner != known {
            return Ok(Err(Registration::UidTaken));
        }
        let id = match known {
            Some(id) => id,
            None => {
                insert(
                    batch,
                    &self.hostname,
                    SELF_REGISTERED,
                    None,
                    self.check_in.seen_at,
                )
                .await?
            }
        };
        let given = sqlx::query(
            "UPDATE computers SET uid = ?, uid_key = ?, agent_key = ?, server_key = ?, agent_version = ?, \
             remote_address = ? WHERE id = ? AND agent_key IS NULL",
        )
        .bind(&self.uid)
        .bind(self.uid.as_deref().map(key_of))
        .bind(self.agent_key.expose())
        .bind(self.server_key.expose())
        .bind(&self.agent_version)
        .bind(self.remote_address.map(|address| address.to_string()))
        .bind(id)
        .execute(batch.connection())
        .await?
        .rows_affected();
        if given == 0 {
            return Ok(Err(Registration::AlreadyRegistered));
        }
        Ok(Ok(self.publish(batch, id)))
    }

    /// Makes the keys valid for further requests, from the commit on.
    fn publish(&self, batch: &mut Batch, id: i64) -> Arc<Computer> {
        let before = self.cache.get(&self.hostname).filter(|before| before.id == id);
        let computer = before.unwrap_or_else(|| Arc::new(Computer::new(id, ComputerState::default())));
        let (cache, hostname, published) = (self.cache.clone(), self.hostname.clone(), computer.clone());
        let (uid, agent_key, server_key) =
            (self.uid.clone(), self.agent_key.clone(), self.server_key.clone());
        let (agent_version, agent_timestamp) = (self.agent_version.clone(), self.check_in.agent_timestamp);
        let remote_address = self.remote_address;
        batch.after_commit(move || {
            cache.note_version(agent_version.as_deref());
            let mut state = published.state();
            state.uid = uid;
            state.agent_key = Some(agent_key);
            state.server_key = Some(server_key);
            state.agent_version = agent_version;
            state.remote_address = remote_address;
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
    pub(crate) created_by: Option<i64>,
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
        let id = insert(batch, &self.hostname, &self.notes, self.created_by, self.now).await?;
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
    pub(crate) cache: Arc<Cache>,
    pub(crate) computer: Arc<Computer>,
    pub(crate) uid: Option<String>,
    pub(crate) agent_version: Option<String>,
    pub(crate) remote_address: Option<IpAddr>,
}

impl Write for Identify {
    /// False: the uid belongs to another computer.
    type Output = bool;
    const OPERATION: &'static str = "store a computer's identity";

    async fn apply(&self, batch: &mut Batch) -> Result<bool, sqlx::Error> {
        let id = self.computer.id;
        let owner = owner_of(batch, self.uid.as_deref()).await?;
        if owner.is_some_and(|owner| owner != id) {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE computers SET uid = ?, uid_key = ?, agent_version = ?, remote_address = ? WHERE id = ?",
        )
        .bind(&self.uid)
        .bind(self.uid.as_deref().map(key_of))
        .bind(&self.agent_version)
        .bind(self.remote_address.map(|address| address.to_string()))
        .bind(id)
        .execute(batch.connection())
        .await?;
        let remote_address = self.remote_address;
        let (cache, computer, uid, version) = (
            self.cache.clone(),
            self.computer.clone(),
            self.uid.clone(),
            self.agent_version.clone(),
        );
        batch.after_commit(move || {
            cache.note_version(version.as_deref());
            let mut state = computer.state();
            state.uid = uid;
            state.agent_version = version;
            state.remote_address = remote_address;
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

/// Removes a computer with everything of it.
#[derive(Debug)]
pub(crate) struct RemoveComputer {
    pub(crate) cache: Arc<Cache>,
    pub(crate) id: i64,
    /// Whether jobs that have not ended do not keep it.
    pub(crate) force: bool,
}

impl Write for RemoveComputer {
    type Output = Removal;
    const OPERATION: &'static str = "remove a computer";

    async fn apply(&self, batch: &mut Batch) -> Result<Removal, sqlx::Error> {
        let jobs: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE computer_id = ? AND state IN (0, 1, 2)")
                .bind(self.id)
                .fetch_one(batch.connection())
                .await?;
        if jobs > 0 && !self.force {
            return Ok(Removal::InUse);
        }
        if !delete(batch, "DELETE FROM computers WHERE id = ?", self.id).await? {
            return Ok(Removal::NotFound);
        }
        let (cache, id) = (self.cache.clone(), self.id);
        batch.after_commit(move || cache.remove(id));
        Ok(Removal::Done)
    }
}

async fn insert(
    batch: &mut Batch,
    hostname: &str,
    notes: &str,
    created_by: Option<i64>,
    now: Timestamp,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO computers (hostname, hostname_key, notes, force_update, created_at, created_by) \
         VALUES (?, ?, ?, 0, ?, ?) RETURNING id",
    )
    .bind(hostname)
    .bind(key_of(hostname))
    .bind(notes)
    .bind(micros(now))
    .bind(created_by)
    .fetch_one(batch.connection())
    .await
}

/// The computer that has a uid.
async fn owner_of(batch: &mut Batch, uid: Option<&str>) -> Result<Option<i64>, sqlx::Error> {
    let Some(uid) = uid else { return Ok(None) };
    sqlx::query_scalar("SELECT id FROM computers WHERE uid_key = ?")
        .bind(key_of(uid))
        .fetch_optional(batch.connection())
        .await
}
