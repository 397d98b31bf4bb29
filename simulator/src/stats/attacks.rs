//! What adversaries have tried and what came of it, and machines that a server has to refuse.

use crate::event::Attempt;
use crate::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Statuses that are told apart for each adversary.
const MAX_STATUSES: usize = 20;

/// What came of one adversary's attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttackFigures {
    /// Its name in the scenario.
    pub name: String,
    /// What it tried.
    pub kind: String,
    /// Attempts that were refused as they have to be.
    pub refused: u64,
    /// Attempts that the server accepted.
    pub accepted: u64,
    /// Attempts that were refused otherwise.
    pub otherwise: u64,
    /// Attempts without an answer, which say nothing.
    pub unanswered: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
}

impl AttackFigures {
    /// Those of a scenario, before the first attempt. Of a fleet's shards the first one has them.
    pub fn of(scenario: &Scenario) -> Vec<Self> {
        let leads = scenario.fleet.shard.index() == 0;
        let adversaries = scenario.adversary.iter().filter(|_| leads).map(|adversary| Self {
            name: adversary.name.get_ref().clone(),
            kind: adversary.kind.as_str().to_owned(),
            refused: 0,
            accepted: 0,
            otherwise: 0,
            unanswered: 0,
            statuses: BTreeMap::new(),
        });
        adversaries.collect()
    }

    /// Takes in an attempt.
    pub fn record(&mut self, attempt: Attempt) {
        let (count, status) = match attempt {
            Attempt::Accepted => (&mut self.accepted, Some(200)),
            Attempt::Refused(status) => (&mut self.refused, Some(status)),
            Attempt::CutOff => (&mut self.refused, None),
            Attempt::Otherwise(status) => (&mut self.otherwise, Some(status)),
            Attempt::Unanswered => (&mut self.unanswered, None),
        };
        *count += 1;
        if let Some(status) = status
            && (self.statuses.len() < MAX_STATUSES || self.statuses.contains_key(&status))
        {
            *self.statuses.entry(status).or_default() += 1;
        }
    }

    /// Adds what the same adversary has tried elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.refused += other.refused;
        self.accepted += other.accepted;
        self.otherwise += other.otherwise;
        self.unanswered += other.unanswered;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }

    /// Whether it was refused, always as it has to be.
    pub fn held(&self) -> bool {
        self.refused > 0 && self.accepted == 0 && self.otherwise == 0
    }
}

/// Machines that a server has to refuse, as it does not know them by their names: renamed ones and copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StrangerFigures {
    /// How many there were.
    pub agents: u32,
    /// Their check-ins that were refused.
    pub refused: u64,
    /// Their check-ins that went through.
    pub accepted: u64,
}
