//! Fleets that are registered before the run (`fleet.registered`): a million machines would take hours to register one
//! by one, and what is to be measured is the day after.

use crate::admin::{Admin, AdminError, REGISTRATIONS, Registration};
use crate::fleet::Fleet;
use crate::lot::Lots;
use crate::scenario::Scenario;
use crate::simulated_host::VirtualState;
use crate::virtual_agent::Machines;
use futures::stream::{self, StreamExt, TryStreamExt};
use oco_agent::inventory::Identity;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// Requests under way at a time: while the server stores one, the next one is made.
const AT_ONCE: usize = 4;
/// What servers make keys of.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Length of the keys that servers make.
const KEY_LENGTH: usize = 30;

/// A computer that is to be registered.
struct Newcomer {
    agent: u32,
    identity: Identity,
    agent_key: String,
    server_key: String,
}

/// Registers all agents of the fleet that the scenario wants to be known already and that have no keys yet (of an earlier
/// run), and gives them their keys.
pub(super) async fn register(
    scenario: &Arc<Scenario>,
    mock: &Admin,
    fleet: &mut Fleet,
) -> Result<(), AdminError> {
    let lots = Lots(scenario);
    let unknown: Vec<u32> = fleet
        .idle_mut()
        .filter(|(agent, state)| !state.is_registered() && lots.is_known(*agent))
        .map(|(agent, _)| agent)
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let inventories_over = mock.update_interval().await?;
    let machines = Machines::new(scenario.clone());
    let mut registered = stream::iter(unknown.chunks(REGISTRATIONS).map(<[u32]>::to_vec))
        .map(|agents| register_some(machines.clone(), scenario, mock, agents, inventories_over))
        .buffered(AT_ONCE);
    let mut idle = fleet.idle_mut();
    while let Some(newcomers) = registered.try_next().await? {
        for newcomer in newcomers {
            // Both are in the order of the agents.
            if let Some((_, state)) = idle.find(|(agent, _)| *agent == newcomer.agent) {
                let (agent_key, server_key) = (&newcomer.agent_key, &newcomer.server_key);
                *state = VirtualState::registered(state.settings(), agent_key, server_key, None);
            }
        }
    }
    Ok(())
}

async fn register_some(
    machines: Machines,
    scenario: &Scenario,
    mock: &Admin,
    agents: Vec<u32>,
    inventories_over: Duration,
) -> Result<Vec<Newcomer>, AdminError> {
    let newcomers = tokio::task::spawn_blocking(move || newcomers(&machines, &agents));
    let newcomers = newcomers.await.unwrap_or_default();
    let registrations: Vec<_> = newcomers
        .iter()
        .map(|newcomer| Registration {
            hostname: &newcomer.identity.hostname,
            uid: &newcomer.identity.uid,
            agent_key: &newcomer.agent_key,
            server_key: &newcomer.server_key,
            agent_version: match Lots(scenario).is_keyed(newcomer.agent) {
                true => oco_protocol::keyed::AGENT_VERSION,
                false => oco_agent::agent::AGENT_VERSION,
            },
        })
        .collect();
    super::administrator::patiently(|| mock.register(&registrations, inventories_over)).await?;
    Ok(newcomers)
}

/// Keys are random whatever the seed is: whoever knows the seed is not to know them.
fn newcomers(machines: &Machines, agents: &[u32]) -> Vec<Newcomer> {
    let newcomers = agents.iter().filter_map(|agent| {
        Some(Newcomer {
            agent: *agent,
            identity: machines.identity(*agent)?,
            agent_key: key(),
            server_key: key(),
        })
    });
    newcomers.collect()
}

fn key() -> String {
    let mut random = rand::rng();
    let characters = (0..KEY_LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    characters.collect()
}
