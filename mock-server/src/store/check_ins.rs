//! Check-ins: what every hello leaves behind, written for many computers at once.
//!
//! One process that has a database for itself decides in memory which timestamps are new enough. Where several share one,
//! the database decides: the rows of a batch are locked, compared and written in one transaction, so that of two processes
//! that have got the same request one refuses it.

use super::connection::Connection;
use super::dialect::{OPTIONAL_FLOAT, optional_float};
use super::{Batch, Write, micros, placeholders, timestamp};
use oco_protocol::Timestamp;
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// Rows of one check-in statement, largest first: few different statements, all of them prepared once. Each statement is
/// handed to another thread and back, which costs more than its rows.
const CHECK_IN_CHUNKS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// Most check-ins that are one statement, which needs no transaction around it.
pub(super) const ALONE: usize = CHECK_IN_CHUNKS[0];

/// What a hello leaves behind every time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CheckInRow {
    pub(crate) computer_id: i64,
    /// Zero for an agent of the keyed generation, which sends none.
    pub(crate) agent_timestamp: Timestamp,
    pub(crate) seen_at: Timestamp,
    /// The timestamp of the answer, where processes share the database.
    pub(crate) answered_at: Timestamp,
    pub(crate) uptime: Option<f64>,
    pub(crate) battery_level: Option<f64>,
    pub(crate) battery_status: Option<i64>,
}

impl CheckInRow {
    /// Of a computer that is known since then and has not checked in yet. It is not for the database.
    pub(crate) fn none_yet(since: Timestamp) -> Self {
        Self {
            computer_id: 0,
            agent_timestamp: Timestamp::ZERO,
            seen_at: since,
            answered_at: Timestamp::ZERO,
            uptime: None,
            battery_level: None,
            battery_status: None,
        }
    }
}

/// Whether a check-in was newer than the one before; known once it is durable.
#[derive(Debug, Clone)]
pub(crate) struct Accepted(Arc<AtomicBool>);

impl Accepted {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A check-in that waits for the end of its batch.
#[derive(Debug)]
pub(super) struct PendingCheckIn {
    pub(super) row: CheckInRow,
    pub(super) accepted: Accepted,
}

impl PendingCheckIn {
    pub(super) fn new(row: CheckInRow) -> Self {
        let accepted = Accepted(Arc::new(AtomicBool::new(true)));
        Self { row, accepted }
    }
}

/// Stores a check-in.
#[derive(Debug)]
pub(crate) struct CheckIn(pub(crate) CheckInRow);

impl Write for CheckIn {
    type Output = Accepted;
    const OPERATION: &'static str = "store a check-in";
    const IS_CHECK_IN: bool = true;

    async fn apply(&self, batch: &mut Batch) -> Result<Accepted, sqlx::Error> {
        batch.check_in(self.0).await
    }
}

/// Writes check-ins in as few statements as possible.
pub(super) async fn flush_check_ins(
    connection: &mut Connection,
    pending: &BTreeMap<i64, PendingCheckIn>,
) -> Result<(), sqlx::Error> {
    let mut rows: Vec<CheckInRow> = pending.values().map(|pending| pending.row).collect();
    let decided = connection.dialect().is_shared();
    if decided {
        rows = newer(connection, pending, rows).await?;
    } else {
        fill_up(&mut rows);
    }
    let kind = if decided { Kind::Decided } else { Kind::Newer };
    for chunk in Chunks(&rows) {
        write(connection, chunk, kind).await?;
    }
    Ok(())
}

/// Writes check-ins by one statement, which is a transaction by itself: it goes to the thread of the database and back once. Only
/// where no other process decides, for [`ALONE`] of them at most, and where no transaction has begun.
pub(super) async fn write_check_ins_alone(
    connection: &mut Connection,
    pending: &BTreeMap<i64, PendingCheckIn>,
) -> Result<(), sqlx::Error> {
    let mut rows: Vec<CheckInRow> = pending.values().map(|pending| pending.row).collect();
    fill_up(&mut rows);
    write(connection, &rows, Kind::Newer).await
}

/// Repeats the last row up to the size of a statement, so that the rest takes one instead of several. A row that is written
/// twice is the same afterwards; only other databases refuse it within one statement.
fn fill_up(rows: &mut Vec<CheckInRow>) {
    let rest = rows.len() % CHECK_IN_CHUNKS[0];
    if let Some(last) = rows.last().copied().filter(|_| rest > 0) {
        rows.resize(rows.len() - rest + rest.next_power_of_two(), last);
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Where they are newer than what is stored.
    Newer,
    /// In any case: it is decided already that they are newer.
    Decided,
}

/// The statements that write rows, by their number: long texts.
static WRITES: LazyLock<BTreeMap<(usize, Kind), Arc<str>>> = LazyLock::new(|| {
    let row = format!("(?, ?, ?, ?, {OPTIONAL_FLOAT}, {OPTIONAL_FLOAT}, ?)");
    let statement = |size: usize, kind: Kind| {
        let condition = match kind {
            Kind::Decided => "",
            Kind::Newer => {
                " WHERE excluded.agent_timestamp > check_ins.agent_timestamp OR excluded.agent_timestamp = 0"
            }
        };
        format!(
            "INSERT INTO check_ins (computer_id, agent_timestamp, seen_at, answered_at, uptime, battery_level, \
             battery_status) VALUES {} ON CONFLICT (computer_id) DO UPDATE SET \
             agent_timestamp = excluded.agent_timestamp, seen_at = excluded.seen_at, \
             answered_at = excluded.answered_at, uptime = excluded.uptime, \
             battery_level = excluded.battery_level, battery_status = excluded.battery_status{condition}",
            vec![&*row; size].join(", ")
        )
    };
    CHECK_IN_CHUNKS
        .into_iter()
        .flat_map(|size| [Kind::Newer, Kind::Decided].map(|kind| (size, kind)))
        .map(|(size, kind)| ((size, kind), statement(size, kind).into()))
        .collect()
});

/// Slices of the sizes that there are statements for.
struct Chunks<'a>(&'a [CheckInRow]);

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [CheckInRow];

