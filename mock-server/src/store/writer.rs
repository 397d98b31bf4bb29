//! Group commit: one task takes the queued writes, runs them in one transaction (check-ins alone in one statement, which is a
//! transaction by itself), commits and then acknowledges them all. While a batch is being synced to disk the next one
//! gathers, so the cost of a sync is shared by as many writes as arrive meanwhile, and no write waits for a timer.
//!
//! A batch that fails is rolled back and its writes are run again one by one, so that only the culprit fails. The
//! transaction is begun and ended by statements of our own: a full disk makes SQLite roll back by itself, which sqlx's
//! transactions do not notice, so that the connection would stay unusable when there is space again.
//!
//! In a database that others write to as well, a single write is tried again where it has met another one (a deadlock, two
//! first ones at a time) or has lost its connection. **Invariant:** where the connection is lost during a commit, nobody
//! knows whether the batch is stored: its writes are refused, neither acknowledged nor run again.

use super::StoreError;
use super::check_ins::{
    ALONE, Accepted, CheckInRow, PendingCheckIn, flush_check_ins, note_answers, write_check_ins_alone,
};
use super::connection::{Connection, Pool};
use super::dialect::Dialect;
use super::failure::{Failure, is_lost, may_recover};
use futures::future::BoxFuture;
use oco_protocol::Timestamp;
use sqlx::Executor;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Writes that may wait; beyond that, callers wait.
const QUEUE: usize = 4096;
/// Writes of one transaction.
const BATCH: usize = 512;
/// Times that a write is run which meets others in a shared database.
const ATTEMPTS: usize = 5;

/// A change of the database. It may run twice (see the module), so it must not change itself.
pub(crate) trait Write: Send + Sync + 'static {
    /// What the caller gets once the write is durable. A refusal for reasons of the domain belongs here.
    type Output: Send + 'static;
    /// What it does, for error messages: `cannot <OPERATION>`.
    const OPERATION: &'static str;
    /// Whether it changes what every process keeps in memory, or decides by what such writes have done. Of all processes
    /// that share a database one runs such a write at a time, and the others then read again.
    const IS_ADMINISTRATION: bool = false;
    /// Whether it only adds to the batch's check-ins.
    const IS_CHECK_IN: bool = false;
    /// Runs the statements within the batch.
    fn apply<'a>(
        &'a self,
        batch: &'a mut Batch,
    ) -> impl Future<Output = Result<Self::Output, sqlx::Error>> + Send + 'a;
}

/// The transaction that a write runs in, with what takes effect at its commit. Of check-ins alone there is none: what they apply
/// is only noted, and written in the end.
pub(crate) struct Batch {
    connection: Connection,
    check_ins: BTreeMap<i64, PendingCheckIn>,
    /// When the answers are made, by computer.
    answers: BTreeMap<i64, Timestamp>,
    /// Whether it has the turn of administration.
    has_turn: bool,
    effects: Vec<Box<dyn FnOnce() + Send>>,
    /// Software that this batch has added, by digest.
    pub(crate) new_software: HashMap<super::software::Digest, i64>,
}

impl Batch {
    async fn begin(source: &mut Source) -> Result<Self, sqlx::Error> {
        let begin = source.pool.dialect().begin();
        let mut connection = source.take().await?;
        if connection.execute(begin).await.is_err() {
            // Whatever is left over of a batch before: it was not acknowledged.
            roll_back(&mut connection).await;
            if source.pool.dialect().is_shared() {
                // The server may have gone away meanwhile, and a connection that is given back broken is not used again.
                drop(connection);
                connection = source.take().await?;
            }
            connection.execute(begin).await?;
        }
        Ok(Self::on(connection))
    }

    fn on(connection: Connection) -> Self {
        Self {
            connection,
            check_ins: BTreeMap::new(),
            answers: BTreeMap::new(),
            has_turn: false,
            effects: Vec::new(),
            new_software: HashMap::new(),
        }
    }

    /// The connection to run statements on.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Adds a check-in: they are written together at the end, the latest one of each computer.
    pub(crate) async fn check_in(&mut self, row: CheckInRow) -> Result<Accepted, sqlx::Error> {
        let is_shared = self.dialect().is_shared();
        if is_shared && self.check_ins.contains_key(&row.computer_id) {
            // Each has to be newer than the one before, so they cannot be one.
            self.flush().await?;
        }
        let latest = self
            .check_ins
            .entry(row.computer_id)
            .or_insert_with(|| PendingCheckIn::new(row));
        if row.agent_timestamp > latest.row.agent_timestamp || row.agent_timestamp == Timestamp::ZERO {
            latest.row = row;
        }
        Ok(latest.accepted.clone())
    }

