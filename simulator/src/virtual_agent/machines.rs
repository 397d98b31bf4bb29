//! The machines of a fleet's agents: pure functions of the scenario and an agent's index.

use super::surroundings;
use crate::generate::traits::Alias;
use crate::generate::{Machine, Profile, Traits};
use crate::lot::Lots;
use crate::scenario::Scenario;
use crate::simulated_host::{SharedSettings, SimulatedHost, Surroundings, VirtualClock, VirtualState};
use oco_agent::config::Paths;
use oco_agent::host::Os;
use oco_agent::inventory::{self, Identity};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All machines of a scenario.
#[derive(Debug, Clone)]
pub struct Machines {
    scenario: Arc<Scenario>,
    surroundings: BTreeMap<Os, Arc<Surroundings>>,
    settings: Arc<SharedSettings>,
}

impl Machines {
    /// Those of a scenario.
    pub fn new(scenario: Arc<Scenario>) -> Self {
        let surroundings = Os::ALL
            .into_iter()
            .map(|os| (os, Arc::new(surroundings::of(&scenario, os))));
        Self {
            surroundings: surroundings.collect(),
            scenario,
            settings: Arc::default(),
        }
    }

    /// Where an agent keeps its files.
    pub(super) fn paths(&self, agent: u32) -> Option<&Paths> {
        let surroundings = self.surroundings.get(&self.scenario.os_of(agent))?;
        Some(&surroundings.paths)
    }

    /// The machine of an agent, by the name that it has from the beginning or another one, with what its agent wrote.
    pub(super) fn host(
        &self,
        agent: u32,
        renamed: bool,
        state: VirtualState,
        clock: VirtualClock,
    ) -> SimulatedHost {
        let original = Lots(&self.scenario).copy_of(agent);
        let os = self.scenario.os_of(agent);
        let surroundings = self.surroundings.get(&os).cloned();
        let surroundings = surroundings.unwrap_or_else(|| Arc::new(Surroundings::installed(os)));
        let mut profile = self.profile(original.unwrap_or(agent), &surroundings.traits);
        if original.is_some() {
            profile = profile.with_alias(Alias::Copy(agent.into()));
        } else if renamed {
            profile = profile.with_alias(Alias::Renamed);
        }
        SimulatedHost::new(profile, surroundings, state, clock)
    }

    /// What an agent calls itself from the beginning; none where it could not even tell.
    pub fn identity(&self, agent: u32) -> Option<Identity> {
        let clock = VirtualClock::fixed(self.scenario.fleet.start.0);
        let state = VirtualState::installed(self.settings.clone(), "");
        let options = inventory::Options {
            hostname_remove_domain: true,
            ..inventory::Options::default()
        };
        inventory::identity(&self.host(agent, false, state, clock), &options).ok()
    }

    /// Whether an agent's machine has such a local account.
    pub(super) fn has_account(&self, agent: u32, username: &str) -> bool {
        let surroundings = self.surroundings.get(&self.scenario.os_of(agent));
        surroundings.is_some_and(|here| self.profile(agent, &here.traits).has_account(username))
    }

    fn profile(&self, agent: u32, traits: &Traits) -> Profile {
        let machine = Machine {
            seed: self.scenario.fleet.seed,
            index: agent.into(),
            os: self.scenario.os_of(agent),
        };
        Profile::of(machine, traits)
    }
}
