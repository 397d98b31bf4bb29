//! What the client API lists, as rows; their names there are given by [`crate::client_api`].

use super::dialect::Dialect;
use super::{Store, StoreError};
use sqlx::AssertSqlSafe;

/// A computer with everything that lists show.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ComputerRow {
    pub(crate) id: i64,
    pub(crate) uid: Option<String>,
    pub(crate) hostname: String,
    pub(crate) agent_version: Option<String>,
    pub(crate) remote_address: Option<String>,
    pub(crate) notes: String,
    pub(crate) force_update: i64,
    pub(crate) agent_key: Option<String>,
    pub(crate) server_key: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) created_by: Option<i64>,
    pub(crate) os: Option<String>,
    pub(crate) os_version: Option<String>,
    pub(crate) updated_at: Option<i64>,
    pub(crate) agent_timestamp: Option<i64>,
    pub(crate) seen_at: Option<i64>,
    pub(crate) uptime: Option<f64>,
    pub(crate) battery_level: Option<f64>,
    pub(crate) battery_status: Option<i64>,
    /// Inventory fields without a section of their own, as a JSON object.
    pub(crate) facts: Option<String>,
}

const COMPUTERS: &str = "SELECT c.id, c.uid, c.hostname, c.agent_version, c.remote_address, c.notes, c.force_update, \
     c.agent_key, c.server_key, c.created_at, c.created_by, i.os, i.os_version, i.updated_at, k.agent_timestamp, \
     k.seen_at, k.uptime, k.battery_level, k.battery_status, f.content AS facts FROM computers c \
     LEFT JOIN inventories i ON i.computer_id = c.id LEFT JOIN check_ins k ON k.computer_id = c.id \
     LEFT JOIN inventory_sections f ON f.computer_id = c.id AND f.section = 0";

/// A package.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PackageRow {
    pub(crate) id: i64,
    pub(crate) family_id: i64,
    pub(crate) family_name: String,
    pub(crate) version: String,
    pub(crate) notes: String,
    pub(crate) license_count: Option<i64>,
    pub(crate) install_procedure: String,
    pub(crate) success_codes: String,
    pub(crate) post_action: i64,
    pub(crate) upgrade_behavior: i64,
    pub(crate) uninstall_procedure: String,
    pub(crate) uninstall_success_codes: String,
    pub(crate) download_for_uninstall: i64,
    pub(crate) uninstall_post_action: i64,
    pub(crate) compatible_os: String,
    pub(crate) compatible_os_version: String,
    pub(crate) compatible_architecture: String,
    pub(crate) line_endings: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) created_by: Option<i64>,
    pub(crate) created_by_name: Option<String>,
    pub(crate) install_count: i64,
    /// Where it is listed as a member of a group.
    pub(crate) position: Option<i64>,
}

/// Which packages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Packages {
    One(i64),
    OfFamily(i64),
    OfGroup(i64),
}

/// Packages of one name.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FamilyRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) package_count: i64,
    pub(crate) install_count: i64,
    pub(crate) newest: Option<i64>,
    pub(crate) oldest: Option<i64>,
}

/// A package on a computer.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct InstallationRow {
    pub(crate) id: i64,
    pub(crate) computer_id: i64,
    pub(crate) hostname: String,
    pub(crate) package_id: i64,
    pub(crate) version: String,
    pub(crate) family_id: i64,
    pub(crate) family_name: String,
    pub(crate) run_procedure: String,
    pub(crate) installed_at: i64,
    pub(crate) installed_by: Option<i64>,
    pub(crate) installed_by_name: Option<String>,
}

/// Jobs of a computer, package, container or rule.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    /// Those that have not ended.
    Computer(i64),
    /// Those that have not ended.
    Package(i64),
    Container(i64),
    Rule(i64),
}

/// A job.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct JobRow {
    pub(crate) id: i64,
    pub(crate) computer_id: i64,
    pub(crate) hostname: String,
    pub(crate) package_id: i64,
    pub(crate) family_name: String,
    pub(crate) version: String,
    pub(crate) run_procedure: String,
    pub(crate) success_codes: String,
    pub(crate) upgrade_behavior: i64,
    pub(crate) is_uninstall: i64,
    pub(crate) download: i64,
    pub(crate) post_action: i64,
    pub(crate) post_action_delay: i64,
    pub(crate) position: i64,
    pub(crate) state: i64,
    pub(crate) progress: Option<f64>,
    pub(crate) return_code: Option<i64>,
    pub(crate) output: String,
    pub(crate) download_started_at: Option<i64>,
    pub(crate) execution_started_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
    pub(crate) container_id: Option<i64>,
    pub(crate) starts_at: Option<i64>,
    pub(crate) rule_id: Option<i64>,
}

