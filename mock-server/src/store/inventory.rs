//! Inventories, stored by section, so that an update writes only the sections that changed.

use super::software::{SoftwareIndex, SoftwareList};
use super::{Batch, Computer, Store, StoreError, Write, cut, micros};
use oco_protocol::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Longest user name and console of a login, characters; the rest is cut off.
const MAX_LOGIN_TEXT: usize = 255;

/// A part of an inventory that is stored, and compared, as a whole. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// All fields without a section of their own, as an object.
    Facts = 0,
    Networks = 1,
    Screens = 2,
    Printers = 3,
    Partitions = 4,
    Users = 5,
    Devices = 6,
    /// Results of service checks, from hellos.
    Services = 7,
    /// Stored apart (see [`super::software`]).
    Software = 8,
    /// Only compared: logins are stored one by one.
    Logins = 9,
}

impl Section {
    /// How many there are.
    pub(crate) const COUNT: usize = 10;

    /// The section of an inventory field.
    pub(crate) fn of_field(name: &str) -> Self {
        match name {
            "networks" => Self::Networks,
            "screens" => Self::Screens,
            "printers" => Self::Printers,
            "partitions" => Self::Partitions,
            "users" => Self::Users,
            "devices" => Self::Devices,
            "software" => Self::Software,
            "logins" => Self::Logins,
            _ => Self::Facts,
        }
    }

    fn name(number: i64) -> Option<&'static str> {
        Some(match number {
            1 => "networks",
            2 => "screens",
            3 => "printers",
            4 => "partitions",
            5 => "users",
            6 => "devices",
            7 => "services",
            _ => return None,
        })
    }
}

/// One installed package or application as received.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SoftwareItem<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) version: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub(crate) description: Cow<'a, str>,
}

/// A text; null is an empty one.
fn null_as_empty<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    // Within an option, a bare `Cow` would always be copied.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Option<Text<'a>> = Option::deserialize(deserializer)?;
    Ok(text.map_or_else(Cow::default, |text| text.0))
}

fn null_as_empty_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl SoftwareItem<'_> {
    /// The same, independent of the request.
    pub(crate) fn into_owned(self) -> SoftwareItem<'static> {
        SoftwareItem {
            name: self.name.into_owned().into(),
            version: self.version.into_owned().into(),
            description: self.description.into_owned().into(),
        }
    }
}

/// One login as received; what is missing or null is empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct LoginRow {
    #[serde(default)]
    pub(crate) guid: Option<String>,
    #[serde(default, deserialize_with = "null_as_empty_string")]
    pub(crate) display_name: String,
    #[serde(default, deserialize_with = "null_as_empty_string")]
    pub(crate) username: String,
    #[serde(default, deserialize_with = "null_as_empty_string")]
    pub(crate) console: String,
    #[serde(default, deserialize_with = "null_as_empty_string")]
    pub(crate) timestamp: String,
}

/// A section that differs from the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangedSection {
    pub(crate) section: Section,
    pub(crate) digest: i64,
    pub(crate) content: String,
}

/// Stores sections on their own: what a hello brings.
#[derive(Debug)]
pub(crate) struct StoreSections {
    pub(crate) computer: Arc<Computer>,
    pub(crate) sections: Vec<ChangedSection>,
}

impl Write for StoreSections {
    type Output = ();
    const OPERATION: &'static str = "store a part of an inventory";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        write_sections(batch, &self.computer, &self.sections).await
    }
}

/// Stores an inventory.
#[derive(Debug)]
pub(crate) struct StoreInventory {
    pub(crate) computer: Arc<Computer>,
    pub(crate) now: Timestamp,
    pub(crate) os: Option<String>,
    pub(crate) os_version: Option<String>,
    pub(crate) architecture: Option<String>,
    /// Fields that differ every time, as a JSON object.
    pub(crate) volatile: String,
    /// Sections, software and logins that differ from the cached ones.
    pub(crate) sections: Vec<ChangedSection>,
    pub(crate) software: Option<(i64, SoftwareList)>,
    pub(crate) index: Arc<SoftwareIndex>,
    pub(crate) logins: Option<(i64, Vec<LoginRow>)>,
}

impl Write for StoreInventory {
    type Output = ();
    const OPERATION: &'static str = "store an inventory";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        batch.answered(&self.computer);
        write_sections(batch, &self.computer, &self.sections).await?;
        self.write_software(batch).await?;
        self.write_logins(batch).await?;
        self.write_head(batch).await
    }
}

impl StoreInventory {
    async fn write_software(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        let Some((digest, list)) = &self.software else {
            return Ok(());
        };
        let (ids, added) = list.ids(batch).await?;
        if !added.is_empty() {
            let index = self.index.clone();
            batch.after_commit(move || index.add(added));
        }
        sqlx::query(
            "INSERT INTO computer_software (computer_id, digest, ids) VALUES (?, ?, ?) \
             ON CONFLICT (computer_id) DO UPDATE SET digest = excluded.digest, ids = excluded.ids",
        )
        .bind(self.computer.id)
        .bind(digest)
        .bind(super::software::encode(&ids))
        .execute(batch.connection())
        .await?;
        remember(batch, &self.computer, Section::Software, *digest);
        Ok(())
    }

