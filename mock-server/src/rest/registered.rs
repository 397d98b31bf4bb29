//! Fleets that are registered already.

use super::computers::MAX_HOSTNAME;
use super::{Body, MAX_PAGE, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::check_ins::CheckInRow;
use crate::store::computers::{Register, Registration};
use crate::store::registered::{Known, RegisterAll};
use axum::Json;
use axum::extract::State;
use oco_protocol::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest uid, key and agent version, characters: what the database takes.
const MAX_UID: usize = 200;
const MAX_KEY: usize = 200;
const MAX_VERSION: usize = 64;
/// Longest time that last inventories are spread over, s: a year.
const MAX_SPREAD: u32 = 366 * 24 * 3600;

/// Computers whose agents have their keys already.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fleet {
    #[schema(min_items = 1, max_items = 1000)]
    computers: Vec<RegisteredComputer>,
    /// Their last inventories count as sent within so many seconds before now, evenly and in the order of the computers,
    /// so that not all of them are asked for the next one at the same time. Without it, each is at its first hello.
    #[schema(minimum = 1, maximum = 31_622_400)]
    inventories_over: Option<u32>,
}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisteredComputer {
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    hostname: String,
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    uid: Option<String>,
    /// What it signs with.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    agent_key: Key,
    /// What the server signs with for it.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    server_key: Key,
    /// Of its agent; the generation that it speaks follows from it.
    #[schema(min_length = 1, max_length = 64, pattern = r"\S")]
    agent_version: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FleetRegistered {
    /// How many of them are registered with these keys now.
    registered: usize,
    /// The others, which are as they were.
    refused: Vec<RefusedComputer>,
}

/// A computer that is not registered with these keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedComputer {
    hostname: String,
    reason: String,
}

/// Registers many computers at once, with keys that their agents have. The same request again changes nothing.
#[utoipa::path(post, path = "/computers/registered", operation_id = "register_computers", tag = "computers",
    request_body = Fleet,
    responses((status = 200, description = "Which of them are registered", body = FleetRegistered)))]
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(fleet): Body<Fleet>,
) -> Result<Json<FleetRegistered>, ApiError> {
    let asked = fleet.computers.len();
    let write = registrations(&state, fleet)?;
    let names: Vec<_> = write
        .computers
        .iter()
        .map(|known| known.registration.hostname.clone())
        .collect();
    let outcomes = state.store.write(write).await?;
    let refused: Vec<_> = names
        .into_iter()
        .zip(outcomes)
        .filter_map(|(hostname, outcome)| {
            let reason = reason(&outcome)?.to_owned();
            Some(RefusedComputer { hostname, reason })
        })
        .collect();
    Ok(Json(FleetRegistered {
        registered: asked - refused.len(),
        refused,
    }))
}

fn reason(outcome: &Registration) -> Option<&'static str> {
    match outcome {
        Registration::Done => None,
        Registration::AlreadyRegistered => Some("it is registered with other keys"),
        Registration::UidTaken => Some("its uid belongs to another computer"),
    }
}

fn registrations(state: &ServerState, fleet: Fleet) -> Result<RegisterAll, ApiError> {
    let count = fleet.computers.len();
    if count == 0 || i64::try_from(count).map_or(true, |count| count > MAX_PAGE) {
        return Err(ApiError::Invalid(format!(
            "computers must have 1 to {MAX_PAGE} entries"
        )));
    }
    if let Some(over) = fleet.inventories_over
        && !(1..=MAX_SPREAD).contains(&over)
    {
        return Err(ApiError::Invalid(format!(
            "inventories_over must be 1 to {MAX_SPREAD} seconds"
        )));
    }
    let now = state.now();
    let computers = (0..).zip(fleet.computers).map(|(place, computer)| {
        let updated_at = fleet
            .inventories_over
            .map(|over| inventory_time(now, over, place, count));
        Ok(Known {
            registration: registration(state, computer, now)?,
            updated_at,
        })
    });
    Ok(RegisterAll {
        computers: computers.collect::<Result<_, ApiError>>()?,
        index: state.store.software.clone(),
    })
}

/// When the last inventory of the computer at a place of `count` counts as sent: the first one's is the oldest, and due
/// first.
fn inventory_time(now: Timestamp, over: u32, place: u64, count: usize) -> Timestamp {
    let over = u64::from(over) * 1_000_000;
    let left = over - over * place / (count as u64).max(1);
    Timestamp::from_micros(now.as_micros().saturating_sub(left))
}

fn registration(
    state: &ServerState,
    computer: RegisteredComputer,
    now: Timestamp,
) -> Result<Register, ApiError> {
    let optional =
        |field: &str, value: Option<String>, max| value.map(|value| text(field, &value, max)).transpose();
    for (field, key) in [
        ("agent_key", &computer.agent_key),
        ("server_key", &computer.server_key),
    ] {
        text(field, key.expose(), MAX_KEY)?;
    }
    Ok(Register {
        cache: state.store.cache.clone(),
        hostname: text("hostname", &computer.hostname, MAX_HOSTNAME)?,
        uid: optional("uid", computer.uid, MAX_UID)?,
        agent_key: computer.agent_key,
        server_key: computer.server_key,
        agent_version: optional("agent_version", computer.agent_version, MAX_VERSION)?,
        remote_address: None,
        check_in: CheckInRow::none_yet(now),
        sections: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_inventories_are_spread_evenly_from_the_oldest_to_the_latest() {
        let now = Timestamp::from_micros(10_000_000_000);
        let ages = [0, 1, 2, 3].map(|place| {
            let sent = inventory_time(now, 8, place, 4);
            (now.as_micros() - sent.as_micros()) / 1_000_000
        });
        assert_eq!(ages, [8, 6, 4, 2]);
        let start = Timestamp::from_micros(5);
        assert_eq!(inventory_time(start, 8, 0, 1), Timestamp::ZERO);
    }
}
