//! Which machines are on and can be reached: those that are offline, have left, or restart do not check in.

use crate::lot::Lots;
use crate::pace::Due;
use crate::scenario::Scenario;
use oco_agent::host::PowerAction;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::time::Instant;

/// What is known of the machines that are away.
#[derive(Debug)]
pub struct Presence {
    scenario: Arc<Scenario>,
    start: Instant,
    /// When machines that were switched off or restarted are there again.
    back: HashMap<u32, Instant>,
    /// Agents that were away when they were to join.
    unseen: HashSet<u32>,
}

impl Presence {
    /// Of a run that begins at `start`.
    pub fn new(scenario: Arc<Scenario>, start: Instant) -> Self {
        Self {
            scenario,
            start,
            back: HashMap::new(),
            unseen: HashSet::new(),
        }
    }

    /// Whether an agent that is due can check in; if so, whether it joins with that.
    pub fn admit(&mut self, due: &Due) -> Option<bool> {
        let first = due.round == 0;
        if self.is_away(due.agent, due.planned) {
            if first {
                self.unseen.insert(due.agent);
            }
            return None;
        }
        Some(first || (!self.unseen.is_empty() && self.unseen.remove(&due.agent)))
    }

    /// A job has a machine restarted or shut down: when it is there again.
    pub fn power(&mut self, agent: u32, action: PowerAction) -> Instant {
        let jobs = &self.scenario.jobs;
        let takes = match action {
            PowerAction::Restart => jobs.restart_takes,
            PowerAction::Shutdown => jobs.shutdown_takes,
        };
        let back = Instant::now() + takes.0;
        self.back.insert(agent, back);
        back
    }

    fn is_away(&mut self, agent: u32, at: Instant) -> bool {
        match self.back.get(&agent) {
            Some(back) if at < *back => return true,
            Some(_) => {
                self.back.remove(&agent);
            }
            None => {}
        }
        let (lots, at) = (Lots(&self.scenario), at.saturating_duration_since(self.start));
        lots.is_offline(agent, at) || lots.has_left(agent, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_machine_that_restarts_is_away_and_joins_only_once() {
        let text =
            "description = \"\"\n[jobs]\nrestart_takes = 20\n[[offline]]\nshare = 1\nfrom = 0\nfor = 5";
        let scenario = Arc::new(Scenario::parse("x", "x", text).unwrap());
        let start = Instant::now();
        let mut presence = Presence::new(scenario, start);
        let due = |round, second| Due {
            agent: 7,
            round,
            planned: start + Duration::from_secs(second),
        };
        assert_eq!(presence.admit(&due(0, 1)), None);
        assert_eq!(presence.admit(&due(1, 6)), Some(true));
        assert_eq!(presence.admit(&due(2, 7)), Some(false));
        presence.power(7, PowerAction::Restart);
        assert_eq!(presence.admit(&due(3, 15)), None);
        assert_eq!(presence.admit(&due(4, 60)), Some(false));
    }
}
