//! The computers in memory: what a hello needs, so that it reads nothing from the database.
//!
//! Where processes share a database, these are the computers that were seen last, and nothing is decided by them (see
//! [`super::sharing`]). Otherwise only the writer changes it, after its commit; the one exception is the last timestamp, which is taken by the request
//! that checks it, so that of two requests with the same timestamp one is refused.

use super::connection::Pool;
use super::inventory::Section;
use crate::generation::Generation;
use oco_protocol::{Key, Timestamp};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// The first 64 bits of the SHA-256 of each inventory section as last stored; 0 where there is none.
pub(crate) type Digests = [i64; Section::COUNT];

/// One computer.
#[derive(Debug)]
pub(crate) struct Computer {
    pub(crate) id: i64,
    /// Held from comparing an inventory with the stored digests until it is stored.
    pub(crate) inventory: Arc<tokio::sync::Mutex<()>>,
    /// The timestamp of the answer to the request that this was read for, where processes share the database.
    pub(crate) answered_at: Timestamp,
    state: Mutex<ComputerState>,
}

/// What is known of a computer.
#[derive(Debug, Clone, Default)]
pub(crate) struct ComputerState {
    pub(crate) uid: Option<String>,
    pub(crate) agent_key: Option<Key>,
    pub(crate) server_key: Option<Key>,
    pub(crate) agent_version: Option<String>,
    pub(crate) last_timestamp: Timestamp,
    pub(crate) last_update: Option<Timestamp>,
    pub(crate) last_login: Option<String>,
    pub(crate) force_update: bool,
    /// Jobs that have not ended, whatever their time window.
    pub(crate) active_jobs: i64,
    /// The groups it is in, without those above them.
    pub(crate) groups: Vec<i64>,
    /// Where its last hello came from.
    pub(crate) remote_address: Option<IpAddr>,
    pub(crate) digests: Digests,
}

impl ComputerState {
    /// What its last hello has said that it speaks; a computer without keys has said nothing yet.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.agent_key
            .as_ref()
            .map(|_| Generation::of_agent(self.agent_version.as_deref()))
    }
}

impl Computer {
    pub(crate) fn new(id: i64, state: ComputerState) -> Self {
        Self {
            id,
            inventory: Arc::default(),
            answered_at: Timestamp::ZERO,
            state: Mutex::new(state),
        }
    }

    /// The state; hold it only for moments.
    pub(crate) fn state(&self) -> MutexGuard<'_, ComputerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `timestamp` as the last one if it is greater than the one before, which is returned.
    pub(crate) fn advance(&self, timestamp: Timestamp) -> Option<Timestamp> {
        let mut state = self.state();
        (timestamp > state.last_timestamp).then(|| std::mem::replace(&mut state.last_timestamp, timestamp))
    }

    /// Undoes [`Computer::advance`], unless there was another since: what was refused was not accepted.
    pub(crate) fn take_back(&self, timestamp: Timestamp, before: Timestamp) {
        let mut state = self.state();
        if state.last_timestamp == timestamp {
            state.last_timestamp = before;
        }
    }

    /// Forgets the last timestamp: the agent does not send any, or not yet.
    pub(crate) fn forget_timestamp(&self) {
        self.state().last_timestamp = Timestamp::ZERO;
    }
}

/// All computers by lower-case host name.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    computers: RwLock<HashMap<String, Arc<Computer>>>,
    names: RwLock<HashMap<i64, String>>,
    keyed: AtomicBool,
}

/// How host names are compared.
pub(crate) fn key_of(hostname: &str) -> String {
    hostname.to_lowercase()
}

impl Cache {
    /// Reads all computers; of a shared database none, because they are read when they are needed.
    pub(crate) async fn load(pool: &Pool) -> Result<Self, sqlx::Error> {
        if pool.dialect().is_shared() {
            return Ok(Self::default());
        }
        let rows: Vec<LoadedComputer> = sqlx::query_as(LOAD).fetch_all(pool).await?;
        let mut digests: HashMap<i64, Digests> = HashMap::new();
        for (computer, section, digest) in sqlx::query_as::<_, (i64, i64, i64)>(LOAD_DIGESTS)
            .fetch_all(pool)
            .await?
        {
            if let Some(slot) = usize::try_from(section)
                .ok()
                .and_then(|section| digests.entry(computer).or_default().get_mut(section))
            {
                *slot = digest;
            }
        }
        let keyed = rows.iter().any(|row| speaks_keyed(row.agent_version.as_deref()));
        let mut groups: HashMap<i64, Vec<i64>> = HashMap::new();
        for (computer, group) in sqlx::query_as::<_, (i64, i64)>(LOAD_GROUPS)
            .fetch_all(pool)
            .await?
        {
            groups.entry(computer).or_default().push(group);
        }
        let names = rows
            .iter()
            .map(|row| (row.id, row.hostname_key.clone()))
            .collect();
        let computers = rows
            .into_iter()
            .map(|row| {
                let digests = digests.remove(&row.id).unwrap_or_default();
                let groups = groups.remove(&row.id).unwrap_or_default();
                (
                    row.hostname_key.clone(),
                    Arc::new(row.into_computer(digests, groups)),
                )
            })
            .collect();
        Ok(Self {
            computers: RwLock::new(computers),
            names: RwLock::new(names),
            keyed: AtomicBool::new(keyed),
        })
    }