    /// Notes when a computer is answered, so that every later answer is newer, whichever process gives it.
    pub(crate) fn answered(&mut self, computer: &super::Computer) {
        if self.dialect().is_shared() {
            self.answers.insert(computer.id, computer.answered_at);
        }
    }

    /// Waits for the turn of administration, which lasts until the commit, and has other processes read again after it.
    async fn take_turn(&mut self) -> Result<(), sqlx::Error> {
        if self.dialect().is_shared() && !self.has_turn {
            self.connection
                .execute(sqlx::query(
                    "UPDATE revisions SET number = number + 1 WHERE id = 1",
                ))
                .await?;
            self.has_turn = true;
        }
        Ok(())
    }

    /// Has `effect` run right after the commit, before any write of the batch is acknowledged.
    pub(crate) fn after_commit(&mut self, effect: impl FnOnce() + Send + 'static) {
        self.effects.push(Box::new(effect));
    }

    async fn flush(&mut self) -> Result<(), sqlx::Error> {
        flush_check_ins(&mut self.connection, &self.check_ins).await?;
        self.check_ins.clear();
        Ok(())
    }

    /// Runs check-ins and nothing else.
    async fn run_check_ins(&mut self, writes: &mut [Box<dyn Queued>]) -> Result<(), Failure> {
        for write in writes {
            write.apply(self).await.map_err(Failure::Undone)?;
        }
        write_check_ins_alone(&mut self.connection, &self.check_ins)
            .await
            .map_err(Failure::Undone)
    }

    async fn run(&mut self, writes: &mut [Box<dyn Queued>]) -> Result<(), Failure> {
        for write in writes {
            write.apply(self).await.map_err(Failure::Undone)?;
        }
        self.flush().await.map_err(Failure::Undone)?;
        note_answers(&mut self.connection, &self.answers)
            .await
            .map_err(Failure::Undone)?;
        match self.connection.execute("COMMIT").await {
            Ok(_) => Ok(()),
            // What a file does not say it has done it has not done; a server may have gone away after the deed.
            Err(error) if self.dialect().is_shared() && is_lost(&error) => Err(Failure::InDoubt(error)),
            Err(error) => Err(Failure::Undone(error)),
        }
    }
}

/// Ends a transaction without effect; there may be none, where the database has ended it itself or check-ins were alone.
/// **Invariant:** no connection is used again with a transaction open: a batch of check-ins would join it, and be acknowledged
/// without a commit.
async fn roll_back(connection: &mut Connection) {
    if let Err(error) = connection.execute("ROLLBACK").await {
        tracing::debug!(error = %error, "nothing to roll back");
        if !error.to_string().contains("no transaction is active") {
            connection.close_when_given_back();
        }
    }
}

/// Where batches have their connection from.
struct Source {
    pool: Pool,
    /// The connection of the batch before, where nobody else wants it: a pool asks every connection that comes back whether it
    /// is alive, which is one more way to the thread of the database and back.
    kept: Option<Connection>,
    keeps: bool,
}

impl Source {
    async fn take(&mut self) -> Result<Connection, sqlx::Error> {
        match self.kept.take() {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        }
    }

