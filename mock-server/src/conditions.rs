//! When and where a container's jobs may run: IP ranges and time frames, tried in order.
//!
//! The first item that matches decides; one with `!` withholds the jobs. Where none matches they are withheld too,
//! unless all items have a `!`: those say where not to run, so everything else may.

use ipnet::IpNet;
use jiff::civil::{DateTime, Time, Weekday};
use std::net::IpAddr;

/// A text that is no IP range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IP range: expected CIDR such as 192.0.2.0/24, perhaps after a !")]
pub(crate) struct InvalidRange(String);

/// Checks a list of IP ranges.
pub(crate) fn check_ranges(list: &str) -> Result<(), InvalidRange> {
    match items(list).find(|(_, text)| range(text).is_none()) {
        Some((_, text)) => Err(InvalidRange(text.into())),
        None => Ok(()),
    }
}

/// Whether a computer at `address` may have jobs for `list`; none is no limit. One whose address is not known is in no
/// range.
pub(crate) fn allows_address(list: Option<&str>, address: Option<IpAddr>) -> bool {
    allows(list, |text| {
        range(text)
            .zip(address)
            .is_some_and(|(range, address)| range.contains(&address.to_canonical()))
    })
}

/// Whether jobs may run at `now` for `list`; none is no limit. What is no time frame never matches.
pub(crate) fn allows_time(list: Option<&str>, now: DateTime) -> bool {
    allows(list, |text| frame_matches(text, now).unwrap_or(false))
}

fn allows(list: Option<&str>, matches: impl Fn(&str) -> bool) -> bool {
    let Some(list) = list else { return true };
    let mut only_negations = true;
    for (negated, text) in items(list) {
        only_negations &= negated;
        if matches(text) {
            return !negated;
        }
    }
    only_negations
}

/// The items of a list, and whether they have a `!`.
fn items(list: &str) -> impl Iterator<Item = (bool, &str)> {
    list.split([',', '\n'])
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.strip_prefix('!')
                .map_or((false, item), |rest| (true, rest.trim()))
        })
}

fn range(text: &str) -> Option<IpNet> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .ok()
}

/// Whether `now` is in a frame such as `6:00-7:00` or `FRI 18:00-23:00`, its last minute included. One that ends before
/// it begins goes over midnight, and a weekday is that of its beginning.
fn frame_matches(text: &str, now: DateTime) -> Option<bool> {
    let (day, hours) = match text.split_once(char::is_whitespace) {
        Some((day, hours)) => (Some(weekday(day)?), hours.trim()),
        None => (None, text),
    };
    let (from, to) = hours.split_once('-')?;
    let (from, to) = (time(from)?, time(to)?);
    let minute = now.time().with().second(0).subsec_nanosecond(0).build().ok()?;
    let on = |weekday: Weekday| day.is_none_or(|day| day == weekday);
    let (today, yesterday) = (now.weekday(), now.weekday().previous());
    Some(if from <= to {
        on(today) && (from..=to).contains(&minute)
    } else {
        (on(today) && minute >= from) || (on(yesterday) && minute <= to)
    })
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text.to_ascii_uppercase().as_str() {
        "MON" => Weekday::Monday,
        "TUE" => Weekday::Tuesday,
        "WED" => Weekday::Wednesday,
        "THU" => Weekday::Thursday,
        "FRI" => Weekday::Friday,
        "SAT" => Weekday::Saturday,
        "SUN" => Weekday::Sunday,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(list: &str, address: &str) -> bool {
        allows_address(Some(list), Some(address.parse().unwrap()))
    }

    /// 2026-11-27 is a Friday.
    fn on(list: &str, time: &str) -> bool {
        allows_time(Some(list), time.parse().unwrap())
    }

    #[test]
    fn the_first_range_that_matches_decides() {
        assert!(at("127.0.0.1/8,!10.0.0.0/8", "127.9.9.9"));
        assert!(!at("127.0.0.1/8,!10.0.0.0/8", "10.1.1.1"));
        assert!(!at("!10.1.0.0/16,10.0.0.0/8", "10.1.1.1"));
        assert!(at("!10.1.0.0/16,10.0.0.0/8", "10.2.1.1"));
        assert!(at("10.0.0.0/8,!10.1.0.0/16", "10.1.1.1"), "in order");
        assert!(at("fd00::/8, 192.0.2.1", "fd00::2") && at("192.0.2.1", "::ffff:192.0.2.1"));
    }

    #[test]
    fn where_nothing_matches_only_negations_let_pass() {
        assert!(!at("192.0.2.0/24", "10.0.0.1"));
        assert!(at("!192.0.2.0/24", "10.0.0.1"));
        assert!(!allows_address(Some("0.0.0.0/0"), None) && allows_address(None, None));
    }

    #[test]
    fn ranges_are_checked() {
        assert!(check_ranges("127.0.0.1/8,!10.0.0.0/8\n::1").is_ok());
        assert!(
            check_ranges("nonsense")
                .unwrap_err()
                .to_string()
                .contains("nonsense")
        );
    }

    #[test]
    fn frames_match_by_weekday_and_minute_in_order() {
        let list = "6:00-7:00,FRI 18:00-23:00";
        assert!(on(list, "2026-11-27T06:30:00") && on(list, "2026-11-27T23:00:59"));
        assert!(!on(list, "2026-11-27T17:59:59") && !on(list, "2026-11-28T18:30:00"));
        assert!(!on("!SAT 11:00-13:00,6:00-20:00", "2026-11-28T12:00:00"));
        assert!(on("!SAT 11:00-13:00,6:00-20:00", "2026-11-28T14:00:00"));
        assert!(on("0:00-23:59", "2026-11-28T23:59:59"));
    }

    #[test]
    fn a_frame_over_midnight_belongs_to_the_day_it_begins_on() {
        assert!(on("FRI 22:00-5:00", "2026-11-27T22:00:00"));
        assert!(on("FRI 22:00-5:00", "2026-11-28T04:59:00"));
        assert!(!on("FRI 22:00-5:00", "2026-11-27T04:59:00"));
    }

    #[test]
    fn what_is_no_frame_never_matches() {
        for list in ["25:00-26:00", "soon", "XXX 1:00-2:00", "1:00"] {
            assert!(!on(list, "2026-11-27T01:30:00"), "{list}");
        }
    }
}
