//! `oco.agent.hello`: registration, and what the computer has to do.

use super::{Request, section_digest};
use crate::error::Refusal;
use crate::keys;
use crate::state::{Rules, ServerState};
use crate::store::computers::{CheckIn, CheckInRow, Identify, Register, Registration};
use crate::store::inventory::{ChangedSection, Section, StoreSections};
use crate::store::passwords::StoredPassword;
use crate::store::{Computer, ComputerState};
use axum::response::Response;
use oco_protocol::lenient::Item;
use oco_protocol::rpc::{EventQuery, HelloAnswer, PasswordRule};
use oco_protocol::{Key, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// What everything is newer than.
const BEGINNING: &str = "1970-01-01 00:00:00";

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

/// Who says hello, as far as the signature tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Has keys and used its own.
    Registered,
    /// Has no keys yet and used the registration key.
    New,
}

/// Decides whether a hello may pass. `signed_with` tells whether the request is signed with a key.
fn standing(
    own_key: Option<&Key>,
    known: bool,
    registration_key: &Key,
    self_registration: bool,
    signed_with: impl Fn(&Key) -> bool,
) -> Result<Standing, Refusal> {
    match own_key {
        Some(key) if signed_with(key) => Ok(Standing::Registered),
        None if !signed_with(registration_key) => Err(Refusal::InvalidSignature),
        None if known || self_registration => Ok(Standing::New),
        None => Err(Refusal::RegistrationDisabled),
        Some(_) => Err(Refusal::InvalidSignature),
    }
}

/// Whether an inventory is wanted.
fn wants_update(state: &ComputerState, asked: bool, now: Timestamp, interval: Duration) -> bool {
    let age = |last: Timestamp| now.as_micros().saturating_sub(last.as_micros());
    asked
        || state.force_update
        || state
            .last_update
            .is_none_or(|last| u128::from(age(last)) >= interval.as_micros())
}

/// Serves a hello.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let state = request.state;
    let known = state.store.cache.get(&request.envelope.params.hostname);
    let own_key = known
        .as_ref()
        .and_then(|computer| computer.state().agent_key.clone());
    let standing = standing(
        own_key.as_ref(),
        known.is_some(),
        &state.agent_key,
        state.settings().self_registration,
        |key| request.is_signed_with(key),
    )?;
    let timestamp = request
        .envelope
        .params
        .timestamp
        .ok_or(Refusal::TimestampTooOld)?;
    let data: HelloData<'_> = request.envelope.params.data()?;
    let now = state.now();
    let check_in = |computer_id| CheckInRow {
        computer_id,
        agent_timestamp: timestamp,
        seen_at: now,
        uptime: data.uptime.as_f64(),
        battery_level: data.battery_level.as_f64(),
        battery_status: data.battery_status.as_i64(),
    };
    let (computer, server_key, new_keys) = match (standing, known) {
        (Standing::Registered, Some(computer)) => {
            let server_key = welcome_back(&request, &data, &computer, check_in(computer.id)).await?;
            (computer, server_key, None)
        }
        (_, known) => {
            if timestamp == Timestamp::ZERO || known.is_some_and(|computer| !computer.advance(timestamp)) {
                return Err(Refusal::TimestampTooOld);
            }
            let (computer, agent_key, server_key) = register(&request, &data, check_in(0)).await?;
            store_sections(state, &data, &computer).await?;
            (computer, server_key.clone(), Some((agent_key, server_key)))
        }
    };
    let answer = answer(state, &computer, new_keys, flag(&data.force_update), now).await?;
    request.answer(&server_key, true.into(), answer)
}

