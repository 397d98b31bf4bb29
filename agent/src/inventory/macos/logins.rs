//! Logins, from the file of current ones and from last(1), which knows the earlier ones.

use super::users;
use crate::host::Host;
use crate::inventory::field::{CollectError, Result, command_output, field, lossy, optional};
use jiff::civil::{Date, DateTime, Weekday};
use jiff::{Timestamp, tz::TimeZone};
use oco_protocol::inventory::Login;
use std::path::Path;

/// `struct utmpx` as macOS has it in files: name, id, line, pid, type, time, host.
const RECORD: usize = 628;
const LINE: usize = 260;
const KIND: usize = 296;
const SECONDS: usize = 300;

/// `ut_type` of a login.
const USER_PROCESS: [u8; 2] = 7_u16.to_le_bytes();

/// With the time in UTC and month and day in English, which it takes from its environment.
const LAST: [&str; 3] = ["TZ=UTC", "LC_ALL=C", "last"];

/// One login.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    time: Timestamp,
    user: String,
    console: String,
}

/// Logins at or after `since` (`YYYY-MM-DD HH:MM:SS`, UTC), oldest first.
pub(super) fn collect(host: &dyn Host, since: Option<&str>) -> Result<Vec<Login>> {
    let current = optional(host.read_file(Path::new("/var/run/utmpx")))?;
    let mut records = parse_utmpx(current.as_deref().unwrap_or_default());
    let now = Timestamp::try_from(host.now()).map_err(|error| CollectError::malformed("the clock", error))?;
    match command_output(host, "env", &LAST) {
        Ok(output) => add_earlier(&mut records, parse_last(&lossy(output), now)),
        // The current ones are better than none.
        Err(error) if current.is_some() => {
            tracing::warn!(%error, "logins that are over are left out");
        }
        Err(error) => return Err(error),
    }
    records.retain(|record| since.is_none_or(|since| timestamp(record).as_str() >= since));
    records.sort_by_key(|record| record.time);
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let full_names = field("logins.display_name", users::full_names(host)).unwrap_or_default();
    let logins = records.into_iter().map(|record| Login {
        guid: None,
        display_name: full_names.get(&record.user).cloned().unwrap_or_default(),
        timestamp: timestamp(&record),
        username: record.user,
        console: record.console,
    });
    Ok(logins.collect())
}

fn timestamp(record: &Record) -> String {
    record.time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Those who are logged in have an entry in both; last(1) cuts the seconds off.
fn add_earlier(records: &mut Vec<Record>, earlier: Vec<Record>) {
    let minute = |time: Timestamp| time.as_second().div_euclid(60);
    let same = |one: &Record, other: &Record| {
        (&one.user, &one.console, minute(one.time)) == (&other.user, &other.console, minute(other.time))
    };
    let new: Vec<_> = earlier
        .into_iter()
        .filter(|record| !records.iter().any(|known| same(known, record)))
        .collect();
    records.extend(new);
}

fn parse_utmpx(file: &[u8]) -> Vec<Record> {
    let records = file.chunks_exact(RECORD).filter_map(|record| {
        let text = |start: usize, length: usize| {
            let field = record.get(start..start + length)?;
            Some(lossy(field.split(|byte| *byte == 0).next()?.to_vec()))
        };
        let login = record.get(KIND..)?.starts_with(&USER_PROCESS);
        let seconds = record
            .get(SECONDS..)?
            .first_chunk()
            .copied()
            .map(u32::from_le_bytes)?;
        login.then_some(Record {
            time: Timestamp::from_second(seconds.into()).ok()?,
            user: text(0, 256)?,
            console: text(LINE, 32)?,
        })
    });
    records.filter(|record| !record.user.is_empty()).collect()
}

/// Oldest first.
fn parse_last(output: &str, now: Timestamp) -> Vec<Record> {
    let lines = output.lines().rev();
    lines.filter_map(|line| parse_line(line, now)).collect()
}

/// `anna      ttys000  192.0.2.9   Fri Nov 21 08:15 - 17:11  (08:55)`; none for restarts (`reboot time`, `reboot ~`) and
/// the file's last line. The host may be missing, and blanks may be in it.
fn parse_line(line: &str, now: Timestamp) -> Option<Record> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (user, console) = (words.first()?, words.get(1)?);
    if console.starts_with('~')
        || *console == "time"
        || ["reboot", "shutdown", "wtmp", "utx.log"].contains(user)
    {
        return None;
    }
    let moments = words.get(2..)?.windows(4);
    let time = moments.filter_map(|moment| moment_before(moment, now)).next()?;
    Some(Record {
        time,
        user: (*user).to_owned(),
        console: (*console).to_owned(),
    })
}

