//! Databases for the tests: SQLite in memory, or a new one on the server that `OCO_TEST_DATABASE` names.
//!
//! `ci/database-tests` sets it to PostgreSQL and to MariaDB in containers, so that the whole suite runs on each of them.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use std::sync::atomic::{AtomicU64, Ordering};

/// URL of a server with a user that may create databases; the database it names is used for creating others.
pub(crate) const VARIABLE: &str = "OCO_TEST_DATABASE";

static COUNT: AtomicU64 = AtomicU64::new(0);

/// The server to test on; none: SQLite.
pub(crate) fn server() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())
}

/// The URL of a database that nobody else has.
pub(crate) async fn fresh() -> String {
    match server() {
        Some(server) => create(&server).await,
        None => "sqlite::memory:".into(),
    }
}

/// Creates a database on a server: it goes away with the server.
pub(crate) async fn create(server: &str) -> String {
    sqlx::any::install_default_drivers();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("oco_test_{}_{number}", std::process::id());
    let mut connection = AnyConnection::connect(server).await.unwrap();
    let template = if server.starts_with("postgres") {
        // Nobody is connected to it, so any number of tests may copy it at a time.
        " TEMPLATE template0"
    } else {
        ""
    };
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}{template}")))
        .await
        .unwrap();
    connection.close().await.unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    format!("{address}/{name}")
}
