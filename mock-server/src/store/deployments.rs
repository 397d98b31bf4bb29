//! Deployments: containers with a job for every package on every computer.

use super::rows::exists;
use super::{Batch, Cache, Store, StoreError, Write, micros, placeholders, timestamp};
use crate::jobs::JobState;
use oco_protocol::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Computers of one statement.
const CHUNK: usize = 200;

/// The state a new job has: some are over before they begin. Binds whether to install again what is there.
pub(super) const FIRST_STATE: &str = "CASE \
     WHEN p.compatible_os <> '' AND v.os IS NOT NULL AND LOWER(v.os) <> LOWER(p.compatible_os) THEN -3 \
     WHEN p.compatible_os_version <> '' AND v.os_version IS NOT NULL \
     AND LOWER(v.os_version) <> LOWER(p.compatible_os_version) THEN -3 \
     WHEN p.compatible_architecture <> '' AND v.architecture IS NOT NULL \
     AND LOWER(v.architecture) <> LOWER(p.compatible_architecture) THEN -3 \
     WHEN ? = 0 AND s.id IS NOT NULL THEN -5 ELSE 0 END";

/// What [`FIRST_STATE`] looks at, joined to a package `p` and a computer `c`.
pub(super) const FIRST_STATE_TABLES: &str = "LEFT JOIN inventories v ON v.computer_id = c.id \
     LEFT JOIN installations s ON s.computer_id = c.id AND s.package_id = p.id";

/// Which computers a deployment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Targets {
    /// Every computer there is now.
    All,
    /// These.
    Ids(Vec<i64>),
}

/// What all containers have.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    pub(crate) notes: String,
    pub(crate) priority: i64,
    pub(crate) abort_on_failure: bool,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
    /// Minutes until a package's restart, shutdown or exit.
    pub(crate) restart_timeout: i64,
    /// Comma-separated; see [`crate::conditions`].
    pub(crate) agent_ip_ranges: Option<String>,
    pub(crate) time_frames: Option<String>,
    pub(crate) use_wol: bool,
    pub(crate) shutdown_waked: bool,
    pub(crate) created_by: Option<i64>,
    pub(crate) now: Timestamp,
}

/// Makes a container with a job for every package on every computer.
#[derive(Debug)]
pub(crate) struct Deploy {
    pub(crate) cache: Arc<Cache>,
    pub(crate) schedule: Schedule,
    pub(crate) packages: Vec<i64>,
    pub(crate) targets: Targets,
    /// Whether packages are installed again where they are already.
    pub(crate) force_same_version: bool,
}

/// What came of a deployment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    Done { id: i64, jobs: u64 },
    NoSuchPackage(i64),
    NoSuchComputer(i64),
    NoSuchInstallation(i64),
}

impl Write for Deploy {
    type Output = Deployment;
    const OPERATION: &'static str = "store a deployment";

    async fn apply(&self, batch: &mut Batch) -> Result<Deployment, sqlx::Error> {
        for package in &self.packages {
            if !exists(batch, "SELECT 1 FROM packages WHERE id = ?", *package).await? {
                return Ok(Deployment::NoSuchPackage(*package));
            }
        }
        if let Targets::Ids(ids) = &self.targets {
            for computer in ids {
                if !exists(batch, "SELECT 1 FROM computers WHERE id = ?", *computer).await? {
                    return Ok(Deployment::NoSuchComputer(*computer));
                }
            }
        }
        let container = insert_container(batch, &self.schedule).await?;
        let mut jobs = 0;
        for (position, package) in (1_i64..).zip(&self.packages) {
            jobs += self.insert_jobs(batch, container, position, *package).await?;
        }
        count_new_jobs(batch, &self.cache, container).await?;
        Ok(Deployment::Done { id: container, jobs })
    }
}

impl Deploy {
    async fn insert_jobs(
        &self,
        batch: &mut Batch,
        container: i64,
        position: i64,
        package: i64,
    ) -> Result<u64, sqlx::Error> {
        let all = [[].as_slice()];
        let chunks: Vec<&[i64]> = match &self.targets {
            Targets::All => all.to_vec(),
            Targets::Ids(ids) => ids.chunks(CHUNK).collect(),
        };
        let mut jobs = 0;
        for ids in chunks {
            let condition = if ids.is_empty() {
                String::new()
            } else {
                format!("AND c.id IN {}", placeholders(1, ids.len()))
            };
            let place = Place {
                container,
                position,
                package,
                computers: ids,
            };
            jobs += self.insert(batch, &place, &uninstalls(&condition)).await?;
            jobs += self.insert(batch, &place, &installs(&condition)).await?;
        }
        Ok(jobs)
    }

