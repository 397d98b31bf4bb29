//! Packages and their archives.

use super::{Batch, Store, StoreError, Write, micros, timestamp};
use bytes::Bytes;
use oco_protocol::Timestamp;
use serde::Serialize;

/// Adds a package.
#[derive(Debug)]
pub(crate) struct AddPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) procedure: String,
    pub(crate) success_codes: String,
    pub(crate) post_action: i64,
    pub(crate) archive: Option<Bytes>,
    pub(crate) now: Timestamp,
}

impl Write for AddPackage {
    /// None: there is one of that name and version.
    type Output = Option<i64>;
    const OPERATION: &'static str = "add a package";

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        let size = self
            .archive
            .as_ref()
            .map_or(0, |archive| i64::try_from(archive.len()).unwrap_or(i64::MAX));
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO packages (name, version, install_procedure, success_codes, post_action, archive_size, \
             created_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name, version) DO NOTHING RETURNING id",
        )
        .bind(&self.name)
        .bind(&self.version)
        .bind(&self.procedure)
        .bind(&self.success_codes)
        .bind(self.post_action)
        .bind(size)
        .bind(micros(self.now))
        .fetch_optional(batch.connection())
        .await?;
        if let (Some(id), Some(archive)) = (id, &self.archive) {
            sqlx::query("INSERT INTO package_archives (package_id, content) VALUES (?, ?)")
                .bind(id)
                .bind(archive.as_ref())
                .execute(batch.connection())
                .await?;
        }
        Ok(id)
    }
}

/// A package as the REST surface shows it.
#[derive(Debug, Serialize)]
pub(crate) struct PackageView {
    id: i64,
    name: String,
    version: String,
    procedure: String,
    success_codes: String,
    post_action: i64,
    /// Bytes; 0: nothing to download.
    archive_size: i64,
    created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct PackageRow {
    id: i64,
    name: String,
    version: String,
    install_procedure: String,
    success_codes: String,
    post_action: i64,
    archive_size: i64,
    created_at: i64,
}

impl Store {
    /// All packages, by id.
    pub(crate) async fn packages(&self) -> Result<Vec<PackageView>, StoreError> {
        let rows: Vec<PackageRow> = sqlx::query_as(
            "SELECT id, name, version, install_procedure, success_codes, post_action, archive_size, created_at \
             FROM packages ORDER BY id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list packages"))?;
        Ok(rows
            .into_iter()
            .map(|row| PackageView {
                id: row.id,
                name: row.name,
                version: row.version,
                procedure: row.install_procedure,
                success_codes: row.success_codes,
                post_action: row.post_action,
                archive_size: row.archive_size,
                created_at: timestamp(row.created_at),
            })
            .collect())
    }

    /// Whether there is a package of that id with an archive.
    pub(crate) async fn has_archive(&self, package: i64) -> Result<bool, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM packages WHERE id = ? AND archive_size > 0")
                .bind(package)
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::during("look for a package"))?;
        Ok(count > 0)
    }

    /// The archive of a package.
    pub(crate) async fn archive(&self, package: i64) -> Result<Option<Bytes>, StoreError> {
        let content: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT content FROM package_archives WHERE package_id = ?")
                .bind(package)
                .fetch_optional(&self.readers)
                .await
                .map_err(StoreError::during("read a package's archive"))?;
        Ok(content.map(Bytes::from))
    }
}