/// Stores the hello of a registered computer, whose server key is the answer.
async fn welcome_back(
    request: &Request<'_>,
    data: &HelloData<'_>,
    computer: &Arc<Computer>,
    check_in: CheckInRow,
) -> Result<Key, Refusal> {
    if !computer.advance(check_in.agent_timestamp) {
        return Err(Refusal::TimestampTooOld);
    }
    let (server_key, identify) = {
        let known = computer.state();
        let uid = request.envelope.params.uid.as_deref().or(known.uid.as_deref());
        let version = data.agent_version.as_deref().or(known.agent_version.as_deref());
        let identify =
            (uid != known.uid.as_deref() || version != known.agent_version.as_deref()).then(|| Identify {
                computer: computer.clone(),
                uid: uid.map(str::to_owned),
                agent_version: version.map(str::to_owned),
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
    store_sections(request.state, data, computer).await?;
    store.write(CheckIn(check_in)).await?;
    Ok(server_key)
}

async fn register(
    request: &Request<'_>,
    data: &HelloData<'_>,
    check_in: CheckInRow,
) -> Result<(Arc<Computer>, Key, Key), Refusal> {
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
        check_in,
    };
    match state.store.write(registration).await? {
        Registration::Done(computer) => Ok((computer, agent_key, server_key)),
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
    if changed_sections(data, computer).is_empty() {
        return Ok(());
    }
    // As inventories are: compared and stored one after the other, even where the client hangs up.
    let turn = computer.inventory.clone().lock_owned().await;
    let write = StoreSections {
        computer: computer.clone(),
        sections: changed_sections(data, computer),
    };
    let state = state.clone();
    let stored = tokio::spawn(async move {
        let stored = state.store.write(write).await;
        drop(turn);
        stored
    });
    stored
        .await
        .map_err(|_| Refusal::Conflict("storing was cut off"))?
        .map_err(Into::into)
}

fn changed_sections(data: &HelloData<'_>, computer: &Computer) -> Vec<ChangedSection> {
    let digests = computer.state().digests;
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

async fn answer(
    state: &Arc<ServerState>,
    computer: &Arc<Computer>,
    new_keys: Option<(Key, Key)>,
    asked: bool,
    now: Timestamp,
) -> Result<HelloAnswer, Refusal> {
    let interval = state.settings().update_interval;
    let (update, last_login, active_jobs) = {
        let known = computer.state();
        (
            wants_update(&known, asked, now, interval),
            known.last_login.clone(),
            known.active_jobs,
        )
    };
    let jobs = if active_jobs > 0 {
        state.store.due_jobs(computer.id, now).await?
    } else {
        Vec::new()
    };
    let rules = state.rules();
    let (agent_key, server_key) = new_keys.unzip();
    Ok(HelloAnswer {
        server_key,
        agent_key,
        update,
        logins_since: Some(last_login.unwrap_or_else(|| BEGINNING.into())),
        software_jobs: jobs.into_iter().map(Item::Valid).collect(),
        events: event_queries(state, &rules, computer.id).await?,
        update_passwords: password_rules(state, &rules, computer.id, now).await?,
    })
}

async fn event_queries(
    state: &ServerState,
    rules: &Rules,
    computer: i64,
) -> Result<Vec<Item<EventQuery>>, Refusal> {
    if rules.events.is_empty() {
        return Ok(Vec::new());
    }
    let since = state
        .store
        .last_event(computer)
        .await?
        .unwrap_or_else(|| BEGINNING.into());
    let query = |rule: &crate::store::events::EventRule| {
        Item::Valid(EventQuery {
            since: since.clone(),
            log: rule.log.clone(),
            query: rule.query.clone(),
        })
    };
    Ok(rules.events.iter().map(query).collect())
}

async fn password_rules(
    state: &ServerState,
    rules: &Rules,
    computer: i64,
    now: Timestamp,
) -> Result<Vec<Item<PasswordRule>>, Refusal> {
    if rules.passwords.is_empty() {
        return Ok(Vec::new());
    }
    let known = state.store.passwords_of(computer).await?;
    let needs_old = state
        .store
        .os_of(computer)
        .await?
        .is_some_and(|os| os.starts_with("macOS"));
    let due = rules.passwords.iter().filter_map(|rule| {
        let last = known.iter().find(|password| password.username == rule.username);
        is_due(last, rule.valid_for, now).then(|| PasswordRule {
            username: rule.username.clone(),
            alphabet: rule.alphabet.clone(),
            length: rule.length,
            old_password: last
                .filter(|_| needs_old)
                .map(|password| Key::new(password.password.clone())),
        })
    });
    Ok(due.map(Item::Valid).collect())
}

/// Whether a password is missing or older than `valid_for` seconds.
fn is_due(last: Option<&StoredPassword>, valid_for: i64, now: Timestamp) -> bool {
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    last.is_none_or(|password| now.saturating_sub(password.created_at) >= valid_for.saturating_mul(1_000_000))
}

fn flag(value: &Value) -> bool {
    oco_protocol::lenient::flag(value).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "own";
    const REGISTRATION: &str = "registration";

    fn decide(own: bool, known: bool, open: bool, signed: &str) -> Result<Standing, String> {
        let own_key = Key::new(OWN);
        standing(
            own.then_some(&own_key),
            known,
            &Key::new(REGISTRATION),
            open,
            |key| key.expose() == signed,
        )
        .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_computer_with_a_key_must_use_it() {
        assert_eq!(decide(true, true, true, OWN), Ok(Standing::Registered));
        assert_eq!(
            decide(true, true, true, REGISTRATION),
            Err("Invalid agent signature".into())
        );
    }

    #[test]
    fn a_pre_registered_computer_registers_even_where_self_registration_is_off() {
        assert_eq!(decide(false, true, false, REGISTRATION), Ok(Standing::New));
        assert_eq!(
            decide(false, true, false, "other"),
            Err("Invalid agent signature".into())
        );
    }

    #[test]
    fn an_unknown_computer_needs_self_registration_and_the_key() {
        assert_eq!(decide(false, false, true, REGISTRATION), Ok(Standing::New));
        assert_eq!(
            decide(false, false, true, "other"),
            Err("Invalid agent signature".into())
        );
        let disabled = Err("Client self-registration is disabled".into());
        assert_eq!(decide(false, false, false, REGISTRATION), disabled);
    }

    #[test]
    fn an_update_is_wanted_at_first_when_asked_for_and_when_old() {
        let interval = Duration::from_secs(10);
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        let mut state = ComputerState::default();
        assert!(wants_update(&state, false, at(100), interval));
        state.last_update = Some(at(100));
        assert!(!wants_update(&state, false, at(109), interval));
        assert!(!wants_update(&state, false, at(50), interval));
        assert!(wants_update(&state, false, at(110), interval));
        assert!(wants_update(&state, true, at(101), interval));
        state.force_update = true;
        assert!(wants_update(&state, false, at(101), interval));
    }
}
