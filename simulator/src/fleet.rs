//! The fleet: every agent as compact state, and the decision what to do when one of them is due.
//!
//! An idle agent is its [`VirtualState`] and nothing else. While it is busy, the state belongs to the task that checks
//! in for it.

use crate::shard::Shard;
use crate::simulated_host::VirtualState;
use tokio::time::Instant;

/// An agent's place in the fleet.
#[derive(Debug)]
enum Slot {
    /// Waiting for its next check-in.
    Idle(VirtualState),
    /// Checking in, or waiting for a free place to do so. The first check-in that became due since then is owed; those
    /// after it are missed, and known by their planned times.
    CheckingIn {
        owed: Option<Instant>,
        missed: Vec<Instant>,
    },
    /// Running jobs.
    RunningJobs,
}

/// Checking in, with nothing owed yet.
const CHECKING_IN: Slot = Slot::CheckingIn {
    owed: None,
    missed: Vec::new(),
};

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
    /// The one before is still going on. What becomes of this one is known once that is over.
    Wait,
    /// Not at all: the agent is running jobs, whose length is not the server's latency.
    LeaveOut,
}

/// What became of the check-ins that were due while an agent was busy.
#[derive(Debug, PartialEq, Default)]
pub struct Overdue {
    /// The first of them; the agent has to do it at once.
    pub owed: Option<Instant>,
    /// Those that never began, by their planned times.
    pub missed: Vec<Instant>,
}

/// All agents of a shard.
#[derive(Debug)]
pub struct Fleet {
    shard: Shard,
    slots: Vec<Slot>,
    started: u32,
}

impl Fleet {
    /// A shard's agents of a fleet of that size, each in the state that `installed` makes for its index.
    pub fn new(shard: Shard, size: u32, mut installed: impl FnMut(u32) -> VirtualState) -> Self {
        Self {
            shard,
            slots: shard
                .agents(size)
                .map(|index| Slot::Idle(installed(index)))
                .collect(),
            started: 0,
        }
    }

    /// An agent is due. `first` says that it joins with this check-in.
    pub fn due(&mut self, agent: u32, planned: Instant, first: bool) -> Decision {
        self.started += u32::from(first);
        let Some(slot) = self.slot(agent) else {
            return Decision::LeaveOut;
        };
        match slot {
            Slot::CheckingIn {
                owed: owed @ None, ..
            } => {
                *owed = Some(planned);
                Decision::Wait
            }
            Slot::CheckingIn { missed, .. } => {
                missed.push(planned);
                Decision::Wait
            }
            Slot::RunningJobs => Decision::LeaveOut,
            Slot::Idle(_) => match std::mem::replace(slot, CHECKING_IN) {
                Slot::Idle(state) => Decision::Start { state, planned },
                Slot::CheckingIn { .. } | Slot::RunningJobs => Decision::LeaveOut,
            },
        }
    }

    /// An agent has checked in and goes on with the jobs that it got. What it owes is not done: jobs come first.
    pub fn jobs_began(&mut self, agent: u32) -> Overdue {
        self.overdue(agent, Slot::RunningJobs)
    }

    /// An agent is done. If it owes a check-in, that is to be started at once, with the state that is returned.
    pub fn done(&mut self, agent: u32, state: VirtualState) -> (Overdue, Option<VirtualState>) {
        let overdue = self.overdue(agent, CHECKING_IN);
        if overdue.owed.is_some() {
            return (overdue, Some(state));
        }
        if let Some(slot) = self.slot(agent) {
            *slot = Slot::Idle(state);
        }
        (overdue, None)
    }

    /// Takes back the state of an agent whose check-in is not begun any more.
    pub fn put_back(&mut self, agent: u32, state: VirtualState) -> Overdue {
        self.overdue(agent, Slot::Idle(state))
    }

    /// The states of all agents in the order of their places; none of one that is busy, whose state is with its task.
    pub fn states(&self) -> impl Iterator<Item = Option<&VirtualState>> {
        self.slots.iter().map(|slot| match slot {
            Slot::Idle(state) => Some(state),
            Slot::CheckingIn { .. } | Slot::RunningJobs => None,
        })
    }

    /// The states of all idle agents, with their indices.
    pub fn idle_mut(&mut self) -> impl Iterator<Item = (u32, &mut VirtualState)> {
        let shard = self.shard;
        (0..)
            .zip(&mut self.slots)
            .filter_map(move |(place, slot)| match slot {
                Slot::Idle(state) => Some((shard.agent(place), state)),
                Slot::CheckingIn { .. } | Slot::RunningJobs => None,
            })
    }

