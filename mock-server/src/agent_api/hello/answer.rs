//! The answer to a hello: jobs, event queries and passwords to rotate.

use super::decide::wants_update;
use crate::error::Refusal;
use crate::state::{Rules, ServerState};
use crate::store::Computer;
use crate::store::events::EventRule;
use crate::store::passwords::StoredPassword;
use oco_protocol::lenient::Item;
use oco_protocol::rpc::{EventQuery, HelloAnswer, PasswordRule};
use oco_protocol::{Key, Timestamp};
use std::sync::Arc;

/// What everything is newer than.
const BEGINNING: &str = "1970-01-01 00:00:00";

/// The answer to a hello that has been stored. `asked` tells whether the agent itself asks for an update.
pub(super) async fn answer(
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
