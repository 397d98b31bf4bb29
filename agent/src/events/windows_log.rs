//! Events from the logs of Windows.

use super::event_xml::Event as Logged;
use super::{EventError, Found, Room, shorten, since, size};
use crate::host::Host;
use jiff::Timestamp;
use oco_protocol::inventory::UNKNOWN;
use oco_protocol::rpc::{Event, EventQuery};
use serde_json::Value;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

/// Events are logged almost in the order of their times: nothing is looked for behind one that is so much older than
/// what is asked for.
const DISORDER: Duration = Duration::from_secs(600);

/// Runs one query, for as many events as there is room for.
///
/// Where it says nothing of the time itself, the log is read from its end to the moment that is asked for: unlike a
/// condition that would be put into somebody else's query, that works with all of them, and each check-in reads only
/// what has come since the one before.
pub(super) fn query(host: &dyn Host, query: &EventQuery, room: Room) -> Result<Found, EventError> {
    let mut reading = Reading::new(since(&query.since)?, room);
    let end = host.uptime().ok().map(|now| now + room.time(host));
    host.event_log(&query.log, &query.query, &mut |xml| {
        if end.zip(host.uptime().ok()).is_some_and(|(end, now)| now > end) {
            tracing::warn!(log = %query.log, "a query for events took too long: the older ones are left out");
            return ControlFlow::Break(());
        }
        match Logged::parse(xml) {
            Ok(event) => reading.take(&query.log, event),
            Err(error) => {
                tracing::debug!(%error, "an event is left out");
                ControlFlow::Continue(())
            }
        }
    })?;
    Ok(reading.finish())
}

/// What was found on the way from the newest event to older ones.
struct Reading {
    since: Timestamp,
    room: Room,
    /// Newest first.
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    cut: bool,
}

impl Reading {
    fn new(since: Timestamp, room: Room) -> Self {
        Self {
            since,
            room,
            events: VecDeque::new(),
            bytes: 0,
            cut: false,
        }
    }

    fn take(&mut self, log: &str, event: Logged) -> ControlFlow<()> {
        if event.time < self.since {
            let far = self.since.duration_since(event.time).unsigned_abs() > DISORDER;
            return if far {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        let event = reported(log, event);
        let bytes = size(&event);
        self.bytes += bytes;
        self.events.push_back((event, bytes));
        // The oldest ones are sent: the next check-in goes on behind them.
        while self.events.len() > self.room.events || self.bytes > self.room.bytes {
            self.cut = true;
            let Some((_, bytes)) = self.events.pop_front() else {
                break;
            };
            self.bytes -= bytes;
        }
        ControlFlow::Continue(())
    }

    fn finish(self) -> Found {
        Found {
            events: self.events.into_iter().rev().map(|(event, _)| event).collect(),
            bytes: self.bytes,
            cut: self.cut,
        }
    }
}

/// The event as the server knows it.
fn reported(log: &str, event: Logged) -> Event {
    let data = event.data.into_iter().map(|(name, mut text)| {
        shorten(&mut text);
        (name, Value::String(text))
    });
    Event {
        log: log.to_owned(),
        provider: if event.provider.is_empty() {
            UNKNOWN.to_owned()
        } else {
            event.provider
        },
        event_id: event.id.to_string().into(),
        level: event.level.to_string().into(),
        timestamp: event.time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        data: data.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{MOST_BYTES, MOST_EVENTS};
    use proptest::prelude::*;

    fn logged(second: i64) -> Logged {
        Logged::parse(&format!(
            "<Event><System><Provider Name='p'/><EventID>{}</EventID><TimeCreated SystemTime='{}'/></System></Event>",
            second,
            Timestamp::from_second(second).unwrap()
        ))
        .unwrap()
    }

    fn room(events: usize) -> Room {
        Room {
            events,
            bytes: MOST_BYTES,
            deadline: None,
        }
    }

    /// Reads events, given newest first; the ids of those that are reported, and how many were looked at.
    fn read(since: i64, events: usize, log: impl IntoIterator<Item = i64>) -> (Vec<String>, usize) {
        let mut reading = Reading::new(Timestamp::from_second(since).unwrap(), room(events));
        let mut looked_at = 0;
        let _ = log.into_iter().try_for_each(|second| {
            looked_at += 1;
            reading.take("System", logged(second))
        });
        let found = reading.finish();
        assert_eq!(found.bytes, found.events.iter().map(size).sum::<usize>());
        let ids = found
            .events
            .iter()
            .map(|event| event.event_id.as_str().unwrap().to_owned());
        (ids.collect(), looked_at)
    }

    #[test]
    fn the_log_is_read_back_to_the_moment_and_what_is_slightly_out_of_order_is_found() {
        let (ids, looked_at) = read(1000, MOST_EVENTS, [1005, 1003, 999, 1000, 700, 399, 1001]);
        assert_eq!(ids, ["1000", "1003", "1005"]);
        assert_eq!(looked_at, 6, "nothing is read behind one that is far older");
    }

    #[test]
    fn the_oldest_ones_are_reported_first_where_there_is_no_room_for_all() {
        let (ids, _) = read(0, 3, (0..10).rev());
        assert_eq!(ids, ["0", "1", "2"]);
        assert!(read(0, 0, [1]).0.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_reported_is_the_oldest_part_of_what_is_wanted(
            mut log in prop::collection::vec(0_i64..500, 0..40), since in 0_i64..500, most in 0_usize..20,
        ) {
            log.sort_unstable();
            let wanted = log.iter().filter(|second| **second >= since).take(most);
            let wanted: Vec<String> = wanted.map(i64::to_string).collect();
            prop_assert_eq!(read(since, most, log.iter().rev().copied()).0, wanted);
        }
    }
}