/// The last moment before `now` that is called `Fri Nov 21 08:15`; there is no year in it, but a day of the week.
fn moment_before(words: &[&str], now: Timestamp) -> Option<Timestamp> {
    let [weekday, month, day, clock] = words else {
        return None;
    };
    let weekday = position(&WEEKDAYS, weekday)?;
    let month = i8::try_from(position(&MONTHS, month)? + 1).ok()?;
    let day: i8 = day.parse().ok()?;
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    let this_year = now.to_zoned(TimeZone::UTC).year();
    // The 29th of February has the same day of the week every 28 years, or every 40.
    (0..=40).find_map(|back| {
        let date = Date::new(this_year.checked_sub(back)?, month, day).ok()?;
        let named = Weekday::from_monday_zero_offset(i8::try_from(weekday).ok()?).ok()? == date.weekday();
        let moment = DateTime::from(date)
            .with()
            .hour(hour)
            .minute(minute)
            .build()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp();
        (named && moment <= now).then_some(moment)
    })
}

fn position(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: &str = "2026-11-22T10:00:00Z";

    fn last(output: &str) -> Vec<String> {
        let records = parse_last(output, NOW.parse().unwrap());
        records
            .iter()
            .map(|record| format!("{} {} {}", record.user, record.console, timestamp(record)))
            .collect()
    }

    fn record(user: &[u8], line: &[u8], kind: u16, seconds: u32) -> Vec<u8> {
        let mut record = vec![0; RECORD];
        record[..user.len()].copy_from_slice(user);
        record[LINE..LINE + line.len()].copy_from_slice(line);
        record[KIND..KIND + 2].copy_from_slice(&kind.to_le_bytes());
        record[SECONDS..SECONDS + 4].copy_from_slice(&seconds.to_le_bytes());
        record
    }

    #[test]
    fn the_day_of_the_week_tells_the_year() {
        let output = "anna      console                   Sat Nov 21 08:15   still logged in\n\
            anna      ttys000  192.0.2.9        Fri Nov 20 09:01 - 17:11  (08:10)\n\
            berta     console                   Sun Dec 28 23:59 - 00:10  (00:11)\n\
            reboot time                                Mon Nov 16 08:00\n\
            shutdown time                              Mon Nov 16 07:58\n\
            reboot    ~                         Mon Nov  9 08:00 \n\nwtmp begins Sat Nov  1 10:00 \n";
        assert_eq!(
            last(output),
            [
                "berta console 2025-12-28 23:59:00",
                "anna ttys000 2026-11-20 09:01:00",
                "anna console 2026-11-21 08:15:00"
            ]
        );
        assert_eq!(
            last("anna console Xxx Nov 21 08:15\nanna console Sat Nov 31 08:15\nanna\n"),
            [""; 0]
        );
    }

    #[test]
    fn who_is_logged_in_counts_once_and_with_seconds() {
        let mut file = record(b"utmpx-1.00", b"", 10, 0);
        file.extend(record(b"anna", b"console", 7, 1_795_248_942));
        file.extend(record(b"anna", b"ttys001", 8, 1_795_248_950));
        file.extend([7; 100]);
        let mut records = parse_utmpx(&file);
        assert_eq!(records.len(), 1);
        let earlier =
            "anna console Sat Nov 21 08:15 still logged in\nanna ttys000 Sat Nov 21 08:15 - 08:16\n";
        add_earlier(&mut records, parse_last(earlier, NOW.parse().unwrap()));
        let found: Vec<_> = records
            .iter()
            .map(|record| format!("{} {}", record.console, timestamp(record)))
            .collect();
        assert_eq!(
            found,
            ["console 2026-11-21 08:15:42", "ttys000 2026-11-21 08:15:00"]
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000), text in "(anna|console| |Sat|Nov|[0-9]{1,3}|:|\n|\\PC)*") {
            parse_utmpx(&bytes);
            last(&text);
        }

        #[test]
        fn every_moment_of_the_last_years_is_found_again(minutes in 0_i64..3_000_000) {
            let now: Timestamp = NOW.parse().unwrap();
            let moment = Timestamp::from_second(now.as_second() - 60 * minutes).unwrap();
            let line = format!("anna console {} still logged in", moment.strftime("%a %b %e %H:%M"));
            prop_assert_eq!(parse_last(&line, now)[0].time, moment);
        }
    }
}
