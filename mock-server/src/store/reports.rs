//! The reports there are, and their rows. They are run in a transaction that cannot write or is rolled back.

use super::{Store, StoreError, micros};
use oco_protocol::Timestamp;
use serde_json::{Map, Value};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AssertSqlSafe, Column, Row, ValueRef};

/// A question to the database.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) id: i64,
    pub(crate) name: &'static str,
    /// Each `?` is the current time.
    pub(crate) query: &'static str,
}

/// All reports. Columns of times are named `last_ping` and `last_update`; computers and packages are found by
/// `computer_id` and `package_id`.
pub(crate) const REPORTS: [Report; 8] = [
    Report {
        id: 1,
        name: "All Computers",
        query: "SELECT c.id AS computer_id, c.hostname, i.os, i.os_version, k.seen_at AS last_ping FROM computers c \
                LEFT JOIN inventories i ON i.computer_id = c.id LEFT JOIN check_ins k ON k.computer_id = c.id ORDER BY c.id",
    },
    Report {
        id: 2,
        name: "Computers Without Inventory",
        query: "SELECT c.id AS computer_id, c.hostname, k.seen_at AS last_ping FROM computers c \
                LEFT JOIN inventories i ON i.computer_id = c.id LEFT JOIN check_ins k ON k.computer_id = c.id \
                WHERE i.computer_id IS NULL ORDER BY c.id",
    },
    Report {
        id: 3,
        name: "Packages Without Installations",
        query: "SELECT p.id AS package_id, f.name AS package_family_name, p.version FROM packages p \
                JOIN package_families f ON f.id = p.family_id \
                WHERE NOT EXISTS (SELECT 1 FROM installations s WHERE s.package_id = p.id) ORDER BY p.id",
    },
    Report {
        id: 4,
        name: "Failed Jobs",
        query: "SELECT j.id AS job_id, j.computer_id, c.hostname, j.package_id, j.return_code FROM jobs j \
                JOIN computers c ON c.id = j.computer_id WHERE j.state = -1 ORDER BY j.id",
    },
    Report {
        id: 5,
        name: "Software By Name And Version",
        query: "SELECT name, version, description FROM software ORDER BY name, version",
    },
    Report {
        id: 6,
        name: "Operating Systems",
        query: "SELECT i.os, i.os_version, COUNT(*) AS computers FROM inventories i GROUP BY i.os, i.os_version \
                ORDER BY i.os, i.os_version",
    },
    Report {
        id: 7,
        name: "Logins",
        query: "SELECT l.computer_id, c.hostname, l.username, COUNT(*) AS logins, MAX(l.logged_in_at) AS latest \
                FROM logins l JOIN computers c ON c.id = l.computer_id GROUP BY l.computer_id, c.hostname, l.username \
                ORDER BY l.computer_id, l.username",
    },
    Report {
        id: 8,
        name: "7 Days No Agent Contact",
        query: "SELECT c.id AS computer_id, c.hostname, COALESCE(i.os, '') AS os, \
                COALESCE(i.os_version, '') AS os_version, k.seen_at AS last_ping FROM computers c \
                LEFT JOIN inventories i ON i.computer_id = c.id LEFT JOIN check_ins k ON k.computer_id = c.id \
                WHERE k.seen_at IS NULL OR k.seen_at < ? - 604800000000 ORDER BY c.id",
    },
];

/// Columns that hold times.
const TIMES: [&str; 2] = ["last_ping", "last_update"];

impl Store {
    /// The rows of a report, by column.
    pub(crate) async fn run_report(
        &self,
        report: &Report,
        now: Timestamp,
    ) -> Result<Vec<Map<String, Value>>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(self.readers.dialect().translate(report.query)));
        for _ in report.query.matches('?') {
            query = query.bind(micros(now));
        }
        let failed = || StoreError::during("run a report");
        let dialect = self.readers.dialect();
        let mut transaction = self
            .readers
            .raw()
            .begin_with(dialect.begin_read_only())
            .await
            .map_err(failed())?;
        let rows = query.fetch_all(&mut *transaction).await.map_err(failed())?;
        transaction.rollback().await.map_err(failed())?;
        rows.iter()
            .map(|row| entries(row).map_err(StoreError::during("read a report's rows")))
            .collect()
    }
}

fn entries(row: &AnyRow) -> Result<Map<String, Value>, sqlx::Error> {
    let mut entries = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        let kind = row.try_get_raw(index)?.type_info().kind();
        let value = match kind {
            AnyTypeInfoKind::Null => None,
            AnyTypeInfoKind::Bool => row.try_get::<Option<bool>, _>(index)?.map(Value::from),
            AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
                row.try_get::<Option<i64>, _>(index)?.map(Value::from)
            }
            AnyTypeInfoKind::Real | AnyTypeInfoKind::Double => {
                row.try_get::<Option<f64>, _>(index)?.map(Value::from)
            }
            AnyTypeInfoKind::Text => row.try_get::<Option<String>, _>(index)?.map(Value::from),
            AnyTypeInfoKind::Blob => row
                .try_get::<Option<Vec<u8>>, _>(index)?
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned().into()),
        };
        let value = match (value, TIMES.contains(&column.name())) {
            (Some(Value::Number(time)), true) => {
                super::date_text(super::timestamp(time.as_i64().unwrap_or(0))).into()
            }
            (value, _) => value.unwrap_or(Value::Null),
        };
        entries.insert(column.name().to_owned(), value);
    }
    Ok(entries)
}
