//! The fleet: every agent as compact state, and the decision what to do when one of them is due.
//!
//! An idle agent is its [`VirtualState`] and nothing else. While it is busy, the state belongs to the task that checks
//! in for it.

use crate::event::Postponement;
use crate::simulated_host::VirtualState;
use tokio::time::Instant;

/// An agent's place in the fleet.
#[derive(Debug)]
enum Slot {
    /// Waiting for its next check-in.
    Idle(VirtualState),
    /// Checking in, or waiting for a free place to do so. A check-in that became due since then is kept.
    CheckingIn { owed: Option<Instant> },
    /// Running jobs.
    RunningJobs,
}

/// What to do about an agent that is due.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Check in with this state, which was planned for that time.
    Start {
        /// The agent's state.
        state: VirtualState,
        /// The planned time.
        planned: Instant,
    },
    /// Nothing now.
    Postpone(Postponement),
}

/// All agents.
#[derive(Debug)]
pub struct Fleet {
    slots: Vec<Slot>,
    started: u32,
}

impl Fleet {
    /// So many agents, each in the state that `installed` makes for its index.
    pub fn new(size: u32, installed: impl Fn(u32) -> VirtualState) -> Self {
        Self {
            slots: (0..size).map(|index| Slot::Idle(installed(index))).collect(),
            started: 0,
        }
    }

    /// An agent is due. `first` says that it joins with this check-in.
    pub fn due(&mut self, agent: u32, planned: Instant, first: bool) -> Decision {
        self.started += u32::from(first);
        let Some(slot) = self.slots.get_mut(agent as usize) else {
            return Decision::Postpone(Postponement::Missed);
        };
        match slot {
            Slot::Idle(_) => match std::mem::replace(slot, Slot::CheckingIn { owed: None }) {
                Slot::Idle(state) => Decision::Start { state, planned },
                Slot::CheckingIn { .. } | Slot::RunningJobs => Decision::Postpone(Postponement::Missed),
            },
            Slot::CheckingIn { owed: owed @ None } => {
                *owed = Some(planned);
                Decision::Postpone(Postponement::CheckInRunning)
            }
            Slot::CheckingIn { owed: Some(_) } => Decision::Postpone(Postponement::Missed),
            Slot::RunningJobs => Decision::Postpone(Postponement::JobsRunning),
        }
    }

    /// An agent has checked in and goes on with the jobs that it got.
    pub fn jobs_began(&mut self, agent: u32) {
        if let Some(slot) = self.slots.get_mut(agent as usize) {
            *slot = Slot::RunningJobs;
        }
    }

    /// An agent is done. A check-in that became due meanwhile is to be started at once.
    pub fn done(&mut self, agent: u32, state: VirtualState) -> Option<Decision> {
        let slot = self.slots.get_mut(agent as usize)?;
        match slot {
            Slot::CheckingIn { owed: Some(planned) } => {
                let planned = *planned;
                *slot = Slot::CheckingIn { owed: None };
                Some(Decision::Start { state, planned })
            }
            _ => {
                *slot = Slot::Idle(state);
                None
            }
        }
    }

    /// Agents whose first check-in was due.
    pub fn started(&self) -> u32 {
        self.started
    }

    /// Bytes that the agents take together, busy ones without what belongs to their check-in.
    pub fn bytes(&self) -> usize {
        let heap = self.slots.iter().map(|slot| match slot {
            Slot::Idle(state) => state.bytes() - size_of::<VirtualState>(),
            Slot::CheckingIn { .. } | Slot::RunningJobs => 0,
        });
        self.slots.capacity() * size_of::<Slot>() + heap.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated_host::SharedSettings;
    use std::sync::Arc;
    use std::time::Duration;

    fn state() -> VirtualState {
        VirtualState::installed(Arc::new(SharedSettings::default()), "registration-key")
    }

    fn fleet() -> Fleet {
        Fleet::new(2, |_| state())
    }

    #[test]
    fn a_check_in_that_became_due_meanwhile_starts_right_after_with_its_planned_time() {
        let (mut fleet, now) = (fleet(), Instant::now());
        let second = now + Duration::from_secs(1);
        assert!(matches!(fleet.due(0, now, true), Decision::Start { planned, .. } if planned == now));
        assert_eq!(
            fleet.due(0, second, false),
            Decision::Postpone(Postponement::CheckInRunning)
        );
        assert_eq!(
            fleet.due(0, second + Duration::from_secs(1), false),
            Decision::Postpone(Postponement::Missed)
        );
        assert!(matches!(fleet.done(0, state()), Some(Decision::Start { planned, .. }) if planned == second));
        assert_eq!(fleet.done(0, state()), None);
        assert!(matches!(fleet.due(0, second, false), Decision::Start { .. }));
    }

    #[test]
    fn an_agent_with_jobs_is_left_alone_until_they_end() {
        let (mut fleet, now) = (fleet(), Instant::now());
        fleet.due(1, now, true);
        fleet.jobs_began(1);
        assert_eq!(
            fleet.due(1, now, false),
            Decision::Postpone(Postponement::JobsRunning)
        );
        assert_eq!(fleet.done(1, state()), None);
        assert!(matches!(fleet.due(1, now, false), Decision::Start { .. }));
        assert_eq!(fleet.started(), 1);
    }

    #[test]
    fn an_idle_agent_takes_less_than_a_few_hundred_bytes() {
        let fleet = Fleet::new(1000, |_| state());
        assert!(fleet.bytes() / 1000 < 300, "{}", fleet.bytes() / 1000);
    }

    #[test]
    fn an_unknown_agent_is_no_agent() {
        assert_eq!(
            fleet().due(7, Instant::now(), false),
            Decision::Postpone(Postponement::Missed)
        );
        assert_eq!(fleet().done(7, state()), None);
    }
}
