//! What is forgotten so that a server under test does not fill its disk: a pass from time to time, in small writes.
//!
//! By default only the events of a computer are limited, to 10,000; everything else is kept for good. What the server
//! itself goes by outlives its rows: the time of a computer's last login and its latest event stay. Jobs of deployment
//! rules stay as long as their rule, because a rule makes a job anew where there is none.

use crate::error::chain;
use crate::state::ServerState;
use crate::store::StoreError;
use crate::store::retention::{Forget, Old};
use oco_protocol::Timestamp;
use serde::Deserialize;
use std::sync::{Arc, Weak};
use std::time::Duration;

const DAY: u64 = 24 * 3600;
const MAX_DAYS: u64 = 100_000;

/// What is kept, and for how long; none: for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Age of an event by its own time.
    pub events: Option<Duration>,
    /// Events of one computer; the latest ones stay.
    pub events_per_computer: Option<u64>,
    /// Age of a login. Policies for users go to those whose logins are kept.
    pub logins: Option<Duration>,
    /// Age of containers whose jobs have all ended, counted from the last change; their jobs go with them.
    pub containers: Option<Duration>,
    /// Time between two passes.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: None,
            events_per_computer: Some(10_000),
            logins: None,
            containers: None,
            interval: Duration::from_secs(3600),
        }
    }
}

/// The `retention` table of the configuration file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FileRetention {
    /// See [`Retention::events`].
    #[serde(deserialize_with = "days")]
    pub event_days: Option<Duration>,
    /// See [`Retention::events_per_computer`]; 0: no limit.
    pub events_per_computer: Option<u32>,
    /// See [`Retention::logins`].
    #[serde(deserialize_with = "days")]
    pub login_days: Option<Duration>,
    /// See [`Retention::containers`].
    #[serde(deserialize_with = "days")]
    pub container_days: Option<Duration>,
    /// See [`Retention::interval`].
    #[serde(deserialize_with = "minutes")]
    pub interval_minutes: Option<Duration>,
}

fn within<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    unit: u64,
) -> Result<Option<Duration>, D::Error> {
    let count = u64::deserialize(deserializer)?;
    if !(1..=MAX_DAYS).contains(&count) {
        return Err(serde::de::Error::custom(format!("must be 1 to {MAX_DAYS}")));
    }
    Ok(Some(Duration::from_secs(count * unit)))
}

fn days<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    within(deserializer, DAY)
}

fn minutes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    within(deserializer, 60)
}

impl From<FileRetention> for Retention {
    fn from(file: FileRetention) -> Self {
        let default = Self::default();
        Self {
            events: file.event_days,
            events_per_computer: match file.events_per_computer {
                Some(0) => None,
                Some(count) => Some(u64::from(count)),
                None => default.events_per_computer,
            },
            logins: file.login_days,
            containers: file.container_days,
            interval: file.interval_minutes.unwrap_or(default.interval),
        }
    }
}

/// Runs a pass after each interval while the server lives.
pub(crate) fn start(state: &Arc<ServerState>, retention: Retention) {
    let state = Arc::downgrade(state);
    tokio::spawn(async move {
        while let Some(state) = next(&state, retention.interval).await {
            match forget(&state, &retention).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "old rows are forgotten"),
                Err(error) => tracing::warn!(error = chain(&error), "old rows are not forgotten"),
            }
        }
    });
}

/// The server after the wait; none where it has shut down meanwhile.
async fn next(state: &Weak<ServerState>, interval: Duration) -> Option<Arc<ServerState>> {
    tokio::time::sleep(interval).await;
    state.upgrade().filter(|state| !state.is_closed())
}

/// One pass; how many rows are gone.
async fn forget(state: &ServerState, retention: &Retention) -> Result<u64, StoreError> {
    let now = state.now();
    let before = |age: Duration| {
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(now.as_micros().saturating_sub(age))
    };
    let mut old = Vec::new();
    old.extend(retention.events.map(before).map(Old::EventsBefore));
    old.extend(retention.logins.map(before).map(Old::LoginsBefore));
    if let Some(kept) = retention.events_per_computer {
        let kept = i64::try_from(kept).unwrap_or(i64::MAX);
        let computers = state.store.computers_with_more_events(kept).await?;
        old.extend(
            computers
                .into_iter()
                .map(|computer| Old::EventsBeyond { computer, kept }),
        );
    }
    if let Some(age) = retention.containers {
        state.store.settle_expired(now).await?;
        let containers = state.store.ended_containers(before(age)).await?;
        old.extend(containers.into_iter().map(Old::Container));
    }
    old.extend(passwords(state).await?);
    let mut rows = 0;
    for old in old {
        // A write removes some rows, so that others get their turn in between.
        loop {
            let gone = state.store.write(Forget(old.clone())).await?;
            rows += gone;
            if gone == 0 {
                break;
            }
        }
    }
    Ok(rows)
}

/// Passwords beyond what the rule for their account keeps, which it may keep fewer of than before.
async fn passwords(state: &ServerState) -> Result<Vec<Old>, StoreError> {
    let rules = state.rules();
    if rules.passwords.iter().all(|rule| rule.history.is_none()) {
        return Ok(Vec::new());
    }
    let memberships = state.store.memberships().await?;
    let mut old = Vec::new();
    for (computer, username, count) in state.store.accounts_with_old_passwords().await? {
        let groups = memberships.get(&computer).map_or([].as_slice(), Vec::as_slice);
        let applicable = rules.passwords_for(groups);
        let rule = applicable.iter().find(|rule| rule.username == username);
        // The current one beside the history.
        let kept = rule.and_then(|rule| rule.history).map(|history| history + 1);
        if let Some(kept) = kept.filter(|kept| count > *kept) {
            old.push(Old::Passwords {
                computer,
                username,
                kept,
            });
        }
    }
    Ok(old)
}