    async fn insert(&self, batch: &mut Batch, place: &Place<'_>, sql: &str) -> Result<u64, sqlx::Error> {
        let now = micros(self.schedule.now);
        let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .persistent(false)
            .bind(place.container)
            .bind(place.position)
            .bind(self.schedule.restart_timeout)
            .bind(i64::from(self.force_same_version))
            .bind(now)
            .bind(now)
            .bind(place.package);
        for id in place.computers {
            query = query.bind(id);
        }
        Ok(query.execute(batch.connection()).await?.rows_affected())
    }
}

/// Where jobs go.
struct Place<'a> {
    container: i64,
    position: i64,
    package: i64,
    /// All, where empty.
    computers: &'a [i64],
}

const JOB_COLUMNS: &str = "INSERT INTO jobs (container_id, computer_id, package_id, position, run_procedure, \
     success_codes, upgrade_behavior, is_uninstall, download, post_action, post_action_delay, state, output, \
     created_at, changed_at)";

/// Jobs that install a package.
fn installs(condition: &str) -> String {
    format!(
        "{JOB_COLUMNS} SELECT ?, c.id, p.id, ?, p.install_procedure, p.success_codes, p.upgrade_behavior, 0, \
         CASE WHEN p.archive_size > 0 THEN 1 ELSE 0 END, p.post_action, ?, {FIRST_STATE}, '', ?, ? \
         FROM packages p CROSS JOIN computers c {FIRST_STATE_TABLES} WHERE p.id = ? {condition} ORDER BY c.id"
    )
}

/// Jobs that uninstall other versions of a package before it is installed, where it wants that.
fn uninstalls(condition: &str) -> String {
    format!(
        "{JOB_COLUMNS} SELECT ?, c.id, o.id, ?, o.uninstall_procedure, o.uninstall_success_codes, 0, 1, \
         CASE WHEN o.download_for_uninstall = 1 AND o.archive_size > 0 THEN 1 ELSE 0 END, o.uninstall_post_action, \
         ?, {FIRST_STATE}, '', ?, ? \
         FROM packages p JOIN packages o ON o.family_id = p.family_id AND o.id <> p.id \
         JOIN installations w ON w.package_id = o.id JOIN computers c ON c.id = w.computer_id {FIRST_STATE_TABLES} \
         WHERE p.id = ? AND p.upgrade_behavior = 2 AND o.uninstall_procedure <> '' {condition} ORDER BY c.id, o.id"
    )
}

/// Makes a container with jobs that remove installations.
#[derive(Debug)]
pub(crate) struct Uninstall {
    pub(crate) cache: Arc<Cache>,
    pub(crate) schedule: Schedule,
    pub(crate) installations: Vec<i64>,
}

impl Write for Uninstall {
    type Output = Deployment;
    const OPERATION: &'static str = "store an uninstallation";

    async fn apply(&self, batch: &mut Batch) -> Result<Deployment, sqlx::Error> {
        for installation in &self.installations {
            if !exists(batch, "SELECT 1 FROM installations WHERE id = ?", *installation).await? {
                return Ok(Deployment::NoSuchInstallation(*installation));
            }
        }
        let container = insert_container(batch, &self.schedule).await?;
        let now = micros(self.schedule.now);
        let sql = format!(
            "{JOB_COLUMNS} SELECT ?, w.computer_id, p.id, ?, p.uninstall_procedure, p.uninstall_success_codes, 0, 1, \
             CASE WHEN p.download_for_uninstall = 1 AND p.archive_size > 0 THEN 1 ELSE 0 END, \
             p.uninstall_post_action, ?, 0, '', ?, ? \
             FROM installations w JOIN packages p ON p.id = w.package_id WHERE w.id = ?"
        );
        for (position, installation) in (1_i64..).zip(&self.installations) {
            sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(container)
                .bind(position)
                .bind(self.schedule.restart_timeout)
                .bind(now)
                .bind(now)
                .bind(installation)
                .execute(batch.connection())
                .await?;
        }
        count_new_jobs(batch, &self.cache, container).await?;
        Ok(Deployment::Done {
            id: container,
            jobs: self.installations.len() as u64,
        })
    }
}