    fn give_back(&mut self, connection: Connection) {
        self.kept = Some(connection).filter(|_| self.keeps);
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
    /// Starts the task. It keeps its connection, if it is `alone` on `pool`.
    pub(crate) fn start(pool: Pool, alone: bool) -> Self {
        let source = Source {
            pool,
            kept: None,
            keeps: alone,
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self {
            sender: sender.downgrade(),
            queue: Mutex::new(Some(sender)),
            task: Mutex::new(Some(tokio::spawn(run(source, receiver)))),
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
    fn is_check_in(&self) -> bool;
    fn apply<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), sqlx::Error>>;
    fn acknowledge(self: Box<Self>, result: Result<(), sqlx::Error>);
}

impl<W: Write> Queued for Pending<W> {
    fn is_check_in(&self) -> bool {
        W::IS_CHECK_IN
    }

    fn apply<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if W::IS_ADMINISTRATION {
                batch.take_turn().await?;
            }
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

async fn run(mut source: Source, mut receiver: mpsc::Receiver<Box<dyn Queued>>) {
    let mut writes = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut writes, BATCH).await > 0 {
        // Whoever is about to write queues up, too: nobody waits longer for it than one turn of the runtime.
        tokio::task::yield_now().await;
        while writes.len() < BATCH
            && let Ok(write) = receiver.try_recv()
        {
            writes.push(write);
        }
        if writes.len() > 1 {
            match run_batch(&mut source, &mut writes).await {
                Ok(()) => {
                    writes.drain(..).for_each(|write| write.acknowledge(Ok(())));
                    continue;
                }
                Err(Failure::InDoubt(error)) => {
                    let reason = error.to_string();
                    tracing::error!(error = reason, writes = writes.len(), "a commit is in doubt");
                    let refusal = || sqlx::Error::Protocol(format!("the commit is in doubt: {reason}"));
                    writes
                        .drain(..)
                        .for_each(|write| write.acknowledge(Err(refusal())));
                    continue;
                }
                Err(Failure::Undone(error)) => {
                    tracing::debug!(error = %error, "a batch is run again, write by write");
                }
            }
        }
        for mut write in writes.drain(..) {
            let result = run_alone(&mut source, &mut write).await;
            write.acknowledge(result);
        }
    }
}

/// Runs one write, in a shared database more than once where it meets others.
async fn run_alone(source: &mut Source, write: &mut Box<dyn Queued>) -> Result<(), sqlx::Error> {
    let attempts = if source.pool.dialect().is_shared() {
        ATTEMPTS
    } else {
        1
    };
    let mut attempt = 1;
    loop {
        match run_batch(source, std::slice::from_mut(write)).await {
            Err(Failure::Undone(error)) if attempt < attempts && may_recover(&error) => {
                tracing::debug!(error = %error, attempt, "a write is run again");
                attempt += 1;
            }
            result => return result.map_err(Failure::into_error),
        }
    }
}

async fn run_batch(source: &mut Source, writes: &mut [Box<dyn Queued>]) -> Result<(), Failure> {
    let only_check_ins = !source.pool.dialect().is_shared()
        && writes.len() <= ALONE
        && writes.iter().all(|write| write.is_check_in());
    let (mut batch, result) = if only_check_ins {
        let mut batch = Batch::on(source.take().await.map_err(Failure::Undone)?);
        let result = batch.run_check_ins(writes).await;
        (batch, result)
    } else {
        let mut batch = Batch::begin(source).await.map_err(Failure::Undone)?;
        let result = batch.run(writes).await;
        (batch, result)
    };
    match result {
        Ok(()) => {
            source.give_back(batch.connection);
            batch.effects.into_iter().for_each(|effect| effect());
        }
        Err(_) => roll_back(&mut batch.connection).await,
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::any::AnyPoolOptions;

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

    async fn database(file: &std::path::Path) -> Pool {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(1)
            .connect(&format!("sqlite:{}?mode=rwc", file.display()))
            .await
            .unwrap();
        let pool = Pool::new(pool, Dialect::Sqlite);
        sqlx::query("CREATE TABLE notes (number INTEGER PRIMARY KEY CHECK (number <> 13), filling BLOB)")
            .execute(&pool)
            .await
            .unwrap();
        pool
    }

    async fn count(pool: &Pool) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM notes")
            .fetch_one(pool)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_failing_write_fails_alone_and_the_rest_of_its_batch_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let pool = database(&folder.path().join("db")).await;
        let writer = Writer::start(pool.clone(), false);
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

    fn check_in(computer_id: i64, at: u64) -> super::super::check_ins::CheckIn {
        super::super::check_ins::CheckIn(CheckInRow {
            computer_id,
            agent_timestamp: Timestamp::from_micros(at),
            seen_at: Timestamp::from_micros(at),
            answered_at: Timestamp::ZERO,
            uptime: None,
            battery_level: Some(0.5),
            battery_status: None,
        })
    }

    #[tokio::test]
    async fn a_failing_check_in_fails_alone_and_an_older_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let pool = database(&folder.path().join("db")).await;
        sqlx::query(
            "CREATE TABLE check_ins (computer_id INTEGER PRIMARY KEY CHECK (computer_id <> 13), \
             agent_timestamp INTEGER, seen_at INTEGER, answered_at INTEGER, uptime REAL, battery_level REAL, \
             battery_status INTEGER)",
        )
        .execute(&pool)
        .await
        .unwrap();
        let writer = Writer::start(pool.clone(), false);
        for at in [7, 9, 8] {
            let check_ins = (0..50).map(|computer| writer.submit(check_in(computer, at)));
            let results = futures::future::join_all(check_ins).await;
            let failed: Vec<_> = (0..)
                .zip(results)
                .filter_map(|(id, result)| result.is_err().then_some(id))
                .collect();
            assert_eq!(failed, [13]);
        }
        let stored: Vec<(i64, f64)> = sqlx::query_as("SELECT agent_timestamp, battery_level FROM check_ins")
            .fetch_all(&pool)
            .await
            .unwrap();
        assert_eq!(stored, [(9, 0.5); 49]);
        writer.submit(Note(1)).await.unwrap();
        assert_eq!(count(&pool).await, 1, "no transaction is left open");
    }

    #[tokio::test]
    async fn a_full_disk_fails_writes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let pool = database(&folder.path().join("db")).await;
        sqlx::query("PRAGMA max_page_count = 20")
            .fetch_all(&pool)
            .await
            .unwrap();
        let writer = Writer::start(pool.clone(), false);
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
        let writer = Writer::start(pool.clone(), false);
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