    fn next(&mut self) -> Option<Self::Item> {
        let size = CHECK_IN_CHUNKS.into_iter().find(|size| *size <= self.0.len())?;
        let (chunk, rest) = self.0.split_at(size);
        self.0 = rest;
        Some(chunk)
    }
}

async fn write(connection: &mut Connection, rows: &[CheckInRow], kind: Kind) -> Result<(), sqlx::Error> {
    let sql = WRITES
        .get(&(rows.len(), kind))
        .ok_or_else(|| sqlx::Error::Protocol("no statement writes so many check-ins".into()))?;
    let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
    for row in rows {
        let (has_uptime, uptime) = optional_float(row.uptime);
        let (has_level, level) = optional_float(row.battery_level);
        query = query
            .bind(row.computer_id)
            .bind(micros(row.agent_timestamp))
            .bind(micros(row.seen_at))
            .bind(micros(row.answered_at))
            .bind(has_uptime)
            .bind(uptime)
            .bind(has_level)
            .bind(level)
            .bind(row.battery_status);
    }
    query.execute(connection).await?;
    Ok(())
}

/// Those that are newer than what is stored; others are marked as refused. What is compared is locked until the commit.
async fn newer(
    connection: &mut Connection,
    pending: &BTreeMap<i64, PendingCheckIn>,
    rows: Vec<CheckInRow>,
) -> Result<Vec<CheckInRow>, sqlx::Error> {
    let mut stored: HashMap<i64, (Timestamp, Timestamp)> = HashMap::new();
    for chunk in Chunks(&rows) {
        let sql = format!(
            "SELECT computer_id, agent_timestamp, answered_at FROM check_ins WHERE computer_id IN {} \
             ORDER BY computer_id FOR UPDATE",
            placeholders(1, chunk.len())
        );
        let mut query = sqlx::query_as::<_, (i64, i64, i64)>(AssertSqlSafe(sql));
        for row in chunk {
            query = query.bind(row.computer_id);
        }
        let found = query.fetch_all(&mut *connection).await?;
        stored.extend(
            found
                .into_iter()
                .map(|(id, sent, answered)| (id, (timestamp(sent), timestamp(answered)))),
        );
    }
    let newer = rows.into_iter().filter_map(|mut row| {
        if let Some((sent, answered)) = stored.get(&row.computer_id) {
            let is_newer = row.agent_timestamp == Timestamp::ZERO || row.agent_timestamp > *sent;
            if !is_newer {
                if let Some(pending) = pending.get(&row.computer_id) {
                    pending.accepted.0.store(false, Ordering::Release);
                }
                return None;
            }
            row.answered_at = row.answered_at.max(*answered);
        }
        Some(row)
    });
    Ok(newer.collect())
}

/// Stores when computers were answered other than by a check-in.
pub(super) async fn note_answers(
    connection: &mut Connection,
    answers: &BTreeMap<i64, Timestamp>,
) -> Result<(), sqlx::Error> {
    for (computer, answered_at) in answers {
        sqlx::query("UPDATE check_ins SET answered_at = ? WHERE computer_id = ? AND answered_at < ?")
            .bind(micros(*answered_at))
            .bind(computer)
            .bind(micros(*answered_at))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(computer_id: i64) -> CheckInRow {
        CheckInRow {
            computer_id,
            ..CheckInRow::none_yet(Timestamp::ZERO)
        }
    }

    #[test]
    fn rows_that_are_filled_up_take_one_statement_beyond_the_full_ones_and_lose_nobody() {
        for count in 0..=200 {
            let rows: Vec<_> = (0..count).map(row).collect();
            let mut filled = rows.clone();
            fill_up(&mut filled);
            assert_eq!(filled[..rows.len()], rows);
            assert!(filled[rows.len()..].iter().all(|row| Some(row) == rows.last()));
            assert_eq!(Chunks(&filled).count(), rows.len().div_ceil(64), "{count}");
            assert!(Chunks(&rows).map(<[_]>::len).sum::<usize>() == rows.len());
        }
    }
}
