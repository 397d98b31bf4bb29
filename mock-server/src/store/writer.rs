//! Group commit: one task takes the queued writes, runs them in one transaction, commits and then acknowledges them
//! all. While a batch is being synced to disk the next one gathers, so the cost of a sync is shared by as many writes
//! as arrive meanwhile, and no write waits for a timer.
//!
//! A batch that fails is rolled back and its writes are run again one by one, so that only the culprit fails.

use super::StoreError;
use super::computers::{CheckInRow, flush_check_ins};
use futures::future::BoxFuture;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
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
    transaction: Transaction<'static, Sqlite>,
    check_ins: BTreeMap<i64, CheckInRow>,
    effects: Vec<Box<dyn FnOnce() + Send>>,
    /// Software that this batch has added, by digest.
    pub(crate) new_software: HashMap<super::software::Digest, i64>,
}

impl Batch {
    async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        Ok(Self {
            transaction: pool.begin_with("BEGIN IMMEDIATE").await?,
            check_ins: BTreeMap::new(),
            effects: Vec::new(),
            new_software: HashMap::new(),
        })
    }

    /// The connection to run statements on.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Adds a check-in: they are written together at the end, the latest one of each computer.
    pub(crate) fn check_in(&mut self, row: CheckInRow) {
        let latest = self.check_ins.entry(row.computer_id).or_insert(row);
        if row.agent_timestamp > latest.agent_timestamp {
            *latest = row;
        }
    }

    /// Has `effect` run right after the commit, before any write of the batch is acknowledged.
    pub(crate) fn after_commit(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.push(Box::new(effect));
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        flush_check_ins(&mut self.transaction, self.check_ins.values()).await?;
        self.transaction.commit().await?;
        for effect in self.effects {
            effect();
        }
        Ok(())
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
    for write in writes {
        write.apply(&mut batch).await?;
    }
    batch.commit().await
}
