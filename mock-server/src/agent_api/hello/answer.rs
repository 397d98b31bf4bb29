//! The answer to a hello: jobs, event queries and passwords to rotate.

use super::decide::wants_update;
use crate::error::Refusal;
use crate::rules::Rules;
use crate::state::ServerState;
use crate::store::events::EventRule;
use crate::store::jobs::ExpireJobs;
use crate::store::passwords::{StoredPassword, StoredPasswordRule};
use crate::store::{Computer, ComputerState};
use oco_protocol::job::Job;
use oco_protocol::lenient::Item;
use oco_protocol::rpc::{EventQuery, HelloAnswer, PasswordRule};
use oco_protocol::{Key, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What everything is newer than.
const BEGINNING: &str = "1970-01-01 00:00:00";

/// The answer to a hello, without keys. A computer that is not known yet has neither jobs nor a history. `asked` tells
/// whether the agent itself asks for an update.
pub(super) async fn answer(
    state: &Arc<ServerState>,
    computer: Option<&Arc<Computer>>,
    asked: bool,
    peer: Option<IpAddr>,
    now: Timestamp,
) -> Result<HelloAnswer, Refusal> {
    let interval = state.settings().update_interval;
    let known = computer.map_or_else(
        || Known::of(&ComputerState::default(), asked, now, interval),
        |computer| Known::of(&computer.state(), asked, now, interval),
    );
    let computer = computer.map(|computer| computer.id);
    let jobs = match computer {
        Some(computer) if known.has_jobs => jobs(state, computer, peer, now).await?,
        _ => Vec::new(),
    };
    let rules = state.rules();
    Ok(HelloAnswer {
        server_key: None,
        agent_key: None,
        update: known.update,
        logins_since: Some(known.last_login.unwrap_or_else(|| BEGINNING.into())),
        software_jobs: jobs.into_iter().map(Item::Valid).collect(),
        events: event_queries(state, &rules, computer).await?,
        update_passwords: password_rules(state, &rules.passwords_for(&known.groups), computer, now).await?,
    })
}

/// What an answer needs of a computer's state, without its keys.
struct Known {
    has_jobs: bool,
    update: bool,
    last_login: Option<String>,
    groups: Vec<i64>,
}

impl Known {
    fn of(state: &ComputerState, asked: bool, now: Timestamp, interval: Duration) -> Self {
        Self {
            has_jobs: state.active_jobs > 0,
            update: wants_update(state, asked, now, interval),
            last_login: state.last_login.clone(),
            groups: state.groups.clone(),
        }
    }
}

/// The jobs to run now. Those whose time is over are ended on the way.
async fn jobs(
    state: &ServerState,
    computer: i64,
    peer: Option<IpAddr>,
    now: Timestamp,
) -> Result<Vec<Job>, Refusal> {
    let due = state.store.due_jobs(computer, peer, now).await?;
    if due.some_expired {
        let cache = state.store.cache.clone();
        state.store.write(ExpireJobs { cache, now }).await?;
    }
    Ok(due.jobs)
}

async fn event_queries(
    state: &ServerState,
    rules: &Rules,
    computer: Option<i64>,
) -> Result<Vec<Item<EventQuery>>, Refusal> {
    if rules.events.is_empty() {
        return Ok(Vec::new());
    }
    let last = match computer {
        Some(computer) => state.store.last_event(computer).await?,
        None => None,
    };
    let since = last.unwrap_or_else(|| BEGINNING.into());
    let query = |rule: &EventRule| {
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
    rules: &[StoredPasswordRule],
    computer: Option<i64>,
    now: Timestamp,
) -> Result<Vec<Item<PasswordRule>>, Refusal> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let (known, os) = match computer {
        Some(computer) => (
            state.store.latest_passwords(computer).await?,
            state.store.os_of(computer).await?,
        ),
        None => Default::default(),
    };
    let needs_old = os.is_some_and(|os| os.starts_with("macOS"));
    let due = rules.iter().filter_map(|rule| {
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
