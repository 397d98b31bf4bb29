//! Settings that outlive the process.

use super::{Batch, Store, StoreError, Write};

/// Stores settings by name. Keys are among them, so it has no `Debug`.
pub(crate) struct SaveSettings(pub(crate) Vec<(&'static str, String)>);

impl Write for SaveSettings {
    type Output = ();
    const OPERATION: &'static str = "store the settings";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        for (name, value) in &self.0 {
            sqlx::query(
                "INSERT INTO settings (name, value) VALUES (?, ?) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(name)
            .bind(value)
            .execute(batch.connection())
            .await?;
        }
        Ok(())
    }
}

/// Stores a setting where there is none of that name. Keys are among them, so it has no `Debug`.
pub(crate) struct FirstSetting(pub(crate) &'static str, pub(crate) String);

impl Write for FirstSetting {
    /// What is stored now.
    type Output = String;
    const OPERATION: &'static str = "store a new setting";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<String, sqlx::Error> {
        sqlx::query("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING")
            .bind(self.0)
            .bind(&self.1)
            .execute(batch.connection())
            .await?;
        sqlx::query_scalar("SELECT value FROM settings WHERE name = ?")
            .bind(self.0)
            .fetch_one(batch.connection())
            .await
    }
}

impl Store {
    /// A stored setting.
    pub(crate) async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM settings WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::during("read the settings"))
    }
}
