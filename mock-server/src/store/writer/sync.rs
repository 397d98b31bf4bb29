//! Makes the commits of a SQLite file durable, beside the batch that is being run.
//!
//! With `synchronous = NORMAL`, SQLite's commit has written its pages to the write-ahead log, and the log is synced only before
//! its content moves to the database. A commit is durable once the log is synced after it, which is all that `synchronous =
//! FULL` adds (<https://www.sqlite.org/pragma.html#pragma_synchronous>). Done here, the next batch need not wait for it. Nothing
//! is acknowledged before.
//!
//! **Invariant:** after a sync that failed nothing is acknowledged any more. What was not synced may be lost although a later
//! sync succeeds, and with it every commit after it, since the log ends where it has a gap.

use super::{Queued, acknowledge, refuse};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Committed = Vec<Box<dyn Queued>>;

/// Syncs commits and acknowledges their writes, one batch after the other.
pub(super) struct Syncer {
    queue: mpsc::Sender<Committed>,
    task: JoinHandle<()>,
    /// Why it acknowledges nothing any more.
    broken: Arc<OnceLock<String>>,
}

/// Where a batch goes once it is committed.
pub(super) struct Place<'a>(mpsc::Permit<'a, Committed>);

impl Place<'_> {
    pub(super) fn send(self, committed: Committed) {
        if !committed.is_empty() {
            self.0.send(committed);
        }
    }
}

impl Syncer {
    /// Starts the task, for commits that are durable after `sync`.
    pub(super) fn start(sync: impl FnMut() -> io::Result<()> + Send + 'static) -> Self {
        // While one batch is synced, one may wait: of more, smaller ones, each would cost a commit.
        let (queue, receiver) = mpsc::channel(1);
        let broken = Arc::default();
        let task = tokio::spawn(run(sync, receiver, Arc::clone(&broken)));
        Self { queue, task, broken }
    }

    /// Waits until another batch may be committed; the error is why none may.
    pub(super) async fn place(&self) -> Result<Place<'_>, String> {
        let place = self.queue.reserve().await;
        match (self.broken.get(), place) {
            (None, Ok(place)) => Ok(Place(place)),
            (Some(reason), _) => Err(reason.clone()),
            (None, Err(_)) => Err("nothing syncs the database any more: restart the server".into()),
        }
    }

    /// Waits until all is synced and acknowledged.
    pub(super) async fn finish(self) {
        drop(self.queue);
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the task that syncs the database failed");
        }
    }
}

async fn run(
    mut sync: impl FnMut() -> io::Result<()> + Send + 'static,
    mut receiver: mpsc::Receiver<Committed>,
    broken: Arc<OnceLock<String>>,
) {
    while let Some(mut committed) = receiver.recv().await {
        if let Some(reason) = broken.get() {
            refuse(&mut committed, reason);
            continue;
        }
        let synced = tokio::task::spawn_blocking(move || {
            let result = sync();
            (sync, result)
        });
        match synced.await {
            Ok((returned, Ok(()))) => {
                sync = returned;
                acknowledge(committed);
            }
            Ok((returned, Err(error))) => {
                sync = returned;
                let reason = broken.get_or_init(|| {
                    format!(
                        "the database could not be synced to disk ({error}), so nothing more is stored: \
                         see to the disk and restart the server"
                    )
                });
                tracing::error!(error = reason, writes = committed.len(), "commits are in doubt");
                refuse(&mut committed, reason);
            }
            Err(error) => {
                tracing::error!(error = %error, writes = committed.len(), "commits are in doubt");
                refuse(&mut committed, "the database was not synced to disk");
                return;
            }
        }
    }
}

/// What syncs the write-ahead log of `database`. It is opened at the first commit, which has made it, and stays the same file as
/// long as there is a connection.
pub(super) fn log_of(database: &Path) -> impl FnMut() -> io::Result<()> + Send + 'static {
    let database = database.to_owned();
    let mut log: Option<File> = None;
    move || {
        if let Some(log) = &log {
            return log.sync_data();
        }
        // SQLite has it beside the file itself, not beside a link to it.
        let mut path = database.canonicalize()?.into_os_string();
        path.push("-wal");
        // Windows syncs only what may be written.
        let opened = File::options().write(true).open(path)?;
        log.insert(opened).sync_data()
    }
}