    async fn write_logins(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        let Some((digest, logins)) = &self.logins else {
            return Ok(());
        };
        for login in logins {
            sqlx::query(
                "INSERT INTO logins (computer_id, logged_in_at, username, console, display_name, guid) \
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(self.computer.id)
            .bind(&login.timestamp)
            .bind(cut(&login.username, MAX_LOGIN_TEXT))
            .bind(cut(&login.console, MAX_LOGIN_TEXT))
            .bind(&login.display_name)
            .bind(&login.guid)
            .execute(batch.connection())
            .await?;
        }
        remember(batch, &self.computer, Section::Logins, *digest);
        Ok(())
    }

    async fn write_head(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        let last_login = self
            .logins
            .iter()
            .flat_map(|(_, logins)| logins)
            .map(|login| &login.timestamp)
            .max();
        let (last_login, forced) = {
            let state = self.computer.state();
            (
                last_login.max(state.last_login.as_ref()).cloned(),
                state.force_update,
            )
        };
        sqlx::query(
            "INSERT INTO inventories (computer_id, updated_at, os, os_version, architecture, last_login, volatile) \
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (computer_id) DO UPDATE SET updated_at = excluded.updated_at, \
             os = excluded.os, os_version = excluded.os_version, architecture = excluded.architecture, last_login = excluded.last_login, \
             volatile = excluded.volatile",
        )
        .bind(self.computer.id)
        .bind(micros(self.now))
        .bind(&self.os)
        .bind(&self.os_version)
        .bind(&self.architecture)
        .bind(&last_login)
        .bind(&self.volatile)
        .execute(batch.connection())
        .await?;
        if forced {
            sqlx::query("UPDATE computers SET force_update = 0 WHERE id = ?")
                .bind(self.computer.id)
                .execute(batch.connection())
                .await?;
        }
        let (computer, now) = (self.computer.clone(), self.now);
        batch.after_commit(move || {
            let mut state = computer.state();
            state.last_update = state.last_update.max(Some(now));
            state.last_login = state.last_login.take().max(last_login);
            state.force_update &= !forced;
        });
        Ok(())
    }
}

/// Stores sections, over those of before.
pub(super) async fn write_sections(
    batch: &mut Batch,
    computer: &Arc<Computer>,
    sections: &[ChangedSection],
) -> Result<(), sqlx::Error> {
    for changed in sections {
        sqlx::query(
            "INSERT INTO inventory_sections (computer_id, section, digest, content) VALUES (?, ?, ?, ?) \
             ON CONFLICT (computer_id, section) DO UPDATE SET digest = excluded.digest, content = excluded.content",
        )
        .bind(computer.id)
        .bind(changed.section as i64)
        .bind(changed.digest)
        .bind(&changed.content)
        .execute(batch.connection())
        .await?;
        remember(batch, computer, changed.section, changed.digest);
    }
    Ok(())
}

/// Has the digest in the cache follow the stored one.
fn remember(batch: &mut Batch, computer: &Arc<Computer>, section: Section, digest: i64) {
    let computer = computer.clone();
    batch.after_commit(move || computer.state().digests[section as usize] = digest);
}

impl Store {
    /// Everything stored of a computer's inventory, field by field as received; empty where there is none.
    pub(crate) async fn inventory(&self, computer: i64) -> Result<Map<String, Value>, StoreError> {
        let failed = || StoreError::during("read an inventory");
        let mut inventory = Map::new();
        let volatile: Option<String> =
            sqlx::query_scalar("SELECT volatile FROM inventories WHERE computer_id = ?")
                .bind(computer)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed())?;
        let unreadable = |source| StoreError::Content {
            operation: "read an inventory",
            source,
        };
        let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).map_err(unreadable);
        if let Some(volatile) = volatile {
            inventory.extend(object(&volatile)?);
        }
        let sections: Vec<(i64, String)> = sqlx::query_as(
            "SELECT section, content FROM inventory_sections WHERE computer_id = ? ORDER BY section",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(failed())?;
        for (section, content) in sections {
            match Section::name(section) {
                Some(name) => {
                    let value = serde_json::from_str(&content).map_err(unreadable)?;
                    inventory.insert(name.into(), value);
                }
                None => inventory.extend(object(&content)?),
            }
        }
        Ok(inventory)
    }

    /// The logins of a computer, latest first.
    pub(crate) async fn logins_of(&self, computer: i64) -> Result<Vec<LoginView>, StoreError> {
        sqlx::query_as(
            "SELECT logged_in_at AS timestamp, username, console, display_name, guid FROM logins \
             WHERE computer_id = ? ORDER BY logged_in_at DESC, username, console",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("read a computer's logins"))
    }
}

/// One login as the REST surface shows it.
#[derive(Debug, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
#[schema(as = Login)]
pub(crate) struct LoginView {
    timestamp: String,
    username: String,
    console: String,
    display_name: String,
    guid: Option<String>,
}

impl Store {
    /// The operating system of a computer.
    pub(crate) async fn os_of(&self, computer: i64) -> Result<Option<String>, StoreError> {
        let os: Option<Option<String>> =
            sqlx::query_scalar("SELECT os FROM inventories WHERE computer_id = ?")
                .bind(computer)
                .fetch_optional(&self.readers)
                .await
                .map_err(StoreError::during("read a computer's operating system"))?;
        Ok(os.flatten())
    }
}
