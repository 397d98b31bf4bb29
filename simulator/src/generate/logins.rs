//! Logins: who sat at a machine when, day by day, so that new ones appear as the clock moves on.

use super::{Draw, Profile, Topic};
use oco_agent::host::Os;
use std::time::SystemTime;

/// Days that a machine remembers.
pub(super) const REMEMBERED: u64 = 14;
/// What the clock of some machines said once: 1996.
const WRONG_CLOCK: u32 = 820_454_400;
/// Seconds of one.
pub(super) const DAY: u64 = 24 * 3600;
/// How long people stay.
const SHIFT: u64 = 8 * 3600;

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Account name.
    pub user: String,
    /// Terminal.
    pub terminal: &'static str,
    /// Seconds since 1970.
    pub at: u32,
}

impl Profile {
    /// The logins of the last two weeks, oldest first. Where the clock of a Linux machine was wrong once, the first is some
    /// thirty years old.
    pub fn sessions(&self, now: SystemTime) -> Vec<Session> {
        let now = Self::seconds(now);
        let mut users: Vec<String> = self.accounts().into_iter().map(|account| account.name).collect();
        users.push("root".to_owned());
        let directory = self.directory_users();
        users.extend(directory.iter().map(|user| self.directory_login(user)));
        let mut sessions = Vec::new();
        if self.defects.legacy_encoding && self.machine.os == Os::Linux && now > u64::from(WRONG_CLOCK) {
            sessions.push(Session {
                user: "root".to_owned(),
                terminal: "tty1",
                at: WRONG_CLOCK,
            });
        }
        let today = now / DAY;
        for day in today.saturating_sub(REMEMBERED)..=today {
            self.sessions_of_day(day, &users, now, &mut sessions);
        }
        sessions
    }

    /// Account names of those who are logged in, each once.
    pub fn present_users(&self, now: SystemTime) -> Vec<String> {
        let latest = Self::seconds(now).saturating_sub(SHIFT);
        let sessions = self.sessions(now).into_iter();
        let mut users: Vec<String> = sessions
            .filter(|session| u64::from(session.at) > latest)
            .map(|session| match self.machine.os {
                Os::Windows => self.windows_account(&session).0,
                Os::Linux | Os::MacOs => session.user,
            })
            .collect();
        users.sort();
        users.dedup();
        users
    }

    fn sessions_of_day(&self, day: u64, users: &[String], now: u64, sessions: &mut Vec<Session>) {
        let mut draw = Draw::new(self.machine, Topic::Login, day);
        let mut times: Vec<u64> = (0..draw.below(4))
            .map(|_| day * DAY + draw.between(0, DAY - 1))
            .collect();
        times.sort_unstable();
        for time in times {
            // Drawn for logins to come as well, so that the clock only decides what there is already.
            let user = users.get(draw.index(users.len())).cloned().unwrap_or_default();
            let terminal = draw.pick(&["pts/0", "pts/1", "tty2", ":0"]);
            if let (true, Ok(at)) = (time <= now, u32::try_from(time)) {
                sessions.push(Session { user, terminal, at });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Machine;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn logins_appear_as_the_clock_moves_on_and_stay_as_they_were() {
        let profile = Profile::draw(Machine {
            seed: 1,
            index: 5,
            os: Os::Linux,
        });
        let at =
            |hours: u64| profile.sessions(UNIX_EPOCH + Duration::from_secs(1_800_000_000 + hours * 3600));
        let (before, after) = (at(0), at(72));
        let new = after.iter().filter(|session| !before.contains(session)).count();
        assert!(!before.is_empty() && new > 0, "{before:?} {after:?}");
        assert!(
            after
                .iter()
                .filter(|session| session.at <= 1_800_000_000)
                .all(|session| before.contains(session))
        );
        assert!(after.is_sorted_by_key(|session| session.at));
    }
}
