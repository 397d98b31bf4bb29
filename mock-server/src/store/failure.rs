//! What a failed batch means for its writes.

/// Why a batch is not acknowledged.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of it is stored.
    Undone(sqlx::Error),
    /// All of it is stored, or nothing.
    InDoubt(sqlx::Error),
}

impl Failure {
    pub(super) fn into_error(self) -> sqlx::Error {
        match self {
            Self::Undone(error) | Self::InDoubt(error) => error,
        }
    }
}

/// Whether the connection is gone.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    // PostgreSQL says so before it goes: 57P01 to 57P03 are its shutdown.
    let says_goodbye = |code: &str| code.starts_with("57P") || code.starts_with("08");
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| says_goodbye(&code)),
        _ => false,
    }
}

/// Whether a write may do better the next time: it has met another one, or has lost its connection.
pub(super) fn may_recover(error: &sqlx::Error) -> bool {
    // Unique violation (also MariaDB's), serialization failure, deadlock, lock not available.
    const CODES: [&str; 5] = ["23505", "23000", "40001", "40P01", "55P03"];
    match error {
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| CODES.contains(&&*code))
                // MariaDB has no code of its own for it.
                || database.message().contains("Lock wait timeout")
                || is_lost(error)
        }
        error => is_lost(error),
    }
}
