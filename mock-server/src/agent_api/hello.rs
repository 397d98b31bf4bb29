//! `oco.agent.hello`: registration, and what the computer has to do.

mod answer;
mod decide;

use super::envelope::is_readable;
use super::{Request, Seal, section_digest, store_in_turn};
use crate::error::Refusal;
use crate::generation::{Generation, ServerGeneration};
use crate::keys;
use crate::state::ServerState;
use crate::store::check_ins::{CheckIn, CheckInRow};
use crate::store::computers::{Identify, Register, Registration};
use crate::store::inventory::{ChangedSection, Section, StoreSections};
use crate::store::{Computer, Digests};
use axum::response::Response;
use decide::Standing;
pub(super) use decide::wants_update;
use oco_protocol::job::Job;
use oco_protocol::lenient::Item;
use oco_protocol::rpc::HelloAnswer;
use oco_protocol::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Longest agent version, characters.
const MAX_AGENT_VERSION: usize = 64;

#[derive(Deserialize)]
struct HelloData<'a> {
    #[serde(default)]
    agent_version: Option<String>,
    #[serde(borrow, default)]
    networks: Option<&'a RawValue>,
    #[serde(borrow, default)]
    services: Option<&'a RawValue>,
    #[serde(default)]
    uptime: Value,
    #[serde(default)]
    battery_level: Value,
    #[serde(default)]
    battery_status: Value,
    #[serde(default)]
    force_update: Value,
}

/// What the server of 2022 answers beside its key.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct HelloOf2022 {
    agent_key: Option<Key>,
    update: u8,
    software_jobs: Vec<Item<Job>>,
}

/// Serves a hello.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let state = request.state;
    let known = state.computer(&request.envelope.params.hostname).await?;
    let (own_key, before, digests) = known.as_ref().map_or_else(Default::default, |computer| {
        let state = computer.state();
        (state.agent_key.clone(), state.generation(), state.digests)
    });
    // Which checks apply depends on the version, so the data are parsed before anything is checked.
    let data: Result<HelloData<'_>, Refusal> = request.envelope.params.unchecked_data();
    let version = data.as_ref().ok().and_then(|data| data.agent_version.as_deref());
    let generation = decide::generation(state.generation, before, version);
    let sends_timestamps = Generation::of_agent(version) == Generation::Signed;
    request.check_form(generation)?;
    let standing = decide::standing(
        own_key.as_ref(),
        known.is_some(),
        &state.agent_key,
        state.settings().self_registration,
        generation,
        |key| request.is_made_with(key, generation),
    )?;
    let timestamp = request.timestamp(generation)?;
    let data = data?;
    let changed = changed_sections(&data, &digests);
    // What is stored as it is has to be readable, as what is stored already is.
    if changed.iter().any(|section| !is_readable(&section.content)) {
        return Err(Refusal::Parameters);
    }
    if data
        .agent_version
        .as_ref()
        .is_some_and(|version| version.chars().count() > MAX_AGENT_VERSION)
    {
        return Err(Refusal::InvalidJson);
    }
    let now = state.now();
    let answered_at = state.answer_time(known.as_deref());
    let check_in = |computer_id| CheckInRow {
        computer_id,
        // None of a keyed agent, nor of one that is about to be: what comes after has nothing to be newer than.
        agent_timestamp: if sends_timestamps {
            timestamp
        } else {
            Timestamp::ZERO
        },
        seen_at: now,
        answered_at: answered_at.unwrap_or(Timestamp::ZERO),
        uptime: data.uptime.as_f64(),
        battery_level: data.battery_level.as_f64(),
        battery_status: data.battery_status.as_i64(),
    };
    // The server of 2022 knows no such wish: it refuses an update that it did not ask for by itself.
    let asked = state.generation == ServerGeneration::Current && flag(&data.force_update);
    let (server_key, answer) = match (standing, known) {
        (Standing::Registered, Some(computer)) => {
            let before = computer.advance(timestamp);
            if generation == Generation::Signed && before.is_none() {
                return Err(Refusal::TimestampTooOld);
            }
            let stored = changed.is_empty().then_some(digests);
            let welcome = welcome_back(&request, &data, &computer, check_in(computer.id), stored).await;
            let server_key = or_taken_back(welcome, Some(&computer), timestamp, before)?;
            (
                server_key,
                answer::answer(state, Some(&computer), asked, request.peer, now).await?,
            )
        }
        (_, known) => {
            let before = known.as_ref().map(|computer| computer.advance(timestamp));
            let is_new = timestamp != Timestamp::ZERO && before != Some(None);
            if generation == Generation::Signed && !is_new {
                return Err(Refusal::TimestampTooOld);
            }
            // From the registration on only the new keys are taken, so whatever may fail comes before it.
            let answer = answer::answer(state, known.as_ref(), asked, request.peer, now).await?;
            let registered = register(&request, &data, check_in(0)).await;
            let (agent_key, server_key) =
                or_taken_back(registered, known.as_ref(), timestamp, before.flatten())?;
            let answer = HelloAnswer {
                agent_key: Some(agent_key),
                server_key: Some(server_key.clone()),
                ..answer
            };
            (server_key, answer)
        }
    };
    let seal = Seal {
        server_key,
        generation,
        answered_at,
    };
    match state.generation {
        ServerGeneration::Current => request.answer(&seal, true.into(), answer),
        ServerGeneration::September2022 => {
            let answer = HelloOf2022 {
                agent_key: answer.agent_key,
                update: u8::from(answer.update),
                software_jobs: answer.software_jobs,
            };
            request.answer(&seal, true.into(), answer)
        }
    }
}

