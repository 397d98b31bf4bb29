//! Group commit: one task takes the queued writes, runs them in one transaction, commits and then acknowledges them
//! all. While a batch is being synced to disk the next one gathers, so the cost of a sync is shared by as many writes
//! as arrive meanwhile, and no write waits for a timer.
//!
//! A batch that fails is rolled back and its writes are run again one by one, so that only the culprit fails. The
//! transaction is begun and ended by statements of our own: a full disk makes SQLite roll back by itself, which sqlx's
//! transactions do not notice, so that the connection would stay unusable when there is space again.

use super::StoreError;
use super::check_ins::{CheckInRow, flush_check_ins};
use futures::future::BoxFuture;
use oco_protocol::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::{Executor, Sqlite, SqliteConnection, SqlitePool};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Writes that may wait; beyond that, callers wait.
const QUEUE: usize = 4096;
/// Writes of one transaction.
const BATCH: usize = 512;

/// A change of the database. It may run twice (see the module), so it must not change itself.
pub(crate) trait Write: Send + Sync + 'static {
    /// What the caller gets once the write is durable. A refusal for reasons of the domain belongs here.
    type Output: Send + 'static;
    /// What it does, for error messages: `cannot <OPERATION>`.
    const OPERATION: &'static str;
    /// Runs the statements within the batch.
    fn apply<'a>(
        &'a self,
        batch: &'a mut Batch,
    ) -> impl Future<Output = Result<Self::Output, sqlx::Error>> + Send + 'a;
}

/// The transaction that a write runs in, with what takes effect at its commit.
pub(crate) struct Batch {
    connection: PoolConnection<Sqlite>,
    check_ins: BTreeMap<i64, CheckInRow>,
    effects: Vec<Box<dyn FnOnce() + Send>>,
    /// Software that this batch has added, by digest.
    pub(crate) new_software: HashMap<super::software::Digest, i64>,
}

impl Batch {
    async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        let mut connection = pool.acquire().await?;
        if connection.execute(BEGIN).await.is_err() {
            // Whatever is left over of a batch before: it was not acknowledged.
            roll_back(&mut connection).await;
            connection.execute(BEGIN).await?;
        }
        Ok(Self {
            connection,
            check_ins: BTreeMap::new(),
            effects: Vec::new(),
            new_software: HashMap::new(),
        })
    }

    /// The connection to run statements on.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Adds a check-in: they are written together at the end, the latest one of each computer.
    pub(crate) fn check_in(&mut self, row: CheckInRow) {
        let latest = self.check_ins.entry(row.computer_id).or_insert(row);
        if row.agent_timestamp > latest.agent_timestamp || row.agent_timestamp == Timestamp::ZERO {
            *latest = row;
        }
    }

    /// Has `effect` run right after the commit, before any write of the batch is acknowledged.
    pub(crate) fn after_commit(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.push(Box::new(effect));
    }

    async fn run(&mut self, writes: &mut [Box<dyn Queued>]) -> Result<(), sqlx::Error> {
        for write in writes {
            write.apply(self).await?;
        }
        flush_check_ins(&mut self.connection, self.check_ins.values()).await?;
        self.connection.execute("COMMIT").await?;
        Ok(())
    }
}

/// Ends a transaction without effect; there may be none, where the database has ended it itself.
async fn roll_back(connection: &mut SqliteConnection) {
    if let Err(error) = connection.execute("ROLLBACK").await {
        tracing::debug!(error = %error, "nothing to roll back");
    }
}

/// The queue of the writer task.
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Queued>>>>,
    sender: mpsc::WeakSender<Box<dyn Queued>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the task.
    pub(crate) fn start(pool: SqlitePool) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self {
            sender: sender.downgrade(),
            queue: Mutex::new(Some(sender)),
            task: Mutex::new(Some(tokio::spawn(run(pool, receiver)))),
        }
    }

    /// Queues `write` and waits until it is durable.
    pub(crate) async fn submit<W: Write>(&self, write: W) -> Result<W::Output, StoreError> {
        let stopped = StoreError::Stopped {
            operation: W::OPERATION,
        };
        let (reply, answer) = oneshot::channel();
        let queued = Box::new(Pending {
            write,
            output: None,
            reply,
        });
        let Some(sender) = self.sender.upgrade() else {
            return Err(stopped);
        };
        if sender.send(queued).await.is_err() {
            return Err(stopped);
        }
        drop(sender);
        answer.await.unwrap_or(Err(stopped))
    }

    /// Refuses further writes and waits for the queued ones.
    pub(crate) async fn stop(&self) {
        drop(self.queue.lock().await.take());
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(error = %error, "the writer task failed");
        }
    }
}