/// A container.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct ContainerRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) priority: i64,
    pub(crate) sequence_mode: i64,
    pub(crate) starts_at: i64,
    pub(crate) ends_at: Option<i64>,
    pub(crate) agent_ip_ranges: Option<String>,
    pub(crate) time_frames: Option<String>,
    pub(crate) use_wol: i64,
    pub(crate) shutdown_waked: i64,
    pub(crate) created_at: i64,
    pub(crate) created_by: Option<i64>,
    pub(crate) created_by_name: Option<String>,
    pub(crate) finished_at: Option<i64>,
    pub(crate) unfinished: i64,
}

/// A user's logins on a computer.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct LoginCount {
    pub(crate) username: String,
    pub(crate) display_name: String,
    pub(crate) guid: Option<String>,
    pub(crate) latest: String,
    pub(crate) logins: i64,
}

impl Store {
    /// Computers, all or those of a group, by host name.
    pub(crate) async fn listed_computers(&self, group: Option<i64>) -> Result<Vec<ComputerRow>, StoreError> {
        let (condition, order) = match group {
            Some(_) => (
                "JOIN computer_group_members m ON m.computer_id = c.id AND m.group_id = ?",
                "ORDER BY c.hostname_key",
            ),
            None => ("", "ORDER BY c.hostname_key"),
        };
        let mut query = sqlx::query_as(AssertSqlSafe(format!("{COMPUTERS} {condition} {order}")));
        if let Some(group) = group {
            query = query.bind(group);
        }
        query
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("list computers"))
    }

    /// One computer.
    pub(crate) async fn listed_computer(&self, id: i64) -> Result<Option<ComputerRow>, StoreError> {
        sqlx::query_as(AssertSqlSafe(format!("{COMPUTERS} WHERE c.id = ?")))
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::during("read a computer"))
    }

    /// Packages with the number of their installations.
    pub(crate) async fn listed_packages(&self, which: Packages) -> Result<Vec<PackageRow>, StoreError> {
        let (position, condition, id) = match which {
            Packages::One(id) => ("NULL", "WHERE p.id = ?", id),
            Packages::OfFamily(id) => ("NULL", "WHERE p.family_id = ?", id),
            Packages::OfGroup(id) => (
                "m.position",
                "JOIN package_group_members m ON m.package_id = p.id WHERE m.group_id = ?",
                id,
            ),
        };
        let sql = format!(
            "SELECT p.id, p.family_id, f.name AS family_name, p.version, p.notes, p.license_count, \
             p.install_procedure, p.success_codes, p.post_action, p.upgrade_behavior, p.uninstall_procedure, \
             p.uninstall_success_codes, p.download_for_uninstall, p.uninstall_post_action, p.compatible_os, \
             p.compatible_os_version, p.compatible_architecture, p.line_endings, p.created_at, p.created_by, \
             u.name AS created_by_name, {position} AS position, \
             (SELECT COUNT(*) FROM installations s WHERE s.package_id = p.id) AS install_count FROM packages p \
             JOIN package_families f ON f.id = p.family_id LEFT JOIN users u ON u.id = p.created_by {condition} \
             ORDER BY position, p.id"
        );
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(id)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("list packages"))
    }

    /// All families, by name.
    pub(crate) async fn families(&self) -> Result<Vec<FamilyRow>, StoreError> {
        sqlx::query_as(
            "SELECT f.id, f.name, f.notes, COUNT(p.id) AS package_count, MAX(p.created_at) AS newest, \
             MIN(p.created_at) AS oldest, (SELECT COUNT(*) FROM installations s JOIN packages o ON o.id = s.package_id \
             WHERE o.family_id = f.id) AS install_count FROM package_families f \
             LEFT JOIN packages p ON p.family_id = f.id GROUP BY f.id, f.name, f.notes ORDER BY f.name",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list package families"))
    }

    /// Installations on a computer, or of a package.
    pub(crate) async fn installations(&self, owner: Owner) -> Result<Vec<InstallationRow>, StoreError> {
        let (condition, id) = match owner {
            Owner::Computer(id) => ("s.computer_id = ?", id),
            Owner::Package(id) => ("s.package_id = ?", id),
            Owner::Container(_) | Owner::Rule(_) => return Ok(Vec::new()),
        };
        let sql = format!(
            "SELECT s.id, s.computer_id, c.hostname, s.package_id, p.version, p.family_id, f.name AS family_name, \
             s.run_procedure, s.installed_at, s.installed_by, u.name AS installed_by_name FROM installations s \
             JOIN computers c ON c.id = s.computer_id JOIN packages p ON p.id = s.package_id \
             JOIN package_families f ON f.id = p.family_id LEFT JOIN users u ON u.id = s.installed_by \
             WHERE {condition} ORDER BY s.id"
        );
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(id)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("list installations"))
    }

    /// The computer that an installation is on.
    pub(crate) async fn computer_of_installation(&self, id: i64) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT computer_id FROM installations WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::during("read an installation"))
    }

    /// The computer that a job of a container is for.
    pub(crate) async fn computer_of_job(&self, id: i64) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT computer_id FROM jobs WHERE id = ? AND rule_id IS NULL")
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(StoreError::during("read a job"))
    }

    /// Jobs, by id.
    pub(crate) async fn listed_jobs(&self, owner: Owner) -> Result<Vec<JobRow>, StoreError> {
        let (condition, id) = match owner {
            Owner::Computer(id) => ("j.computer_id = ? AND j.state IN (0, 1, 2)", id),
            Owner::Package(id) => ("j.package_id = ? AND j.state IN (0, 1, 2)", id),
            Owner::Container(id) => ("j.container_id = ?", id),
            Owner::Rule(id) => ("j.rule_id = ?", id),
        };
        let sql = format!(
            "SELECT j.id, j.computer_id, c.hostname, j.package_id, f.name AS family_name, p.version, \
             j.run_procedure, j.success_codes, j.upgrade_behavior, j.is_uninstall, j.download, j.post_action, \
             j.post_action_delay, j.position, j.state, j.progress, j.return_code, j.output, j.download_started_at, \
             j.execution_started_at, j.finished_at, j.container_id, n.starts_at, j.rule_id FROM jobs j \
             JOIN computers c ON c.id = j.computer_id JOIN packages p ON p.id = j.package_id \
             JOIN package_families f ON f.id = p.family_id LEFT JOIN job_containers n ON n.id = j.container_id \
             WHERE {condition} ORDER BY j.id"
        );
        sqlx::query_as(AssertSqlSafe(sql))
            .bind(id)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("list jobs"))
    }

    /// All containers, by id.
    pub(crate) async fn containers(&self) -> Result<Vec<ContainerRow>, StoreError> {
        sqlx::query_as(
            "SELECT n.id, n.name, n.notes, n.priority, n.sequence_mode, n.starts_at, n.ends_at, n.agent_ip_ranges, \
             n.time_frames, n.use_wol, n.shutdown_waked, n.created_at, n.created_by, u.name AS created_by_name, \
             (SELECT MAX(j.finished_at) FROM jobs j WHERE j.container_id = n.id) AS finished_at, \
             (SELECT COUNT(*) FROM jobs j WHERE j.container_id = n.id AND j.state IN (0, 1, 2)) AS unfinished \
             FROM job_containers n LEFT JOIN users u ON u.id = n.created_by ORDER BY n.id",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("list containers"))
    }

    /// The computers that a container or rule has jobs for.
    pub(crate) async fn computers_with_jobs(&self, owner: Owner) -> Result<Vec<i64>, StoreError> {
        let (sql, id) = match owner {
            Owner::Container(id) => ("SELECT DISTINCT computer_id FROM jobs WHERE container_id = ?", id),
            Owner::Rule(id) => ("SELECT DISTINCT computer_id FROM jobs WHERE rule_id = ?", id),
            Owner::Package(id) => ("SELECT DISTINCT computer_id FROM jobs WHERE package_id = ?", id),
            Owner::Computer(id) => return Ok(vec![id]),
        };
        sqlx::query_scalar(sql)
            .bind(id)
            .fetch_all(&self.readers)
            .await
            .map_err(StoreError::during("read the computers of some jobs"))
    }

    /// Who has logged in on a computer and how often, the latest first.
    pub(crate) async fn login_counts(&self, computer: i64) -> Result<Vec<LoginCount>, StoreError> {
        sqlx::query_as(
            "SELECT username, MAX(display_name) AS display_name, MAX(guid) AS guid, MAX(logged_in_at) AS latest, \
             COUNT(*) AS logins FROM logins WHERE computer_id = ? GROUP BY username ORDER BY latest DESC, username",
        )
        .bind(computer)
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::during("count a computer's logins"))
    }

    /// What the database calls itself.
    pub(crate) async fn database_version(&self) -> Result<String, StoreError> {
        let dialect = self.readers.dialect();
        let version: String = sqlx::query_scalar(dialect.version_query())
            .fetch_one(&self.readers)
            .await
            .map_err(StoreError::during("ask the database for its version"))?;
        Ok(match dialect {
            Dialect::Sqlite => format!("SQLite {version}"),
            Dialect::MariaDb => format!("MariaDB {version}"),
            // It says its name itself.
            Dialect::Postgres => version,
        })
    }
}
