use super::*;
use crate::store::check_ins;
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

async fn connect(file: &Path) -> Pool {
    sqlx::any::install_default_drivers();
    let pool = AnyPoolOptions::new()
        .max_connections(1)
        .connect(&format!("sqlite:{}?mode=rwc", file.display()))
        .await
        .unwrap();
    Pool::new(pool, Dialect::Sqlite)
}

async fn database(file: &Path) -> Pool {
    let pool = connect(file).await;
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
    let writer = Writer::start(pool.clone(), None);
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

fn check_in(computer_id: i64, at: u64) -> check_ins::CheckIn {
    check_ins::CheckIn(CheckInRow {
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
    let writer = Writer::start(pool.clone(), None);
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
    let writer = Writer::start(pool.clone(), None);
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
    let writer = Writer::start(pool.clone(), None);
    let (written, ()) = futures::future::join(writer.submit(Note(1)), writer.stop()).await;
    assert_eq!(written.unwrap(), 1);
    let late = writer.submit(Note(2)).await.unwrap_err();
    assert_eq!(
        late.to_string(),
        "cannot take a note: the server is shutting down"
    );
    assert_eq!(count(&pool).await, 1);
}

/// A sync that says when it has begun, and goes on when it is told its outcome.
fn told() -> (Syncer, mpsc::UnboundedReceiver<()>, std::sync::mpsc::Sender<bool>) {
    let (begin, begun) = mpsc::unbounded_channel();
    let (tell, outcome) = std::sync::mpsc::channel();
    let syncer = Syncer::start(move || {
        begin.send(()).ok();
        match outcome.recv() {
            Ok(true) => Ok(()),
            _ => Err(std::io::Error::other("disk on fire")),
        }
    });
    (syncer, begun, tell)
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_sync_and_the_next_batch_is_committed_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let pool = database(&file).await;
    let (syncer, mut begun, tell) = told();
    let writer = std::sync::Arc::new(Writer::with(pool, Some(syncer)));
    let submit = |number| {
        let writer = writer.clone();
        tokio::spawn(async move { writer.submit(Note(number)).await })
    };
    let first = submit(1);
    begun.recv().await.unwrap();
    let second = submit(2);
    // The writer has the one connection of the other pool.
    let reader = connect(&file).await;
    while count(&reader).await < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished() && !second.is_finished());
    tell.send(true).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    begun.recv().await.unwrap();
    assert!(!second.is_finished());
    tell.send(true).unwrap();
    assert_eq!(second.await.unwrap().unwrap(), 2);
    writer.stop().await;
}

#[tokio::test]
async fn after_a_sync_that_failed_nothing_is_acknowledged_and_nothing_more_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let (syncer, _begun, tell) = told();
    let writer = Writer::with(database(&file).await, Some(syncer));
    tell.send(false).unwrap();
    for number in 1..=3 {
        // Whatever the disk does then.
        tell.send(true).unwrap();
        let refusal = writer.submit(Note(number)).await.unwrap_err();
        let text = crate::error::chain(&refusal);
        assert!(
            text.contains("disk on fire") && text.contains("restart"),
            "{text}"
        );
    }
    writer.stop().await;
    // One more may have been committed meanwhile, but not one that came after the refusal.
    assert!(count(&connect(&file).await).await < 3);
}

#[tokio::test]
async fn the_log_of_a_database_is_synced_wherever_its_link_leads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let pool = database(&file).await;
    sqlx::query("PRAGMA journal_mode = WAL")
        .fetch_all(&pool)
        .await
        .unwrap();
    sqlx::query("DELETE FROM notes").execute(&pool).await.unwrap();
    assert!(sync::log_of(&file)().is_ok());
    #[cfg(unix)]
    {
        std::fs::create_dir(folder.path().join("links")).unwrap();
        let link = folder.path().join("links/link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(sync::log_of(&link)().is_ok());
    }
    assert!(sync::log_of(&folder.path().join("none"))().is_err());
}
