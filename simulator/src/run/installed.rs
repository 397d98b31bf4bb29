//! What agents are installed with.

use super::server::RunningServer;
use crate::lot::Lots;
use crate::scenario::Scenario;
use crate::simulated_host::{InvalidSetting, SharedSettings, VirtualState};
use std::sync::Arc;

/// The installations of a fleet: one for each generation of the protocol.
#[derive(Debug)]
pub(super) struct Installed {
    signed: VirtualState,
    keyed: VirtualState,
}

impl Installed {
    /// For a server.
    pub(super) fn new(server: &RunningServer) -> Result<Self, InvalidSetting> {
        let url = ("server", "api-url", server.agent_url().as_str());
        let state = |settings: SharedSettings| {
            VirtualState::installed(Arc::new(settings), server.agent_key().expose())
        };
        Ok(Self {
            signed: state(SharedSettings::new([url])?),
            keyed: state(SharedSettings::new([url, ("server", "protocol", "keyed")])?),
        })
    }

    /// What an agent begins with.
    pub(super) fn of(&self, scenario: &Scenario, agent: u32) -> VirtualState {
        if Lots(scenario).is_keyed(agent) {
            self.keyed.clone()
        } else {
            self.signed.clone()
        }
    }
}