/// A write with its output and the caller that waits for it.
struct Pending<W: Write> {
    write: W,
    output: Option<W::Output>,
    reply: oneshot::Sender<Result<W::Output, StoreError>>,
}

trait Queued: Send {
    fn apply<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), sqlx::Error>>;
    fn acknowledge(self: Box<Self>, result: Result<(), sqlx::Error>);
}

impl<W: Write> Queued for Pending<W> {
    fn apply<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            self.output = Some(self.write.apply(batch).await?);
            Ok(())
        })
    }

    fn acknowledge(self: Box<Self>, result: Result<(), sqlx::Error>) {
        let result = match (result, self.output) {
            (Ok(()), Some(output)) => Ok(output),
            (Ok(()), None) => Err(StoreError::Stopped {
                operation: W::OPERATION,
            }),
            (Err(source), _) => Err(StoreError::Query {
                operation: W::OPERATION,
                source,
            }),
        };
        // A caller that has gone away does not need its answer.
        drop(self.reply.send(result));
    }
}

async fn run(pool: SqlitePool, mut receiver: mpsc::Receiver<Box<dyn Queued>>) {
    let mut writes = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut writes, BATCH).await > 0 {
        if writes.len() > 1 && run_batch(&pool, &mut writes).await.is_ok() {
            writes.drain(..).for_each(|write| write.acknowledge(Ok(())));
            continue;
        }
        for mut write in writes.drain(..) {
            let result = run_batch(&pool, std::slice::from_mut(&mut write)).await;
            write.acknowledge(result);
        }
    }
}

async fn run_batch(pool: &SqlitePool, writes: &mut [Box<dyn Queued>]) -> Result<(), sqlx::Error> {
    let mut batch = Batch::begin(pool).await?;
    let result = batch.run(writes).await;
    match result {
        Ok(()) => batch.effects.into_iter().for_each(|effect| effect()),
        Err(_) => roll_back(&mut batch.connection).await,
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    /// Notes a number; the number 13 breaks the rules of the table.
    #[derive(Debug)]
    struct Note(i64);

    impl Write for Note {
        type Output = i64;
        const OPERATION: &'static str = "take a note";

        async fn apply(&self, batch: &mut Batch) -> Result<i64, sqlx::Error> {
            sqlx::query("INSERT INTO notes (number, filling) VALUES (?, zeroblob(3000))")
                .bind(self.0)
                .execute(batch.connection())
                .await?;
            Ok(self.0)
        }
    }

    async fn database(file: &std::path::Path) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap();
        sqlx::query("CREATE TABLE notes (number INTEGER PRIMARY KEY CHECK (number <> 13), filling BLOB)")
            .execute(&pool)
            .await
            .unwrap();
        pool
    }

    async fn count(pool: &SqlitePool) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM notes")
            .fetch_one(pool)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_failing_write_fails_alone_and_the_rest_of_its_batch_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let pool = database(&folder.path().join("db")).await;
        let writer = Writer::start(pool.clone());
        let results = futures::future::join_all((0..50).map(|number| writer.submit(Note(number)))).await;
        for (number, result) in (0..).zip(results) {
            match result {
                Ok(output) => assert_eq!(output, number),
                Err(error) => {
                    assert_eq!(number, 13);
                    assert_eq!(error.to_string(), "cannot take a note");
                }
            }
        }
        assert_eq!(count(&pool).await, 49);
    }

    #[tokio::test]
    async fn a_full_disk_fails_writes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let pool = database(&folder.path().join("db")).await;
        sqlx::query("PRAGMA max_page_count = 20")
            .fetch_all(&pool)
            .await
            .unwrap();
        let writer = Writer::start(pool.clone());
        let results = futures::future::join_all((100..150).map(|number| writer.submit(Note(number)))).await;
        let stored = results.iter().filter(|result| result.is_ok()).count();
        let refusal = results.into_iter().find_map(Result::err).unwrap();
        assert!(crate::error::chain(&refusal).contains("full"), "{refusal:?}");
        assert_eq!(
            count(&pool).await,
            i64::try_from(stored).unwrap(),
            "what was acknowledged is there"
        );
        sqlx::query("PRAGMA max_page_count = 1000")
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(writer.submit(Note(1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn queued_writes_are_finished_at_the_end_and_later_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pool = database(&folder.path().join("db")).await;
        let writer = Writer::start(pool.clone());
        let (written, ()) = futures::future::join(writer.submit(Note(1)), writer.stop()).await;
        assert_eq!(written.unwrap(), 1);
        let late = writer.submit(Note(2)).await.unwrap_err();
        assert_eq!(
            late.to_string(),
            "cannot take a note: the server is shutting down"
        );
        assert_eq!(count(&pool).await, 1);
    }
}
