//! Everything that is kept: the only place with SQL, in SQLite, PostgreSQL or MariaDB ([`dialect`]).
//!
//! Writes are queued to one writer task, which commits many of them in one transaction and acknowledges them after the
//! commit ([`writer`]). Reads go through a pool of their own. One process owns a SQLite file at a time, a lock file says so,
//! and has what every hello needs in memory ([`cache`]), so that a hello reads nothing from the database. The databases of
//! servers may be shared by several processes, which read a computer at each of its requests ([`sharing`]).

pub(crate) mod assignments;
mod cache;
pub(crate) mod check_ins;
pub(crate) mod client_views;
pub(crate) mod computer_views;
pub(crate) mod computers;
mod connection;
pub(crate) mod deployment_rules;
pub(crate) mod deployments;
mod dialect;
pub(crate) mod events;
mod failure;
pub(crate) mod groups;
pub(crate) mod inventory;
pub(crate) mod job_reports;
pub(crate) mod jobs;
mod nul;
pub(crate) mod packages;
pub(crate) mod passwords;
pub(crate) mod policies;
pub(crate) mod registered;
pub(crate) mod reports;
pub(crate) mod retention;
mod rows;
pub(crate) mod settings;
pub(crate) mod sharing;
pub(crate) mod software;
pub(crate) mod stats;
pub(crate) mod url;
pub(crate) mod users;
mod writer;

pub(crate) use cache::{Cache, Computer, ComputerState, Digests};
pub(crate) use writer::{Batch, Write};

use connection::Pool;
use dialect::Dialect;
use oco_protocol::Timestamp;
use software::SoftwareIndex;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, Connection as _};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use url::InvalidDatabaseUrl;
use url::{DatabaseUrl, set_up, without_password};

const DATE_FORMAT: &str = "%Y-%m-%d %H:%M:%S";
/// Connections that read at a time, from a file and from a server.
const READERS: u32 = 4;
const SERVER_READERS: u32 = 16;

/// A database that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] InvalidDatabaseUrl),
    /// The folder of the file cannot be made, or its lock cannot be taken.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another server has it.
    #[error("the database {} is in use by another oco-mock-server", .0.display())]
    InUse(PathBuf),
    /// The server is of a kind or version that lacks what is needed.
    #[error("the database {url} is {found}: MariaDB 10.5 or later is needed")]
    Version {
        /// As configured, without its password.
        url: String,
        /// What it calls itself.
        found: String,
    },
    /// The database refuses.
    #[error("cannot open the database {url}: {operation} failed")]
    Database {
        /// As configured, without its password.
        url: String,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An operation on the database that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot {operation}")]
    Query {
        operation: &'static str,
        source: sqlx::Error,
    },
    /// What is stored is no JSON.
    #[error("cannot {operation}: what is stored cannot be read")]
    Content {
        operation: &'static str,
        source: serde_json::Error,
    },
    #[error("cannot {operation}: the server is shutting down")]
    Stopped { operation: &'static str },
}

impl StoreError {
    /// Names the operation of an error of the database.
    pub(crate) fn during(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Query { operation, source }
    }
}

/// The open database with what is kept of it in memory.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) cache: Arc<Cache>,
    pub(crate) software: Arc<SoftwareIndex>,
    pub(crate) readers: Pool,
    writers: Pool,
    writer: writer::Writer,
    /// Held while the store lives.
    _lock: Option<File>,
}

impl Store {
    /// Opens `url`, brings its schema up to date and loads what is kept in memory.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let parsed = DatabaseUrl::parse(url)?;
        let lock = parsed.file.as_deref().map(prepare_file).transpose()?;
        let failed = |operation| {
            let url = without_password(url);
            move |source: sqlx::Error| OpenError::Database {
                url,
                operation,
                source: source.into(),
            }
        };
        let (writers, readers) = connect(&parsed).await.map_err(failed("opening it"))?;
        check_version(&writers, url).await?;
        migrate(&writers).await.map_err(|source| OpenError::Database {
            url: without_password(url),
            operation: "updating its schema",
            source: source.into(),
        })?;
        let cache = Cache::load(&writers)
            .await
            .map_err(failed("loading its computers"))?;
        let software = SoftwareIndex::load(&writers)
            .await
            .map_err(failed("loading its software"))?;
        let writer = writer::Writer::start(writers.clone(), parsed.file.is_some());
        Ok(Self {
            cache: Arc::new(cache),
            software: Arc::new(software),
            readers,
            writers,
            writer,
            _lock: lock,
        })
    }

    /// Queues `write` and waits until it is durable.
    pub(crate) async fn write<W: Write>(&self, write: W) -> Result<W::Output, StoreError> {
        self.writer.submit(write).await
    }

    /// Finishes what is queued and closes the database.
    pub(crate) async fn close(&self) {
        self.writer.stop().await;
        self.readers.close().await;
        self.writers.close().await;
    }
}

