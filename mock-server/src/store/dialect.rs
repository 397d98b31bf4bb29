//! The dialects of SQL, and where they differ.
//!
//! Statements are written once, as SQLite has them. On their way to a database ([`super::connection`]) they are written in its
//! dialect: PostgreSQL numbers its parameters, and MariaDB has another form for inserts that meet a row that is there already.
//!
//! Beneath is sqlx's `Any` driver. It has one trap: a missing `f64` is bound as a missing `f32`, so that PostgreSQL would be
//! told two types for one parameter. [`OPTIONAL_FLOAT`] goes around it. **Invariant:** no statement binds an `Option<f64>`.

/// A parameter that is a float or nothing: binds whether there is one, and a float. See the module.
pub(super) const OPTIONAL_FLOAT: &str = "CASE WHEN ? = 1 THEN ? END";

/// The two values that [`OPTIONAL_FLOAT`] binds.
pub(super) fn optional_float(value: Option<f64>) -> (i64, f64) {
    (i64::from(value.is_some()), value.unwrap_or_default())
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    MariaDb,
}

impl Dialect {
    /// Whether other processes may use the same database at the same time.
    pub(super) const fn is_shared(self) -> bool {
        !matches!(self, Self::Sqlite)
    }

    /// Begins a transaction that is going to write.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres | Self::MariaDb => "BEGIN",
        }
    }

    /// Begins a transaction that cannot write. SQLite has none; there, connections for reading refuse to write.
    pub(super) const fn begin_read_only(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN READ ONLY",
            Self::MariaDb => "START TRANSACTION READ ONLY",
        }
    }

    /// An aggregate that joins the texts `expression` with commas.
    pub(super) fn join_texts(self, expression: &str) -> String {
        match self {
            Self::Sqlite | Self::MariaDb => format!("GROUP_CONCAT({expression})"),
            Self::Postgres => format!("STRING_AGG({expression}, ',')"),
        }
    }

    /// Asks the database which version it is.
    pub(super) const fn version_query(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT sqlite_version()",
            Self::Postgres | Self::MariaDb => "SELECT VERSION()",
        }
    }

    /// The statement in this dialect.
    pub(super) fn translate(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql.to_owned(),
            Self::Postgres => number_parameters(sql),
            Self::MariaDb => on_duplicate_key(sql),
        }
    }
}

/// `?` as `$1`, `$2` and so on, outside of quoted texts.
fn number_parameters(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 16);
    let (mut count, mut quoted) = (0, false);
    for character in sql.chars() {
        match character {
            '?' if !quoted => {
                count += 1;
                numbered.push('$');
                numbered.push_str(&count.to_string());
            }
            other => {
                quoted ^= other == '\'';
                numbered.push(other);
            }
        }
    }
    numbered
}

/// `ON CONFLICT` as `ON DUPLICATE KEY`. Where nothing is to happen and the new row is asked for, `IGNORE` is the only form
/// that answers with no row; otherwise a column is set to itself, so that no other error is ignored.
fn on_duplicate_key(sql: &str) -> String {
    let Some((insert, conflict)) = sql.split_once(" ON CONFLICT") else {
        return sql.to_owned();
    };
    if let Some((_, assignments)) = conflict.split_once(" DO UPDATE SET ") {
        let assignments = assignments.split(", ").map(|assignment| {
            let column = assignment.split(" = ").next().unwrap_or_default();
            format!("{column} = VALUES({column})")
        });
        let assignments: Vec<_> = assignments.collect();
        return format!("{insert} ON DUPLICATE KEY UPDATE {}", assignments.join(", "));
    }
    match conflict.split_once(" RETURNING ") {
        Some((_, columns)) => {
            let insert = insert.replacen("INSERT INTO", "INSERT IGNORE INTO", 1);
            format!("{insert} RETURNING {columns}")
        }
        None => {
            let columns = insert.split_once('(').map_or("", |(_, columns)| columns);
            let column = columns.split([',', ')']).next().unwrap_or_default();
            format!("{insert} ON DUPLICATE KEY UPDATE {column} = {column}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_numbers_parameters_but_not_question_marks_in_texts() {
        let sql = Dialect::Postgres.translate("SELECT '?', a FROM t WHERE b = ? AND c = 'it''s ?' AND d = ?");
        assert_eq!(
            sql,
            "SELECT '?', a FROM t WHERE b = $1 AND c = 'it''s ?' AND d = $2"
        );
    }

    #[test]
    fn mariadb_has_its_own_form_of_each_conflict() {
        let translated = |sql| Dialect::MariaDb.translate(sql);
        assert_eq!(
            translated(
                "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c"
            ),
            "INSERT INTO t (a, b) VALUES (?, ?) ON DUPLICATE KEY UPDATE b = VALUES(b), c = VALUES(c)"
        );
        assert_eq!(
            translated("INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT DO NOTHING"),
            "INSERT INTO t (a, b) VALUES (?, ?) ON DUPLICATE KEY UPDATE a = a"
        );
        assert_eq!(
            translated("INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO NOTHING RETURNING id"),
            "INSERT IGNORE INTO t (a) VALUES (?) RETURNING id"
        );
        assert_eq!(translated("SELECT 1"), "SELECT 1");
    }
}