/// The outcome of a hello that was stored or not. Where its uid was refused, its timestamp was not accepted either.
fn or_taken_back<T>(
    outcome: Result<T, Refusal>,
    computer: Option<&Arc<Computer>>,
    timestamp: Timestamp,
    before: Option<Timestamp>,
) -> Result<T, Refusal> {
    if let (Err(Refusal::Conflict(_)), Some(computer), Some(before)) = (&outcome, computer, before) {
        computer.take_back(timestamp, before);
    }
    outcome
}

/// Stores the hello of a registered computer, whose server key is the answer. `stored`: the digests of all
/// that was stored when networks and services were found to be the same.
async fn welcome_back(
    request: &Request<'_>,
    data: &HelloData<'_>,
    computer: &Arc<Computer>,
    check_in: CheckInRow,
    stored: Option<Digests>,
) -> Result<Key, Refusal> {
    if check_in.agent_timestamp == Timestamp::ZERO {
        computer.forget_timestamp();
    }
    let (server_key, identify) = {
        let known = computer.state();
        let uid = request.envelope.params.uid.as_deref().or(known.uid.as_deref());
        let version = data.agent_version.as_deref().or(known.agent_version.as_deref());
        let address = request.peer.or(known.remote_address);
        let same = uid == known.uid.as_deref()
            && version == known.agent_version.as_deref()
            && address == known.remote_address;
        let identify = (!same).then(|| Identify {
            cache: request.state.store.cache.clone(),
            computer: computer.clone(),
            uid: uid.map(str::to_owned),
            agent_version: version.map(str::to_owned),
            remote_address: address,
        });
        (
            known.server_key.clone().ok_or(Refusal::InvalidSignature)?,
            identify,
        )
    };
    let store = &request.state.store;
    if let Some(identify) = identify
        && !store.write(identify).await?
    {
        return Err(Refusal::Conflict("the uid belongs to another computer"));
    }
    let is_the_same = stored == Some(computer.state().digests);
    let written = async { store.write(CheckIn(check_in)).await.map_err(Refusal::from) };
    let accepted = if is_the_same {
        written.await?
    } else {
        tokio::try_join!(written, store_sections(request.state, data, computer))?.0
    };
    // Another process may have had the same request.
    if accepted.get() {
        Ok(server_key)
    } else {
        Err(Refusal::TimestampTooOld)
    }
}

async fn register(
    request: &Request<'_>,
    data: &HelloData<'_>,
    check_in: CheckInRow,
) -> Result<(Key, Key), Refusal> {
    let state = request.state;
    let agent_key = keys::generate(&*state.random)?;
    let server_key = keys::generate(&*state.random)?;
    let registration = Register {
        cache: state.store.cache.clone(),
        hostname: request.envelope.params.hostname.as_ref().to_owned(),
        uid: request.envelope.params.uid.as_deref().map(str::to_owned),
        agent_key: agent_key.clone(),
        server_key: server_key.clone(),
        agent_version: data.agent_version.clone(),
        remote_address: request.peer,
        check_in,
        // It has had no keys to send any before.
        sections: changed_sections(data, &Digests::default()),
    };
    match state.store.write(registration).await? {
        Registration::Done => Ok((agent_key, server_key)),
        Registration::AlreadyRegistered => Err(Refusal::InvalidSignature),
        Registration::UidTaken => Err(Refusal::Conflict("the uid belongs to another computer")),
    }
}

/// Stores networks and services where they differ from the stored ones.
async fn store_sections(
    state: &Arc<ServerState>,
    data: &HelloData<'_>,
    computer: &Arc<Computer>,
) -> Result<(), Refusal> {
    // As inventories are: compared and stored one after the other, even where the client hangs up.
    let turn = computer.inventory.clone().lock_owned().await;
    let sections = changed_sections(data, &computer.state().digests);
    let write = StoreSections {
        computer: computer.clone(),
        sections,
    };
    store_in_turn(state, write, turn).await
}

fn changed_sections(data: &HelloData<'_>, digests: &Digests) -> Vec<ChangedSection> {
    [
        (Section::Networks, data.networks),
        (Section::Services, data.services),
    ]
    .into_iter()
    .filter_map(|(section, raw)| {
        let content = raw?.get();
        let digest = section_digest(&[content.as_bytes()]);
        (digests[section as usize] != digest).then(|| ChangedSection {
            section,
            digest,
            content: content.to_owned(),
        })
    })
    .collect()
}

fn flag(value: &Value) -> bool {
    oco_protocol::lenient::flag(value).unwrap_or(false)
}
