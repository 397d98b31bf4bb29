//! Deployments: containers with a job for every package on every computer.

use super::{Batch, Cache, Store, StoreError, Write, micros, placeholders, timestamp};
use crate::jobs::JobState;
use oco_protocol::Timestamp;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Computers of one statement.
const CHUNK: usize = 200;

/// Which computers a deployment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Targets {
    /// Every computer there is now.
    All,
    /// These.
    Ids(Vec<i64>),
}

/// Makes a container with a job for every package on every computer.
#[derive(Debug)]
pub(crate) struct Deploy {
    pub(crate) cache: Arc<Cache>,
    pub(crate) name: String,
    pub(crate) packages: Vec<i64>,
    pub(crate) targets: Targets,
    pub(crate) priority: i64,
    pub(crate) abort_on_failure: bool,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Option<Timestamp>,
    /// Minutes until a package's restart, shutdown or exit.
    pub(crate) restart_timeout: i64,
    pub(crate) now: Timestamp,
}

/// What came of a deployment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    Done { id: i64, jobs: u64 },
    NoSuchPackage(i64),
    NoSuchComputer(i64),
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
        let container = self.insert_container(batch).await?;
        let mut jobs = 0;
        for (position, package) in (0_i64..).zip(&self.packages) {
            jobs += self.insert_jobs(batch, container, position, *package).await?;
        }
        let counts: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT computer_id, COUNT(*) FROM jobs WHERE container_id = ? GROUP BY computer_id",
        )
        .bind(container)
        .fetch_all(batch.connection())
        .await?;
        let (cache, counts) = (self.cache.clone(), counts.into_iter().collect::<BTreeMap<_, _>>());
        batch.after_commit(move || {
            for computer in cache.all() {
                computer.state().active_jobs += counts.get(&computer.id).copied().unwrap_or(0);
            }
        });
        Ok(Deployment::Done { id: container, jobs })
    }
}

impl Deploy {
    async fn insert_container(&self, batch: &mut Batch) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(
            "INSERT INTO job_containers (name, priority, sequence_mode, starts_at, ends_at, created_at) \
             VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(&self.name)
        .bind(self.priority)
        .bind(i64::from(self.abort_on_failure))
        .bind(micros(self.starts_at))
        .bind(self.ends_at.map(micros))
        .bind(micros(self.now))
        .fetch_one(batch.connection())
        .await
    }

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
            let sql = format!(
                "INSERT INTO jobs (container_id, computer_id, package_id, position, run_procedure, success_codes, \
                 download, post_action, post_action_delay, state, output, created_at, changed_at) \
                 SELECT ?, c.id, p.id, ?, p.install_procedure, p.success_codes, \
                 CASE WHEN p.archive_size > 0 THEN 1 ELSE 0 END, p.post_action, ?, 0, '', ?, ? \
                 FROM packages p CROSS JOIN computers c WHERE p.id = ? {condition} ORDER BY c.id"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .persistent(false)
                .bind(container)
                .bind(position)
                .bind(self.restart_timeout)
                .bind(micros(self.now))
                .bind(micros(self.now))
                .bind(package);
            for id in ids {
                query = query.bind(id);
            }
            jobs += query.execute(batch.connection()).await?.rows_affected();
        }
        Ok(jobs)
    }
}

async fn exists(batch: &mut Batch, sql: &'static str, id: i64) -> Result<bool, sqlx::Error> {
    let row: Option<(i64,)> = sqlx::query_as(sql)
        .bind(id)
        .fetch_optional(batch.connection())
        .await?;
    Ok(row.is_some())
}

impl Store {
    /// One deployment with its jobs counted by state.
    pub(crate) async fn deployment(&self, id: i64) -> Result<Option<DeploymentView>, StoreError> {
        let failed = || StoreError::during("read a deployment");
        let row: Option<ContainerRow> = sqlx::query_as(
            "SELECT id, name, priority, sequence_mode, starts_at, ends_at, created_at FROM job_containers WHERE id = ?",
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
            created_at: timestamp(row.created_at),
            jobs: by_state(&counts),
        }))
    }
}

/// Counts by the name of the state, zeros included.
pub(super) fn by_state(counts: &[(i64, i64)]) -> BTreeMap<&'static str, i64> {
    let mut by_state: BTreeMap<_, _> = JobState::ALL.into_iter().map(|state| (state.name(), 0)).collect();
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
    created_at: i64,
}

/// A deployment as the REST surface shows it.
#[derive(Debug, Serialize)]
pub(crate) struct DeploymentView {
    id: i64,
    name: String,
    priority: i64,
    sequence_mode: i64,
    start: Timestamp,
    end: Option<Timestamp>,
    created_at: Timestamp,
    jobs: BTreeMap<&'static str, i64>,
}
