//! Several processes that share one database: PostgreSQL or MariaDB behind a balancer.
//!
//! A computer is read at each of its requests, with what is needed to answer, in one query; the same query has the revision
//! of rules, settings, users and groups, which grows with each change of them, so that they are read again where another
//! process has changed them. Of two requests with the same timestamp the database accepts one (see
//! [`check_ins`](super::check_ins)), of two registrations of a computer it keeps one.
//!
//! Every answer to a computer is newer than the one before, whichever process gives it: the time of the last answer is
//! stored with what the request changes, and the next answer is at least a microsecond later. So nothing is assumed of the
//! clocks of the processes but that each is about right: they decide when a job or an update is due.
//!
//! What is in memory of one process only: faults, findings, metrics, and the turns of inventories. Two inventories of one
//! computer that two processes take at the same time are both stored, each section with its digest, in either order.

use super::cache::{Digests, key_of};
use super::inventory::Section;
use super::{Computer, ComputerState, Store, StoreError, timestamp};
use oco_protocol::{Key, Timestamp};
use sqlx::AssertSqlSafe;
use std::collections::HashMap;
use std::sync::Arc;

/// What the database has for a request.
#[derive(Debug)]
pub(crate) struct Found {
    /// Of what an administrator sets up.
    pub(crate) revision: i64,
    /// None where there is no computer of that name.
    pub(crate) computer: Option<Arc<Computer>>,
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    revision: i64,
    id: Option<i64>,
    uid: Option<String>,
    agent_key: Option<String>,
    server_key: Option<String>,
    agent_version: Option<String>,
    force_update: Option<i64>,
    remote_address: Option<String>,
    agent_timestamp: Option<i64>,
    answered_at: Option<i64>,
    updated_at: Option<i64>,
    last_login: Option<String>,
    software_digest: Option<i64>,
    active_jobs: i64,
    digests: Option<String>,
    memberships: Option<String>,
}

impl FoundRow {
    fn state(&mut self) -> ComputerState {
        let mut digests = Digests::default();
        let sections = self.digests.take().unwrap_or_default();
        for (section, digest) in sections.split(',').filter_map(|pair| pair.split_once(':')) {
            let slot = section
                .parse()
                .ok()
                .and_then(|section: usize| digests.get_mut(section));
            if let (Some(slot), Ok(digest)) = (slot, digest.parse()) {
                *slot = digest;
            }
        }
        digests[Section::Software as usize] = self.software_digest.unwrap_or(0);
        let memberships = self.memberships.take().unwrap_or_default();
        let mut groups: Vec<i64> = memberships.split(',').filter_map(|id| id.parse().ok()).collect();
        groups.sort_unstable();
        ComputerState {
            uid: self.uid.take(),
            agent_key: self.agent_key.take().map(Key::new),
            server_key: self.server_key.take().map(Key::new),
            agent_version: self.agent_version.take(),
            last_timestamp: self.agent_timestamp.map_or(Timestamp::ZERO, timestamp),
            last_update: self.updated_at.map(timestamp),
            last_login: self.last_login.take(),
            force_update: self.force_update.unwrap_or(0) != 0,
            active_jobs: self.active_jobs,
            groups,
            remote_address: self
                .remote_address
                .take()
                .and_then(|address| address.parse().ok()),
            digests,
        }
    }
}

impl Store {
    /// Whether other processes may use the same database.
    pub(crate) fn is_shared(&self) -> bool {
        self.readers.dialect().is_shared()
    }

    /// Whether any computer has spoken the keyed generation, whichever process it has spoken to.
    pub(crate) async fn has_keyed(&self) -> Result<bool, StoreError> {
        if !self.cache.has_keyed() && self.is_shared() {
            let versions: Vec<Option<String>> = sqlx::query_scalar(
                "SELECT DISTINCT agent_version FROM computers WHERE agent_key IS NOT NULL",
            )
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("read the versions of agents"))?;
            for version in versions {
                self.cache.note_version(version.as_deref());
            }
        }
        Ok(self.cache.has_keyed())
    }

    /// The revision of what an administrator sets up.
    pub(crate) async fn revision(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT number FROM revisions WHERE id = 1")
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::during("read the revision of the settings"))
    }

    /// A computer as the database has it at `now`. What is returned belongs to one request; a copy stays in the cache for
    /// those who look at the computers seen last.
    pub(crate) async fn read_through(&self, hostname: &str, now: Timestamp) -> Result<Found, StoreError> {
        let dialect = self.readers.dialect();
        let mut row: FoundRow = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT r.number AS revision, c.id, c.uid, c.agent_key, c.server_key, c.agent_version, c.force_update, \
             c.remote_address, k.agent_timestamp, k.answered_at, i.updated_at, i.last_login, w.digest AS software_digest, \
             (SELECT COUNT(*) FROM jobs j WHERE j.computer_id = c.id AND j.state IN (0, 1, 2)) AS active_jobs, \
             (SELECT {} FROM inventory_sections s WHERE s.computer_id = c.id) AS digests, \
             (SELECT {} FROM computer_group_members m WHERE m.computer_id = c.id) AS memberships \
             FROM revisions r LEFT JOIN computers c ON c.hostname_key = ? \
             LEFT JOIN check_ins k ON k.computer_id = c.id LEFT JOIN inventories i ON i.computer_id = c.id \
             LEFT JOIN computer_software w ON w.computer_id = c.id WHERE r.id = 1",
            dialect.join_texts("s.section || ':' || s.digest"),
            dialect.join_texts("'' || m.group_id"),
        )))
        .bind(key_of(hostname))
        .fetch_one(&self.readers)
        .await
        .map_err(StoreError::during("read a computer"))?;
        let revision = row.revision;
        let Some(id) = row.id else {
            return Ok(Found {
                revision,
                computer: None,
            });
        };
        let state = row.state();
        if state.agent_key.is_some() {
            self.cache.note_version(state.agent_version.as_deref());
        }
        let mut computer = Computer::new(id, state);
        let last_answer = row.answered_at.unwrap_or(0);
        computer.answered_at = now.max(timestamp(last_answer.saturating_add(1)));
        if let Some(seen) = self.cache.get(hostname).filter(|seen| seen.id == id) {
            computer.inventory = seen.inventory.clone();
        }
        let computer = Arc::new(computer);
        self.cache.insert(hostname, computer.clone());
        Ok(Found {
            revision,
            computer: Some(computer),
        })
    }

    /// The groups of computers that are in any, by computer.
    pub(crate) async fn memberships(&self) -> Result<HashMap<i64, Vec<i64>>, StoreError> {
        let rows: Vec<(i64, i64)> =
            sqlx::query_as("SELECT computer_id, group_id FROM computer_group_members ORDER BY group_id")
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::during("read the members of groups"))?;
        let mut memberships: HashMap<i64, Vec<i64>> = HashMap::new();
        for (computer, group) in rows {
            memberships.entry(computer).or_default().push(group);
        }
        Ok(memberships)
    }

    /// The groups that a computer is in, without those above them.
    pub(crate) async fn groups_of_computer(&self, computer: i64) -> Result<Vec<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT group_id FROM computer_group_members WHERE computer_id = ? ORDER BY group_id",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read the groups of a computer"))
    }
}
