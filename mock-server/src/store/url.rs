//! The URL of a database: which kind it is, and how to connect.

use super::dialect::Dialect;
use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Executor};
use std::path::PathBuf;
use std::str::FromStr;

/// A database URL that names nothing this server can open.
#[derive(Debug, thiserror::Error)]
#[error(
    "{url:?} is not a usable database URL: {reason}; expected sqlite:PATH, sqlite::memory:, \
     postgres://USER:PASSWORD@HOST/DATABASE or mariadb://USER:PASSWORD@HOST/DATABASE"
)]
pub struct InvalidDatabaseUrl {
    url: String,
    reason: String,
}

/// A URL that has been understood. It has no `Debug`: the options have the password.
#[derive(Clone)]
pub(super) struct DatabaseUrl {
    pub(super) dialect: Dialect,
    pub(super) options: AnyConnectOptions,
    /// Where it is a file.
    pub(super) file: Option<PathBuf>,
}

impl DatabaseUrl {
    pub(super) fn parse(url: &str) -> Result<Self, InvalidDatabaseUrl> {
        let invalid = |reason: String| InvalidDatabaseUrl {
            url: without_password(url),
            reason,
        };
        let (dialect, file) = match url.split_once(':') {
            Some(("sqlite", path)) if !path.trim_start_matches('/').is_empty() => {
                let options =
                    SqliteConnectOptions::from_str(url).map_err(|error| invalid(error.to_string()))?;
                let file = (!is_memory(url)).then(|| options.get_filename().to_owned());
                (Dialect::Sqlite, file)
            }
            Some(("sqlite", _)) => return Err(invalid("the path is missing".into())),
            Some(("postgres" | "postgresql", _)) => (Dialect::Postgres, None),
            Some(("mysql" | "mariadb", _)) => (Dialect::MariaDb, None),
            Some((scheme, _)) => {
                return Err(invalid(format!("the database kind {scheme:?} is not supported")));
            }
            None => return Err(invalid("it names no kind of database".into())),
        };
        let options = AnyConnectOptions::from_str(url).map_err(|error| invalid(error.to_string()))?;
        if dialect.is_shared() && options.database_url.path().trim_matches('/').is_empty() {
            return Err(invalid("the name of the database is missing".into()));
        }
        Ok(Self {
            dialect,
            // Errors are logged where they are handled, and statements may hold secrets.
            options: options.disable_statement_logging(),
            file,
        })
    }
}

/// The file of a database; none where it is in memory, on a server, or the URL is wrong.
pub(crate) fn file_of(url: &str) -> Option<PathBuf> {
    DatabaseUrl::parse(url).ok()?.file
}

/// Whether the database is no file: by its path or by its `mode`, not by what a file name happens to contain.
pub(crate) fn is_memory(url: &str) -> bool {
    let url = url.strip_prefix("sqlite:").unwrap_or(url);
    let (path, parameters) = url.split_once('?').unwrap_or((url, ""));
    path.trim_start_matches("//") == ":memory:"
        || parameters.split('&').any(|parameter| parameter == "mode=memory")
}

/// The URL for a message: without the password of `scheme://user:password@host`, and of a parameter of that name.
pub fn without_password(url: &str) -> String {
    let url = match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start + 3 <= end => {
            format!("{}***{}", &url[..start + 3], &url[end..])
        }
        _ => url.to_owned(),
    };
    let (url, parameters) = url
        .split_once('?')
        .map_or((&*url, None), |(url, rest)| (url, Some(rest)));
    let mut shown = url.to_owned();
    if let Some(parameters) = parameters {
        shown.push('?');
        let parameters = parameters
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, _)) if name.eq_ignore_ascii_case("password") => "password=***",
                _ => parameter,
            });
        shown.push_str(&parameters.collect::<Vec<_>>().join("&"));
    }
    shown
}

/// Sets a new connection up.
pub(super) async fn set_up(
    connection: &mut AnyConnection,
    dialect: Dialect,
    reads_only: bool,
) -> Result<(), sqlx::Error> {
    let statements: &[&'static str] = match dialect {
        Dialect::Sqlite => &[
            "PRAGMA busy_timeout = 10000",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "PRAGMA foreign_keys = ON",
        ],
        Dialect::Postgres => &["SET lock_timeout = '10s'"],
        // As PostgreSQL does: a statement sees what others have committed, and locks no gaps.
        Dialect::MariaDb => &[
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION innodb_lock_wait_timeout = 10",
        ],
    };
    for statement in statements {
        connection.execute(*statement).await?;
    }
    if reads_only && dialect == Dialect::Sqlite {
        connection.execute("PRAGMA query_only = ON").await?;
    }
    Ok(())
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

    #[test]
    fn each_kind_of_url_is_known_and_others_are_refused() {
        for (url, dialect) in [
            ("sqlite:/tmp/a b.db", Dialect::Sqlite),
            ("sqlite::memory:", Dialect::Sqlite),
            ("postgres://a:b@localhost/oco", Dialect::Postgres),
            ("postgresql://localhost/oco", Dialect::Postgres),
            ("mysql://a@localhost:1/oco", Dialect::MariaDb),
            ("mariadb://a@localhost/oco", Dialect::MariaDb),
        ] {
            assert_eq!(
                DatabaseUrl::parse(url).map(|url| url.dialect).ok(),
                Some(dialect),
                "{url}"
            );
        }
        for url in [
            "",
            "oco.db",
            "sqlite:",
            "sqlite://",
            "oracle://x/y",
            "postgres://host",
            "mariadb://h/",
        ] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_message_has_the_password() {
        for url in [
            "postgres://user:secret@host/oco",
            "mariadb://user:se@cret@host",
            "mysql://secret@host",
            "oracle://user:secret@host/oco?x=y",
            "postgres://host?sslmode=disable&password=secret",
        ] {
            let shown = without_password(url);
            assert!(!shown.contains("cret"), "{shown}");
            let error = DatabaseUrl::parse(url)
                .err()
                .map(|error| format!("{error} {error:?}"));
            assert!(!error.unwrap_or_default().contains("cret"), "{url}");
        }
        let shown = without_password("postgres://u:secret@host/oco?sslmode=disable&password=secret");
        assert_eq!(shown, "postgres://***@host/oco?sslmode=disable&password=***");
        assert_eq!(without_password("sqlite:/a@b.db"), "sqlite:/a@b.db");
    }
}