/// The connections for writing and those for reading.
async fn connect(url: &DatabaseUrl) -> Result<(Pool, Pool), sqlx::Error> {
    let dialect = url.dialect;
    // A pool tries until its time is over; one attempt tells why it cannot be.
    let mut first = AnyConnection::connect_with(&url.options).await?;
    set_up(&mut first, dialect, false).await?;
    first.close().await?;
    let writers = pool(1, dialect, false).connect_with(url.options.clone()).await?;
    let writers = Pool::new(writers, dialect);
    let count = match (dialect.is_shared(), &url.file) {
        (true, _) => SERVER_READERS,
        (false, Some(_)) => READERS,
        // A database in memory belongs to its connection, so reads take turns with the writer there.
        (false, None) => return Ok((writers.clone(), writers)),
    };
    let readers = pool(count, dialect, true).connect_lazy_with(url.options.clone());
    Ok((writers, Pool::new(readers, dialect)))
}

fn pool(connections: u32, dialect: Dialect, reads_only: bool) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        // A server may have been restarted, and nobody is to notice that.
        .test_before_acquire(dialect.is_shared())
        .after_connect(move |connection, _| Box::pin(set_up(connection, dialect, reads_only)))
}

/// Brings the schema up to date; processes that start at the same time take turns.
async fn migrate(pool: &Pool) -> Result<(), sqlx::migrate::MigrateError> {
    let migrator = match pool.dialect() {
        Dialect::Sqlite => sqlx::migrate!("migrations/sqlite"),
        Dialect::Postgres => sqlx::migrate!("migrations/postgres"),
        Dialect::MariaDb => sqlx::migrate!("migrations/mariadb"),
    };
    migrator.run(pool.raw()).await
}

/// Refuses what speaks MariaDB's protocol and is no MariaDB that is new enough to return what it has inserted.
async fn check_version(pool: &Pool, url: &str) -> Result<(), OpenError> {
    if pool.dialect() != Dialect::MariaDb {
        return Ok(());
    }
    let found: String = sqlx::query_scalar(pool.dialect().version_query())
        .fetch_one(pool)
        .await
        .map_err(|source| OpenError::Database {
            url: without_password(url),
            operation: "asking for its version",
            source: source.into(),
        })?;
    let mut numbers = found.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found.contains("MariaDB") && version >= (10, 5) {
        return Ok(());
    }
    let url = without_password(url);
    Err(OpenError::Version { url, found })
}

/// Makes the folder of `file` and takes the lock beside it.
fn prepare_file(file: &Path) -> Result<File, OpenError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::File {
            operation,
            path,
            source,
        }
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
    }
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let lock = File::create(&path).map_err(failed("open the lock file", &path))?;
    match lock.try_lock() {
        Ok(()) => create_private(file)
            .map(|()| lock)
            .map_err(failed("create", file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(file.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(OpenError::File {
            operation: "lock",
            path,
            source,
        }),
    }
}

/// Creates a database for its owner only, because it holds keys and passwords; one that exists stays as it is. SQLite gives
/// the files it makes beside it the same permissions.
fn create_private(file: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The first `max` characters of `text`: what is a key has to have a limit.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

/// From a stored number of microseconds.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The server's date and time, which is UTC.
pub(crate) fn date_time(timestamp: Timestamp) -> jiff::civil::DateTime {
    jiff::Timestamp::from_microsecond(micros(timestamp))
        .unwrap_or(jiff::Timestamp::MAX)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .datetime()
}

/// A time as `YYYY-MM-DD HH:MM:SS` in the server's time.
pub(crate) fn date_text(timestamp: Timestamp) -> String {
    date_time(timestamp).strftime(DATE_FORMAT).to_string()
}

/// The time of such a text.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let date = jiff::civil::DateTime::strptime(DATE_FORMAT, text).ok()?;
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(zoned.timestamp().as_microsecond())
        .ok()
        .map(Timestamp::from_micros)
}

/// To a stored number of microseconds.
pub(crate) fn micros(timestamp: Timestamp) -> i64 {
    i64::try_from(timestamp.as_micros()).unwrap_or(i64::MAX)
}

/// `(?, ?), (?, ?)` for `rows` rows of `columns` values.
pub(crate) fn placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}
