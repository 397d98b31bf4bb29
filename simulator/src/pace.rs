//! When each agent is due: an open model. Check-ins happen at planned times, whatever the server does and however long
//! an earlier one takes; a time that was planned never moves.
//!
//! Agents that wait are entries of 16 bytes in a timing wheel. No task, timer or channel belongs to them.

use crate::draw::{Purpose, generator};
use crate::duration::Span;
use crate::lot::Lots;
use crate::scenario::Scenario;
use crate::shard::Shard;
use rand::RngExt;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

mod wheel;

pub use wheel::{Entry, Wheel};

/// The planned times of a fleet: a pure function of scenario and seed.
#[derive(Debug, Clone)]
pub struct Plan {
    seed: u64,
    size: u32,
    ramp_ms: u64,
    interval_ms: u64,
    jitter: f64,
    /// Agents that join at another time than in the ramp, ms.
    late: HashMap<u32, u64>,
}

/// A check-in that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Which agent.
    pub agent: u32,
    /// Its how manieth check-in, from 0.
    pub round: u32,
    /// The planned time.
    pub planned: Instant,
}

impl Plan {
    /// The plan of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let pacing = &scenario.pacing;
        Self {
            seed: scenario.fleet.seed,
            size: scenario.fleet.size.0,
            ramp_ms: pacing.ramp.as_millis(),
            interval_ms: pacing.interval.0.as_millis().max(1),
            jitter: pacing.jitter.0,
            late: late(scenario),
        }
    }

    /// Number of agents.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// When the check-in number `round` of an agent is due, milliseconds after the start. Strictly later for each round.
    pub fn due_ms(&self, agent: u32, round: u32) -> u64 {
        let regular = self.first_ms(agent) + u64::from(round) * self.interval_ms;
        regular
            + if round == 0 {
                0
            } else {
                self.jitter_ms(agent, round)
            }
    }

    /// Agents join evenly over the ramp, each at a random place within its own share of it.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )] // within the ramp
    fn first_ms(&self, agent: u32) -> u64 {
        if let Some(late) = self.late.get(&agent) {
            return *late;
        }
        let within: f64 = generator(self.seed, Purpose::Ramp, agent, 0).random();
        let position = (f64::from(agent) + within) / f64::from(self.size.max(1));
        (position * self.ramp_ms as f64) as u64
    }

    /// At least 0 and less than an interval, so that rounds never change their order.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    fn jitter_ms(&self, agent: u32, round: u32) -> u64 {
        let within: f64 = generator(self.seed, Purpose::Jitter, agent, round).random();
        let jitter = (within * self.jitter * self.interval_ms as f64) as u64;
        jitter.min(self.interval_ms - 1)
    }
}

/// When agents of the shard join that do not join in the ramp.
fn late(scenario: &Scenario) -> HashMap<u32, u64> {
    if scenario.churn.join.is_none() && scenario.churn.clone.is_none() {
        return HashMap::new();
    }
    let agents = scenario.fleet.own_agents();
    let late = agents.filter_map(|agent| Some((agent, Span(Lots(scenario).joins(agent)?).as_millis())));
    late.collect()
}

/// Hands out check-ins as they become due.
#[derive(Debug)]
pub struct Pacer {
    plan: Plan,
    start: Instant,
    wheel: Wheel,
}

impl Pacer {
    /// A pacer of a shard's agents, whose plan begins at `start`. Planned times are those of the whole fleet.
    pub fn new(plan: Plan, shard: Shard, start: Instant) -> Self {
        let mut wheel = Wheel::new();
        for agent in shard.agents(plan.size()) {
            wheel.insert(Entry {
                due_ms: plan.due_ms(agent, 0),
                agent,
                round: 0,
            });
        }
        Self { plan, start, wheel }
    }

