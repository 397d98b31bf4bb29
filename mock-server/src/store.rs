//! Everything that is kept: the only place with SQL.
//!
//! Writes are queued to one writer task, which commits many of them in one transaction and acknowledges them after the
//! commit ([`writer`]). Reads go through a pool of their own, and what every hello needs is in memory ([`cache`]), so
//! that a hello reads nothing from the database. One process owns a SQLite file at a time; a lock file says so.

pub(crate) mod assignments;
mod cache;
pub(crate) mod check_ins;
pub(crate) mod client_views;
pub(crate) mod computer_views;
pub(crate) mod computers;
pub(crate) mod deployment_rules;
pub(crate) mod deployments;
pub(crate) mod events;
pub(crate) mod groups;
pub(crate) mod inventory;
pub(crate) mod job_reports;
pub(crate) mod jobs;
pub(crate) mod packages;
pub(crate) mod passwords;
pub(crate) mod policies;
pub(crate) mod reports;
mod rows;
pub(crate) mod settings;
pub(crate) mod software;
pub(crate) mod stats;
pub(crate) mod users;
mod writer;

pub(crate) use cache::{Cache, Computer, ComputerState, Digests};
pub(crate) use writer::{Batch, Write};

use oco_protocol::Timestamp;
use software::SoftwareIndex;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const DATE_FORMAT: &str = "%Y-%m-%d %H:%M:%S";
/// Connections that read at a time.
const READERS: u32 = 4;

/// A database URL that names nothing this server can open.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not a usable database URL: {reason}; expected sqlite:PATH or sqlite::memory:")]
pub struct InvalidDatabaseUrl {
    url: String,
    reason: String,
}

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
    /// The database refuses.
    #[error("cannot open the database {url}: {operation} failed")]
    Database {
        /// As configured.
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
    pub(crate) readers: SqlitePool,
    writers: SqlitePool,
    writer: writer::Writer,
    /// Held while the store lives.
    _lock: Option<File>,
}

impl Store {
    /// Opens `url`, brings its schema up to date and loads what is kept in memory.
    pub(crate) async fn open(url: &str) -> Result<Self, OpenError> {
        let options = options(url)?;
        let memory = is_memory(url);
        let lock = if memory {
            None
        } else {
            Some(prepare_file(options.get_filename())?)
        };
        let failed = |operation| {
            let url = url.to_owned();
            move |source: sqlx::Error| OpenError::Database {
                url,
                operation,
                source: source.into(),
            }
        };
        let writers = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(failed("opening it"))?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writers)
            .await
            .map_err(|source| OpenError::Database {
                url: url.to_owned(),
                operation: "updating its schema",
                source: source.into(),
            })?;
        // A database in memory belongs to its connection, so reads take turns with the writer there.
        let readers = if memory {
            writers.clone()
        } else {
            pool(READERS).connect_lazy_with(options)
        };
        let cache = Arc::new(
            Cache::load(&writers)
                .await
                .map_err(failed("loading its computers"))?,
        );
        let software = Arc::new(
            SoftwareIndex::load(&writers)
                .await
                .map_err(failed("loading its software"))?,
        );
        let writer = writer::Writer::start(writers.clone());
        Ok(Self {
            cache,
            software,
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

/// The file of a database; none where it is in memory or the URL is wrong.
pub(crate) fn file_of(url: &str) -> Option<PathBuf> {
    let options = options(url).ok().filter(|_| !is_memory(url))?;
    Some(options.get_filename().to_owned())
}

/// Whether the database is no file: by its path or by its `mode`, not by what a file name happens to contain.
pub(crate) fn is_memory(url: &str) -> bool {
    let url = url.strip_prefix("sqlite:").unwrap_or(url);
    let (path, parameters) = url.split_once('?').unwrap_or((url, ""));
    path.trim_start_matches("//") == ":memory:"
        || parameters.split('&').any(|parameter| parameter == "mode=memory")
}

fn options(url: &str) -> Result<SqliteConnectOptions, OpenError> {
    let invalid = |reason: String| InvalidDatabaseUrl {
        url: without_password(url),
        reason,
    };
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.trim_start_matches('/').is_empty() => {}
        Some(("sqlite", _)) => return Err(invalid("the path is missing".into()).into()),
        Some((scheme, _)) => {
            return Err(invalid(format!("the database kind {scheme:?} is not supported")).into());
        }
        None => return Err(invalid("it names no kind of database".into()).into()),
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| invalid(error.to_string()))?;
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        // Errors are logged where they are handled, and statements may hold secrets.
        .disable_statement_logging())
}

/// The URL for an error message: without the password of `scheme://user:password@host`.
fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start + 3 <= end => format!("{}***{}", &url[..start + 3], &url[end..]),
        _ => url.to_owned(),
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_in_memory_count_as_such() {
        for url in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:x?mode=memory",
            "sqlite:x?a=b&mode=memory",
        ] {
            assert!(is_memory(url), "{url}");
        }
        for url in [
            "sqlite:/data/:memory:/oco.db",
            "sqlite:mode=memory.db",
            "sqlite:x?mode=rwc",
        ] {
            assert!(!is_memory(url), "{url}");
        }
    }
}
