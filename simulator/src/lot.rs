//! What the seed has in store for each agent: which generation it speaks, how wrong its clock is, when it is offline,
//! joins, leaves, gets another name, or whether it is a copy of another machine. Pure functions of scenario and index.

use crate::draw::{Purpose, generator};
use crate::scenario::{Clock, Offline, Scenario, Wave};
use crate::simulated_host::VirtualClock;
use rand::RngExt;
use std::time::Duration;

/// The lots of a scenario's agents.
#[derive(Debug, Clone, Copy)]
pub struct Lots<'a>(pub &'a Scenario);

impl Lots<'_> {
    /// Whether an agent sends its key along instead of signing.
    pub fn is_keyed(self, agent: u32) -> bool {
        let share = self.0.fleet.generations.get_ref().keyed_share();
        share > 0.0 && self.draw(Purpose::Generation, agent, 0) < share
    }

    /// The clock of an agent's machine, made from a right one.
    pub fn clock(self, agent: u32, right: VirtualClock) -> VirtualClock {
        if self.0.clock.is_empty() {
            return right;
        }
        let mut drawn = self.draw(Purpose::Clock, agent, 0);
        for Clock { share, ahead, behind } in &self.0.clock {
            drawn -= share.get_ref().0;
            if drawn < 0.0 {
                return match (ahead, behind) {
                    (Some(ahead), _) => right.ahead_by(ahead.0),
                    (None, Some(behind)) => right.behind_by(behind.0),
                    (None, None) => right,
                };
            }
        }
        right
    }

    /// Whether an agent is offline at a time after the start.
    pub fn is_offline(self, agent: u32, at: Duration) -> bool {
        (0..).zip(&self.0.offline).any(|(number, offline)| {
            covers(offline, at) && self.draw(Purpose::Offline, agent, number) < offline.share.0
        })
    }

    /// Whether an agent's computer is known to the server before the run.
    pub fn is_known(self, agent: u32) -> bool {
        self.0.fleet.registered && self.joins(agent).is_none()
    }

    /// When an agent joins, where that is not in the ramp.
    pub fn joins(self, agent: u32) -> Option<Duration> {
        let churn = &self.0.churn;
        self.happens(churn.clone, Purpose::Copy, agent)
            .filter(|_| self.copy_of(agent).is_some())
            .or_else(|| self.happens(churn.join, Purpose::Join, agent))
    }

    /// Whether an agent has left.
    pub fn has_left(self, agent: u32, at: Duration) -> bool {
        self.happens(self.0.churn.leave, Purpose::Leave, agent)
            .is_some_and(|leaves| at >= leaves)
    }

    /// Whether an agent's machine has another name by then.
    pub fn is_renamed(self, agent: u32, at: Duration) -> bool {
        self.happens(self.0.churn.rename, Purpose::Rename, agent)
            .is_some_and(|renamed| at >= renamed)
    }

    /// The agent whose machine this one's is a copy of: the nearest one that is there from the ramp on.
    pub fn copy_of(self, agent: u32) -> Option<u32> {
        let churn = &self.0.churn;
        self.happens(churn.clone, Purpose::Copy, agent)?;
        let original = |other: &u32| {
            self.happens(churn.clone, Purpose::Copy, *other).is_none()
                && self.happens(churn.join, Purpose::Join, *other).is_none()
        };
        let before = (0..agent).rev().find(original);
        before.or_else(|| (agent + 1..self.0.fleet.size.0).find(original))
    }

    /// Whether a server has to refuse an agent: no server knows its machine by its name.
    pub fn is_stranger(self, agent: u32, at: Duration) -> bool {
        self.copy_of(agent).is_some() || self.is_renamed(agent, at)
    }

    /// Agents that this process runs and a server has to register.
    pub fn expected(self) -> u32 {
        let fleet = &self.0.fleet;
        if self.0.churn.clone.is_none() {
            return fleet.own_size();
        }
        let expected = fleet.own_agents().filter(|agent| self.copy_of(*agent).is_none());
        u32::try_from(expected.count()).unwrap_or(u32::MAX)
    }

    fn happens(self, wave: Option<Wave>, purpose: Purpose, agent: u32) -> Option<Duration> {
        let wave = wave?;
        let hit = self.draw(purpose, agent, 0) < wave.share.0;
        hit.then(|| wave.from.0 + wave.over.0.mul_f64(self.draw(purpose, agent, 1)))
    }

    fn draw(self, purpose: Purpose, agent: u32, round: u32) -> f64 {
        generator(self.0.fleet.seed, purpose, agent, round).random()
    }
}

