//! Check-ins: what every hello leaves behind, written for many computers at once.

use super::{Batch, Write, micros, placeholders};
use oco_protocol::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

/// Rows of one check-in statement, largest first: few different statements, all of them prepared once.
const CHECK_IN_CHUNKS: [usize; 3] = [64, 8, 1];

/// What a hello leaves behind every time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CheckInRow {
    pub(crate) computer_id: i64,
    /// Zero for an agent of the keyed generation, which sends none.
    pub(crate) agent_timestamp: Timestamp,
    pub(crate) seen_at: Timestamp,
    pub(crate) uptime: Option<f64>,
    pub(crate) battery_level: Option<f64>,
    pub(crate) battery_status: Option<i64>,
}

/// Stores a check-in.
#[derive(Debug)]
pub(crate) struct CheckIn(pub(crate) CheckInRow);

impl Write for CheckIn {
    type Output = ();
    const OPERATION: &'static str = "store a check-in";

    async fn apply(&self, batch: &mut Batch) -> Result<(), sqlx::Error> {
        batch.check_in(self.0);
        Ok(())
    }
}

/// Writes check-ins in as few statements as possible.
pub(super) async fn flush_check_ins(
    connection: &mut SqliteConnection,
    rows: impl Iterator<Item = &CheckInRow>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = rows.collect();
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let size = CHECK_IN_CHUNKS
            .into_iter()
            .find(|size| *size <= rest.len())
            .unwrap_or(1);
        let (chunk, tail) = rest.split_at(size);
        let sql = format!(
            "INSERT INTO check_ins (computer_id, agent_timestamp, seen_at, uptime, battery_level, battery_status) \
             VALUES {} ON CONFLICT (computer_id) DO UPDATE SET agent_timestamp = excluded.agent_timestamp, \
             seen_at = excluded.seen_at, uptime = excluded.uptime, battery_level = excluded.battery_level, \
             battery_status = excluded.battery_status \
             WHERE excluded.agent_timestamp > check_ins.agent_timestamp OR excluded.agent_timestamp = 0",
            placeholders(size, 6)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in chunk {
            query = query
                .bind(row.computer_id)
                .bind(micros(row.agent_timestamp))
                .bind(micros(row.seen_at))
                .bind(row.uptime)
                .bind(row.battery_level)
                .bind(row.battery_status);
        }
        query.execute(&mut *connection).await?;
        rest = tail;
    }
    Ok(())
}