    /// The computer of that name, in whatever case.
    pub(crate) fn get(&self, hostname: &str) -> Option<Arc<Computer>> {
        let computers = self.computers.read().unwrap_or_else(PoisonError::into_inner);
        // Host names are mostly lower-case, and keys always.
        let found = computers.get(hostname);
        found.or_else(|| computers.get(&key_of(hostname))).cloned()
    }

    /// The computer of that id.
    pub(crate) fn by_id(&self, id: i64) -> Option<Arc<Computer>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let computers = self.computers.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&id).and_then(|name| computers.get(name)).cloned()
    }

    /// Forgets a computer.
    pub(crate) fn remove(&self, id: i64) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let mut computers = self.computers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.remove(&id) {
            computers.remove(&name);
        }
    }

    /// Adds a computer, or replaces it.
    pub(crate) fn insert(&self, hostname: &str, computer: Arc<Computer>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.insert(computer.id, key_of(hostname));
        let mut computers = self.computers.write().unwrap_or_else(PoisonError::into_inner);
        computers.insert(key_of(hostname), computer);
    }

    /// Whether any computer has spoken the keyed generation, whose requests have no signature.
    pub(crate) fn has_keyed(&self) -> bool {
        self.keyed.load(Ordering::Relaxed)
    }

    /// Notes what a computer says of its agent.
    pub(crate) fn note_version(&self, version: Option<&str>) {
        if speaks_keyed(version) {
            self.keyed.store(true, Ordering::Relaxed);
        }
    }

    /// All computers, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Computer>> {
        let computers = self.computers.read().unwrap_or_else(PoisonError::into_inner);
        computers.values().cloned().collect()
    }
}

fn speaks_keyed(version: Option<&str>) -> bool {
    Generation::of_agent(version) == Generation::Keyed
}

const LOAD: &str = "SELECT c.id, c.hostname_key, c.uid, c.agent_key, c.server_key, c.agent_version, c.force_update, \
     c.remote_address, k.agent_timestamp, i.updated_at, i.last_login, \
     (SELECT COUNT(*) FROM jobs j WHERE j.computer_id = c.id AND j.state IN (0, 1, 2)) AS active_jobs \
     FROM computers c LEFT JOIN check_ins k ON k.computer_id = c.id LEFT JOIN inventories i ON i.computer_id = c.id";

const LOAD_DIGESTS: &str = "SELECT computer_id, section, digest FROM inventory_sections \
     UNION ALL SELECT computer_id, 8, digest FROM computer_software";

const LOAD_GROUPS: &str = "SELECT computer_id, group_id FROM computer_group_members ORDER BY group_id";

#[derive(sqlx::FromRow)]
struct LoadedComputer {
    id: i64,
    hostname_key: String,
    uid: Option<String>,
    agent_key: Option<String>,
    server_key: Option<String>,
    agent_version: Option<String>,
    remote_address: Option<String>,
    force_update: i64,
    agent_timestamp: Option<i64>,
    updated_at: Option<i64>,
    last_login: Option<String>,
    active_jobs: i64,
}

impl LoadedComputer {
    fn into_computer(self, digests: Digests, groups: Vec<i64>) -> Computer {
        let state = ComputerState {
            uid: self.uid,
            agent_key: self.agent_key.map(Key::new),
            server_key: self.server_key.map(Key::new),
            agent_version: self.agent_version,
            last_timestamp: self.agent_timestamp.map_or(Timestamp::ZERO, super::timestamp),
            last_update: self.updated_at.map(super::timestamp),
            last_login: self.last_login,
            force_update: self.force_update != 0,
            active_jobs: self.active_jobs,
            groups,
            remote_address: self.remote_address.and_then(|address| address.parse().ok()),
            digests,
        };
        Computer::new(self.id, state)
    }
}
