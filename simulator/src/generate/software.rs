//! Installed software: catalogues with popularity, and versions that move on with the clock.

pub mod debian;
pub mod linux;
pub mod macos;
pub mod windows;

use super::{Draw, Profile, Topic};
use std::time::SystemTime;

/// From here on versions move; before, everything has the version of its catalogue.
const FIRST_UPDATE: u64 = 1_735_689_600;
const HOUR: u64 = 3600;

/// How a machine's software is kept up to date: every few hours one piece of it gets a new version, each in its turn.
#[derive(Debug, Clone, Copy)]
pub struct Updates {
    elapsed: u64,
    every: u64,
    items: u64,
    /// Beside that: elapsed and between two updates, ms.
    more: Option<(u64, u64)>,
}

impl Updates {
    /// Updates of a machine with about that many items: one in 4 to 48 hours, drawn for each machine.
    pub fn of(profile: &Profile, items: u64, now: SystemTime) -> Self {
        let mut draw = Draw::new(profile.machine, Topic::Software, u64::MAX);
        let every = draw.between(4, 48) * HOUR;
        let since = Profile::seconds(now).saturating_sub(FIRST_UPDATE);
        let items = items.max(1);
        let more = profile.changes.map(|changes| changes.pace(items, now));
        Self {
            elapsed: since,
            every,
            items,
            more,
        }
    }

    /// How often an item has been updated so far.
    pub fn revision(&self, item: u64) -> u64 {
        let turn = item.wrapping_mul(40_503) % self.items;
        let revision = |elapsed: u64, every: u64| (elapsed + every * turn) / (every * self.items);
        let more = self.more.map_or(0, |(elapsed, every)| revision(elapsed, every));
        revision(self.elapsed, self.every) + more
    }
}

/// A version after so many updates.
fn revised(version: &str, revision: u64) -> String {
    if revision > 0 {
        format!("{version}.{revision}")
    } else {
        version.to_owned()
    }
}

/// Appends a number in decimal.
fn push_number(text: &mut String, number: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.extend(digits[start..].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Machine;
    use oco_agent::host::Os;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn one_item_in_a_while_gets_a_new_version() {
        let profile = Profile::draw(Machine {
            seed: 1,
            index: 1,
            os: Os::Linux,
        });
        let revisions = |hours: u64| {
            let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000 + hours * HOUR);
            let updates = Updates::of(&profile, 500, now);
            (0..500).map(|item| updates.revision(item)).collect::<Vec<_>>()
        };
        let changed = |a: &[u64], b: &[u64]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        let (start, week) = (revisions(0), revisions(7 * 24));
        assert!(start.iter().zip(&week).all(|(before, after)| after >= before));
        assert!(
            (2..=45).contains(&changed(&start, &week)),
            "{}",
            changed(&start, &week)
        );
        assert!(changed(&start, &revisions(1)) <= 1);
    }

    #[test]
    fn numbers_are_decimal() {
        let mut text = String::new();
        [0, 7, 10, u64::MAX].into_iter().for_each(|number| {
            push_number(&mut text, number);
            text.push(' ');
        });
        assert_eq!(text, "0 7 10 18446744073709551615 ");
    }
}