/// Whether one of the times offline is then.
fn covers(offline: &Offline, at: Duration) -> bool {
    let Some(since) = at.checked_sub(offline.from.0) else {
        return false;
    };
    let since = match &offline.every {
        Some(every) => since.as_nanos() % every.get_ref().0.as_nanos().max(1),
        None => since.as_nanos(),
    };
    since < offline.lasts.0.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn scenario(text: &str) -> Scenario {
        Scenario::parse("x", "x", &format!("description = \"\"\n{text}")).unwrap()
    }

    fn count(hit: impl FnMut(&u32) -> bool) -> usize {
        (0..10_000).filter(hit).count()
    }

    #[test]
    fn shares_are_kept() {
        let scenario = scenario(
            "[fleet.generations]\nsigned = 3\nkeyed = 1\n[[clock]]\nshare = 0.1\nahead = \"1h\"\n[[clock]]\n\
             share = 0.2\nbehind = \"1h\"\n[churn]\nleave = { share = 0.3, from = 10, over = 10 }",
        );
        let lots = Lots(&scenario);
        let near = |found: usize, share: f64| (found as f64 / 10_000.0 - share).abs() < 0.02;
        assert!(near(count(|agent| lots.is_keyed(*agent)), 0.25));
        let right = VirtualClock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let now = |agent: &u32| lots.clock(*agent, right).now();
        assert!(near(count(|agent| now(agent) > right.now()), 0.1));
        assert!(near(count(|agent| now(agent) < right.now()), 0.2));
        let left = |second| count(|agent| lots.has_left(*agent, Duration::from_secs(second)));
        assert!(left(9) == 0 && near(left(15), 0.15) && near(left(20), 0.3));
    }

    #[test]
    fn times_offline_begin_end_and_come_again() {
        let scenario = scenario(
            "[[offline]]\nshare = 1\nfrom = 10\nfor = 5\nevery = 20\n[[offline]]\nshare = 0\nfrom = 0\nfor = 60",
        );
        let offline = |second| Lots(&scenario).is_offline(3, Duration::from_secs(second));
        let seen: Vec<_> = (0..40).filter(|second| offline(*second)).collect();
        assert_eq!(seen, [10, 11, 12, 13, 14, 30, 31, 32, 33, 34]);
    }

    #[test]
    fn copies_join_late_and_are_strangers_from_the_start() {
        let scenario = scenario(
            "[fleet]\nsize = 1000\n[churn]\nclone = { share = 0.1, from = 30 }\nrename = { share = 0.1, from = 60 }",
        );
        let lots = Lots(&scenario);
        let copies: Vec<_> = (0..1000).filter(|agent| lots.copy_of(*agent).is_some()).collect();
        assert!((70..130).contains(&copies.len()), "{}", copies.len());
        assert_eq!(lots.expected() as usize, 1000 - copies.len());
        for copy in copies {
            let original = lots.copy_of(copy).unwrap();
            assert!(lots.copy_of(original).is_none() && lots.joins(original).is_none());
            assert_eq!(lots.joins(copy), Some(Duration::from_secs(30)));
            assert!(lots.is_stranger(copy, Duration::ZERO));
        }
        let renamed = |second| {
            (0..1000)
                .filter(|a| lots.is_renamed(*a, Duration::from_secs(second)))
                .count()
        };
        assert!(renamed(59) == 0 && (70..130).contains(&renamed(60)));
    }
}
