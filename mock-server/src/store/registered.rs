//! Computers that are registered all at once, with keys that their agents have already: how a test begins with a fleet
//! that has been there for long.

use super::cache::key_of;
use super::computers::{Register, Registration};
use super::inventory::StoreInventory;
use super::software::SoftwareIndex;
use super::{Batch, Write};
use oco_protocol::{Key, Timestamp};
use std::sync::Arc;

/// Registers computers in one go.
#[derive(Debug)]
pub(crate) struct RegisterAll {
    pub(crate) computers: Vec<Known>,
    pub(crate) index: Arc<SoftwareIndex>,
}

/// A computer that has its keys.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) registration: Register,
    /// When its last inventory counts as sent, of which nothing else is known; none: it never was.
    pub(crate) updated_at: Option<Timestamp>,
}

impl Write for RegisterAll {
    /// How each ended; one that has these very keys already is done.
    type Output = Vec<Registration>;
    const OPERATION: &'static str = "register computers";

    async fn apply(&self, batch: &mut Batch) -> Result<Vec<Registration>, sqlx::Error> {
        let mut outcomes = Vec::with_capacity(self.computers.len());
        for known in &self.computers {
            outcomes.push(self.register(batch, known).await?);
        }
        Ok(outcomes)
    }
}

impl RegisterAll {
    async fn register(&self, batch: &mut Batch, known: &Known) -> Result<Registration, sqlx::Error> {
        let computer = match known.registration.give_keys(batch).await? {
            Ok(computer) => computer,
            Err(Registration::AlreadyRegistered) if has_keys(batch, &known.registration).await? => {
                return Ok(Registration::Done);
            }
            Err(refused) => return Ok(refused),
        };
        let Some(updated_at) = known.updated_at else {
            return Ok(Registration::Done);
        };
        let head = StoreInventory {
            computer,
            now: updated_at,
            os: None,
            os_version: None,
            architecture: None,
            volatile: "{}".to_owned(),
            sections: Vec::new(),
            software: None,
            index: self.index.clone(),
            logins: None,
        };
        head.apply(batch).await?;
        Ok(Registration::Done)
    }
}

/// Whether the computer has the keys that it is to get: the same request has come before.
async fn has_keys(batch: &mut Batch, wanted: &Register) -> Result<bool, sqlx::Error> {
    let stored: Option<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT agent_key, server_key FROM computers WHERE hostname_key = ?")
            .bind(key_of(&wanted.hostname))
            .fetch_optional(batch.connection())
            .await?;
    let same = |stored: Option<String>, wanted: &Key| stored.is_some_and(|stored| stored == wanted.expose());
    Ok(stored.is_some_and(|(agent_key, server_key)| {
        same(agent_key, &wanted.agent_key) && same(server_key, &wanted.server_key)
    }))
}