    /// Waits until check-ins are due and returns all of them in order, each with its next one planned already. May be
    /// dropped before it is ready without losing any.
    pub async fn due(&mut self) -> Vec<Due> {
        let Some(next) = self.wheel.next_due_ms() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.start + Duration::from_millis(next)).await;
        let now_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.wheel.advance(now_ms.max(next));
        for entry in &due {
            let round = entry.round.saturating_add(1);
            self.wheel.insert(Entry {
                due_ms: self.plan.due_ms(entry.agent, round),
                agent: entry.agent,
                round,
            });
        }
        due.into_iter()
            .map(|entry| Due {
                agent: entry.agent,
                round: entry.round,
                planned: self.start + Duration::from_millis(entry.due_ms),
            })
            .collect()
    }

    /// Bytes that the waiting agents take.
    pub fn bytes(&self) -> usize {
        self.wheel.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(size: u32, ramp_ms: u64, interval_ms: u64, jitter: f64) -> Plan {
        Plan {
            seed: 7,
            size,
            ramp_ms,
            interval_ms,
            jitter,
            late: HashMap::new(),
        }
    }

    #[test]
    fn same_seed_makes_the_same_plan_and_another_seed_another() {
        let times = |seed| {
            let plan = Plan {
                seed,
                ..plan(100, 5000, 1000, 0.5)
            };
            (0..100)
                .flat_map(|agent| (0..5).map(move |round| (agent, round)))
                .map(|(a, r)| plan.due_ms(a, r))
                .collect::<Vec<_>>()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }

    proptest! {
        #[test]
        fn planned_times_keep_ramp_interval_and_jitter(
            size in 1u32..500, ramp in 0u64..100_000, interval in 1u64..100_000, jitter in 0.0f64..=1.0, pick in 0u32..500,
        ) {
            let plan = plan(size, ramp, interval, jitter);
            let agent = pick % size;
            let first = plan.due_ms(agent, 0);
            prop_assert!(first <= ramp);
            let mut last = first;
            for round in 1..20 {
                let due = plan.due_ms(agent, round);
                prop_assert!(due > last);
                let regular = first + u64::from(round) * interval;
                prop_assert!(due >= regular);
                #[allow(clippy::cast_precision_loss)]
                let off = (due - regular) as f64;
                #[allow(clippy::cast_precision_loss)]
                let limit = jitter * interval as f64;
                prop_assert!(off <= limit);
                last = due;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_planned_check_in_is_handed_out_at_its_time() {
        let plan = plan(50, 2000, 700, 0.3);
        let start = Instant::now();
        let mut pacer = Pacer::new(plan.clone(), Shard::WHOLE, start);
        let mut seen = std::collections::BTreeSet::new();
        while start.elapsed() < Duration::from_secs(10) {
            for due in pacer.due().await {
                let planned = start + Duration::from_millis(plan.due_ms(due.agent, due.round));
                assert_eq!(due.planned, planned);
                assert!(Instant::now() >= planned && Instant::now() - planned <= Duration::from_millis(2));
                assert!(seen.insert((due.agent, due.round)));
            }
        }
        let expected = (0..50u32)
            .flat_map(|agent| (0..20u32).map(move |round| (agent, round)))
            .filter(|(agent, round)| plan.due_ms(*agent, *round) < 10_000);
        for pair in expected {
            assert!(seen.contains(&pair), "{pair:?} was never due");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_caller_gets_everything_it_missed_with_its_planned_time() {
        let plan = plan(1, 0, 100, 0.0);
        let start = Instant::now();
        let mut pacer = Pacer::new(plan, Shard::WHOLE, start);
        tokio::time::advance(Duration::from_millis(350)).await;
        let mut planned = Vec::new();
        while planned.len() < 4 {
            planned.extend(pacer.due().await.into_iter().map(|due| due.planned - start));
        }
        assert_eq!(planned, [0, 100, 200, 300].map(Duration::from_millis));
        assert_eq!(start.elapsed(), Duration::from_millis(350));
    }
}