    /// Takes the check-ins that every agent owes or has missed: the run is over.
    pub fn give_up(&mut self) -> impl Iterator<Item = (u32, Overdue)> {
        let shard = self.shard;
        let busy = (0..)
            .zip(&mut self.slots)
            .filter_map(move |(place, slot)| match slot {
                Slot::CheckingIn { owed, missed } => {
                    let (owed, missed) = (owed.take(), std::mem::take(missed));
                    Some((shard.agent(place), Overdue { owed, missed }))
                }
                Slot::Idle(_) | Slot::RunningJobs => None,
            });
        busy.filter(|(_, overdue)| *overdue != Overdue::default())
    }

    fn overdue(&mut self, agent: u32, next: Slot) -> Overdue {
        let slot = self.slot(agent);
        match slot.map(|slot| std::mem::replace(slot, next)) {
            Some(Slot::CheckingIn { owed, missed }) => Overdue { owed, missed },
            _ => Overdue::default(),
        }
    }

    fn slot(&mut self, agent: u32) -> Option<&mut Slot> {
        let place = self.shard.place(agent)?;
        self.slots.get_mut(place as usize)
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
        Fleet::new(Shard::WHOLE, 2, |_| state())
    }

    #[test]
    fn a_check_in_that_became_due_meanwhile_is_owed_and_later_ones_are_missed() {
        let (mut fleet, now) = (fleet(), Instant::now());
        let [second, third] = [1, 2].map(|after| now + Duration::from_secs(after));
        assert!(matches!(fleet.due(0, now, true), Decision::Start { planned, .. } if planned == now));
        assert_eq!(fleet.due(0, second, false), Decision::Wait);
        assert_eq!(fleet.due(0, third, false), Decision::Wait);
        let (overdue, next) = fleet.done(0, state());
        assert_eq!((overdue.owed, overdue.missed), (Some(second), vec![third]));
        assert!(next.is_some());
        assert_eq!(fleet.done(0, state()), (Overdue::default(), None));
        assert!(matches!(fleet.due(0, second, false), Decision::Start { .. }));
    }

    #[test]
    fn an_agent_with_jobs_is_left_alone_until_they_end() {
        let (mut fleet, now) = (fleet(), Instant::now());
        fleet.due(1, now, true);
        assert_eq!(fleet.jobs_began(1), Overdue::default());
        assert_eq!(fleet.due(1, now, false), Decision::LeaveOut);
        assert_eq!(fleet.done(1, state()), (Overdue::default(), None));
        assert!(matches!(fleet.due(1, now, false), Decision::Start { .. }));
        assert_eq!(fleet.started(), 1);
    }

    #[test]
    fn what_is_owed_when_jobs_begin_or_the_run_ends_is_not_forgotten() {
        let (mut fleet, now) = (fleet(), Instant::now());
        for agent in [0, 1] {
            fleet.due(agent, now, true);
            fleet.due(agent, now, false);
            fleet.due(agent, now, false);
        }
        let overdue = || Overdue {
            owed: Some(now),
            missed: vec![now],
        };
        assert_eq!(fleet.jobs_began(1), overdue());
        assert_eq!(fleet.give_up().collect::<Vec<_>>(), [(0, overdue())]);
        assert_eq!(fleet.give_up().count(), 0);
    }

    #[test]
    fn an_idle_agent_takes_less_than_a_few_hundred_bytes() {
        let fleet = Fleet::new(Shard::WHOLE, 1000, |_| state());
        assert!(fleet.bytes() / 1000 < 300, "{}", fleet.bytes() / 1000);
    }

    #[test]
    fn a_shard_knows_its_own_agents_by_their_place_in_the_whole_fleet() {
        let (mut fleet, now) = (Fleet::new("1/3".parse().unwrap(), 8, |_| state()), Instant::now());
        assert_eq!(fleet.due(2, now, true), Decision::LeaveOut);
        assert!(matches!(fleet.due(7, now, true), Decision::Start { .. }));
        assert_eq!(fleet.due(7, now, false), Decision::Wait);
        assert_eq!(fleet.give_up().map(|(agent, _)| agent).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn idle_agents_can_be_given_keys_and_busy_ones_are_left_alone() {
        let mut fleet = Fleet::new("1/3".parse().unwrap(), 8, |_| state());
        fleet.due(4, Instant::now(), true);
        let settings = Arc::new(SharedSettings::default());
        for (_, state) in fleet.idle_mut() {
            assert!(!state.is_registered());
            *state = VirtualState::registered(settings.clone(), "agent", "server", None);
        }
        let agents: Vec<_> = fleet.idle_mut().map(|(agent, _)| agent).collect();
        assert_eq!(agents, [1, 7]);
        assert!(fleet.states().flatten().all(VirtualState::is_registered));
    }

    #[test]
    fn an_unknown_agent_is_no_agent() {
        assert_eq!(fleet().due(7, Instant::now(), false), Decision::LeaveOut);
        assert_eq!(fleet().done(7, state()), (Overdue::default(), None));
    }
}