async fn insert_container(batch: &mut Batch, schedule: &Schedule) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO job_containers (name, priority, sequence_mode, starts_at, ends_at, notes, agent_ip_ranges, \
         time_frames, use_wol, shutdown_waked, created_at, created_by) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(&schedule.name)
    .bind(schedule.priority)
    .bind(i64::from(schedule.abort_on_failure))
    .bind(micros(schedule.starts_at))
    .bind(schedule.ends_at.map(micros))
    .bind(&schedule.notes)
    .bind(&schedule.agent_ip_ranges)
    .bind(&schedule.time_frames)
    .bind(i64::from(schedule.use_wol))
    .bind(i64::from(schedule.shutdown_waked))
    .bind(micros(schedule.now))
    .bind(schedule.created_by)
    .fetch_one(batch.connection())
    .await
}

/// Has the cache know of the jobs of a new container.
async fn count_new_jobs(batch: &mut Batch, cache: &Arc<Cache>, container: i64) -> Result<(), sqlx::Error> {
    if batch.dialect().is_shared() {
        return Ok(());
    }
    let counts: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT computer_id, COUNT(*) FROM jobs WHERE container_id = ? AND state = 0 GROUP BY computer_id",
    )
    .bind(container)
    .fetch_all(batch.connection())
    .await?;
    let (cache, counts) = (cache.clone(), counts.into_iter().collect::<BTreeMap<_, _>>());
    batch.after_commit(move || {
        for computer in cache.all() {
            computer.state().active_jobs += counts.get(&computer.id).copied().unwrap_or(0);
        }
    });
    Ok(())
}

impl Store {
    /// One deployment with its jobs counted by state.
    pub(crate) async fn deployment(&self, id: i64) -> Result<Option<DeploymentView>, StoreError> {
        let failed = || StoreError::during("read a deployment");
        let row: Option<ContainerRow> = sqlx::query_as(
            "SELECT id, name, priority, sequence_mode, starts_at, ends_at, agent_ip_ranges, time_frames, created_at \
             FROM job_containers WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .map_err(failed())?;
        let Some(row) = row else { return Ok(None) };
        let counts: Vec<(i64, i64)> =
            sqlx::query_as("SELECT state, COUNT(*) FROM jobs WHERE container_id = ? GROUP BY state")
                .bind(id)
                .fetch_all(&self.readers)
                .await
                .map_err(failed())?;
        Ok(Some(DeploymentView {
            id: row.id,
            name: row.name,
            priority: row.priority,
            sequence_mode: row.sequence_mode,
            start: timestamp(row.starts_at),
            end: row.ends_at.map(timestamp),
            agent_ip_ranges: row.agent_ip_ranges,
            time_frames: row.time_frames,
            created_at: timestamp(row.created_at),
            jobs: by_state(&counts),
        }))
    }
}

/// Counts by the name of the state, zeros of the usual ones included.
pub(super) fn by_state(counts: &[(i64, i64)]) -> BTreeMap<&'static str, i64> {
    let mut by_state: BTreeMap<_, _> = JobState::USUAL
        .into_iter()
        .map(|state| (state.name(), 0))
        .collect();
    for (code, count) in counts {
        if let Some(state) = JobState::from_code(*code) {
            by_state.insert(state.name(), *count);
        }
    }
    by_state
}

#[derive(sqlx::FromRow)]
struct ContainerRow {
    id: i64,
    name: String,
    priority: i64,
    sequence_mode: i64,
    starts_at: i64,
    ends_at: Option<i64>,
    agent_ip_ranges: Option<String>,
    time_frames: Option<String>,
    created_at: i64,
}

/// A deployment as the REST surface shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Deployment)]
pub(crate) struct DeploymentView {
    id: i64,
    name: String,
    priority: i64,
    sequence_mode: i64,
    #[schema(value_type = f64)]
    start: Timestamp,
    /// Null: never.
    #[schema(required, value_type = Option<f64>)]
    end: Option<Timestamp>,
    /// Comma-separated.
    #[schema(required)]
    agent_ip_ranges: Option<String>,
    /// Comma-separated.
    #[schema(required)]
    time_frames: Option<String>,
    #[schema(value_type = f64)]
    created_at: Timestamp,
    /// By state.
    #[schema(value_type = BTreeMap<String, i64>)]
    jobs: BTreeMap<&'static str, i64>,
}
