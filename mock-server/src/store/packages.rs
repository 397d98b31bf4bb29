//! Packages and their archives.

use super::jobs::recount;
use super::rows::delete;
use super::{Batch, Cache, Store, StoreError, Write, micros, timestamp};
use bytes::Bytes;
use oco_protocol::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// Adds a package, and its family where that is new.
#[derive(Debug, Default)]
pub(crate) struct AddPackage {
    /// Of the family.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) notes: String,
    pub(crate) license_count: Option<i64>,
    pub(crate) install: Procedure,
    /// 0 keeps other versions, 1 the installer removes them, 2 jobs uninstall them.
    pub(crate) upgrade_behavior: i64,
    pub(crate) uninstall: Procedure,
    pub(crate) download_for_uninstall: bool,
    pub(crate) compatible_os: String,
    pub(crate) compatible_os_version: String,
    pub(crate) compatible_architecture: String,
    pub(crate) line_endings: Option<String>,
    pub(crate) archive: Option<Bytes>,
    pub(crate) created_by: Option<i64>,
    pub(crate) now: Timestamp,
}

/// What is run, and what it means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Procedure {
    pub(crate) command: String,
    /// Comma-separated; empty: every code.
    pub(crate) success_codes: String,
    /// 0 nothing, 1 restart, 2 shutdown, 3 the agent exits.
    pub(crate) post_action: i64,
}

impl Write for AddPackage {
    /// None: there is one of that name and version.
    type Output = Option<i64>;
    const OPERATION: &'static str = "add a package";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Option<i64>, sqlx::Error> {
        let family = self.family(batch).await?;
        let size = self
            .archive
            .as_ref()
            .map_or(0, |archive| i64::try_from(archive.len()).unwrap_or(i64::MAX));
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO packages (family_id, version, notes, license_count, install_procedure, success_codes, \
             post_action, upgrade_behavior, uninstall_procedure, uninstall_success_codes, download_for_uninstall, \
             uninstall_post_action, compatible_os, compatible_os_version, compatible_architecture, line_endings, \
             archive_size, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (family_id, version) DO NOTHING RETURNING id",
        )
        .bind(family)
        .bind(&self.version)
        .bind(&self.notes)
        .bind(self.license_count)
        .bind(&self.install.command)
        .bind(&self.install.success_codes)
        .bind(self.install.post_action)
        .bind(self.upgrade_behavior)
        .bind(&self.uninstall.command)
        .bind(&self.uninstall.success_codes)
        .bind(i64::from(self.download_for_uninstall))
        .bind(self.uninstall.post_action)
        .bind(&self.compatible_os)
        .bind(&self.compatible_os_version)
        .bind(&self.compatible_architecture)
        .bind(&self.line_endings)
        .bind(size)
        .bind(micros(self.now))
        .bind(self.created_by)
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

impl AddPackage {
    async fn family(&self, batch: &mut Batch) -> Result<i64, sqlx::Error> {
        let known: Option<i64> = sqlx::query_scalar("SELECT id FROM package_families WHERE name = ?")
            .bind(&self.name)
            .fetch_optional(batch.connection())
            .await?;
        if let Some(id) = known {
            return Ok(id);
        }
        sqlx::query_scalar("INSERT INTO package_families (name, notes) VALUES (?, '') RETURNING id")
            .bind(&self.name)
            .fetch_one(batch.connection())
            .await
    }
}

/// Whether something was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    Done,
    NotFound,
    /// It is needed, and removing it was not forced.
    InUse,
}

/// Removes a package with its jobs and installations, and a family that has no other.
#[derive(Debug)]
pub(crate) struct RemovePackage {
    pub(crate) cache: Arc<Cache>,
    pub(crate) id: i64,
    /// Whether jobs and installations do not keep it.
    pub(crate) force: bool,
}

impl Write for RemovePackage {
    type Output = Removal;
    const OPERATION: &'static str = "remove a package";
    const IS_ADMINISTRATION: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Removal, sqlx::Error> {
        let uses: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM jobs WHERE package_id = ? AND state IN (0, 1, 2)) \
             + (SELECT COUNT(*) FROM installations WHERE package_id = ?)",
        )
        .bind(self.id)
        .bind(self.id)
        .fetch_one(batch.connection())
        .await?;
        if uses > 0 && !self.force {
            return Ok(Removal::InUse);
        }
        if !delete(batch, "DELETE FROM packages WHERE id = ?", self.id).await? {
            return Ok(Removal::NotFound);
        }
        sqlx::query("DELETE FROM package_families WHERE id NOT IN (SELECT family_id FROM packages)")
            .execute(batch.connection())
            .await?;
        recount(batch, &self.cache).await?;
        Ok(Removal::Done)
    }
}

/// A package as the REST surface shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Package)]
pub(crate) struct PackageView {
    id: i64,
    name: String,
    version: String,
    procedure: String,
    success_codes: String,
    post_action: i64,
    /// Bytes; 0: nothing to download.
    archive_size: i64,
    #[schema(value_type = f64)]
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
            "SELECT p.id, f.name, p.version, p.install_procedure, p.success_codes, p.post_action, p.archive_size, \
             p.created_at FROM packages p JOIN package_families f ON f.id = p.family_id ORDER BY p.id",
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
