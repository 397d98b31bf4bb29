//! `oco.agent.update`: the inventory, of which only what changed is stored.

use super::envelope::is_readable;
use super::hello::wants_update;
use super::{MAX_ITEMS, Request, Sender, is_date_time, section_digest, store_in_turn};
use crate::error::Refusal;
use crate::generation::ServerGeneration;
use crate::policies::PolicyBook;
use crate::state::ServerState;
use crate::store::inventory::{ChangedSection, LoginRow, Section, SoftwareItem, StoreInventory};
use crate::store::{Computer, ComputerState, Digests};
use axum::response::Response;
use oco_protocol::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// Time after an update within which a forced one is refused.
const FORCED_UPDATE_PAUSE: Duration = Duration::from_secs(25);
/// Longest name and version of an operating system in lists, characters; the inventory has them whole.
const MAX_OS: usize = 200;
/// Fields that differ every time; they would have the facts rewritten at every update.
const VOLATILE: [&str; 3] = ["uptime", "battery_level", "battery_status"];

type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Serves an inventory.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let mut sender = request.sender().await?;
    let fields = fields(&request)?;
    // Inventories of one computer are compared and stored one after the other.
    let turn = sender.computer.inventory.clone().lock_owned().await;
    // As the one before has left it.
    if let Some(computer) = request.state.computer(&request.envelope.params.hostname).await? {
        sender.computer = computer;
    }
    let now = request.state.now();
    if is_too_often(&sender.computer.state(), now) {
        return Err(Refusal::UpdateRefused);
    }
    if request.state.generation == ServerGeneration::September2022 && !is_wanted(request.state, &sender, now)
    {
        return Err(Refusal::UpdateNotNecessary);
    }
    let (digests, first) = {
        let known = sender.computer.state();
        (known.digests, known.last_update.is_none())
    };
    let parsed = Parsed::from_fields(&fields, digests)?;
    let computer = sender.computer.clone();
    store(request.state, sender.computer, parsed, &fields, now, turn).await?;
    let php = request.state.php;
    if request.state.generation == ServerGeneration::September2022 {
        return request.answer(&sender.seal, true.into(), php.empty_object());
    }
    let policies = policies(request.state, &computer, first).await?;
    request.answer(&sender.seal, true.into(), json!({ "policies": policies }))
}

/// The fields, which can be read back. Of software only texts are stored, so that the longest part by far is not parsed
/// once more for it.
fn fields<'a>(request: &Request<'a>) -> Result<Fields<'a>, Refusal> {
    let fields: Fields<'a> = request.envelope.params.unchecked_data()?;
    let stored = fields
        .iter()
        .filter(|(name, _)| Section::of_field(name) != Section::Software);
    for (_, raw) in stored {
        if !is_readable(raw.get()) {
            return Err(Refusal::Parameters);
        }
    }
    Ok(fields)
}

/// Whether a hello would ask for an inventory now.
fn is_wanted(state: &ServerState, sender: &Sender, now: Timestamp) -> bool {
    let interval = state.settings().update_interval;
    wants_update(&sender.computer.state(), false, now, interval)
}

/// The policies as an answer has them, by scope. As on a real server, the first one to a computer never has any.
async fn policies(
    state: &ServerState,
    computer: &Computer,
    first: bool,
) -> Result<Map<String, Value>, Refusal> {
    let rules = state.rules();
    let guids = if rules.policies.has_users() && !first {
        state.store.user_guids(computer.id).await?
    } else {
        Vec::new()
    };
    let groups = computer.state().groups.clone();
    let resolved = if first {
        PolicyBook::default().resolve(&[], &[])
    } else {
        rules.policies.resolve(&groups, &guids)
    };
    let shaped = resolved
        .into_iter()
        .map(|(scope, policies)| (scope, state.php.object(policies.into_iter().collect())));
    Ok(shaped.collect())
}

/// Whether the server asks for an update that it has just had.
fn is_too_often(state: &ComputerState, now: Timestamp) -> bool {
    let pause = FORCED_UPDATE_PAUSE.as_micros();
    let age = |last: Timestamp| now.as_micros().saturating_sub(last.as_micros());
    state.force_update
        && state
            .last_update
            .is_some_and(|last| u128::from(age(last)) < pause)
}

/// What of an inventory differs from the stored one.
#[derive(Debug, Default)]
struct Parsed<'a> {
    sections: Vec<ChangedSection>,
    software: Option<(i64, Vec<SoftwareItem<'a>>)>,
    logins: Option<(i64, Vec<LoginRow>)>,
    volatile: String,
}

impl<'a> Parsed<'a> {
    fn from_fields(fields: &Fields<'a>, known: Digests) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        let mut facts = Vec::new();
        let mut volatile = Vec::new();
        for (name, raw) in fields {
            let section = Section::of_field(name);
            // Null stands for "unknown" in these fields: what is stored stays.
            if section != Section::Facts && raw.get() == "null" {
                continue;
            }
            match section {
                Section::Facts if VOLATILE.contains(&name.as_ref()) => volatile.push((name.as_ref(), *raw)),
                Section::Facts => facts.push((name.as_ref(), *raw)),
                section => parsed.add(section, raw, known)?,
            }
        }
        parsed.volatile = object(&volatile);
        let content = object(&facts);
        let digest = section_digest(&[content.as_bytes()]);
        if known[Section::Facts as usize] != digest {
            parsed.sections.push(ChangedSection {
                section: Section::Facts,
                digest,
                content,
            });
        }
        Ok(parsed)
    }

    /// Adds a section if it changed. What cannot be stored is refused as the database of a real server refuses it.
    fn add(&mut self, section: Section, raw: &'a RawValue, known: Digests) -> Result<(), Refusal> {
        let text = raw.get();
        let digest = section_digest(&[text.as_bytes()]);
        if known[section as usize] == digest {
            return Ok(());
        }
        match section {
            Section::Software => {
                let items = serde_json::from_str(text)
                    .map_err(|_| Refusal::Conflict("a software item has no name or no version"))?;
                self.software = Some((digest, items));
            }
            Section::Logins => {
                let logins: Vec<LoginRow> = serde_json::from_str(text)
                    .map_err(|_| Refusal::Conflict("a login is no object of texts"))?;
                if logins.len() > MAX_ITEMS {
                    return Err(Refusal::InvalidJson);
                }
                self.logins = Some((
                    digest,
                    logins
                        .into_iter()
                        .filter(|login| !login.username.is_empty() && is_date_time(&login.timestamp))
                        .collect(),
                ));
            }
            section => self.sections.push(ChangedSection {
                section,
                digest,
                content: text.to_owned(),
            }),
        }
        Ok(())
    }
}

/// A JSON object of raw values.
fn object(fields: &[(&str, &RawValue)]) -> String {
    let mut text = String::from("{");
    for (index, (name, raw)) in fields.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(*name).to_string());
        text.push(':');
        text.push_str(raw.get());
    }
    text.push('}');
    text
}

/// Stores what changed, in a task of its own: a client that hangs up must not let the next inventory in too early.
async fn store(
    state: &Arc<ServerState>,
    computer: Arc<Computer>,
    parsed: Parsed<'_>,
    fields: &Fields<'_>,
    now: Timestamp,
    turn: OwnedMutexGuard<()>,
) -> Result<(), Refusal> {
    let text = |name: &str| {
        let text = fields.get(name).and_then(|raw| String::deserialize(*raw).ok())?;
        Some(text.chars().take(MAX_OS).collect())
    };
    let write = StoreInventory {
        computer,
        now,
        os: text("os"),
        os_version: text("os_version"),
        architecture: text("architecture"),
        volatile: parsed.volatile,
        sections: parsed.sections,
        software: parsed
            .software
            .map(|(digest, items)| (digest, state.store.software.resolve(items))),
        index: state.store.software.clone(),
        logins: parsed.logins,
    };
    store_in_turn(state, write, turn).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, known: Digests) -> Result<Parsed<'_>, Refusal> {
        Parsed::from_fields(&serde_json::from_str(text).unwrap(), known)
    }

    fn digests(parsed: &Parsed<'_>) -> Digests {
        let mut digests = Digests::default();
        for section in &parsed.sections {
            digests[section.section as usize] = section.digest;
        }
        if let Some((digest, _)) = parsed.software {
            digests[Section::Software as usize] = digest;
        }
        digests
    }

    const INVENTORY: &str = r#"{"os":"Debian","uptime":1.5,"users":[{"username":"a"}],"new":{"x":1},
        "software":[{"name":"n","version":"1","description":"d"}],"networks":null,
        "logins":[{"username":"u","timestamp":"2026-01-01 00:00:00"},{"username":"u","timestamp":"soon"}]}"#;

    #[test]
    fn an_inventory_is_split_into_sections() {
        let parsed = parse(INVENTORY, Digests::default()).unwrap();
        let contents: Vec<_> = parsed
            .sections
            .iter()
            .map(|s| (s.section, s.content.as_str()))
            .collect();
        assert_eq!(
            contents,
            [
                (Section::Users, r#"[{"username":"a"}]"#),
                (Section::Facts, r#"{"new":{"x":1},"os":"Debian"}"#)
            ]
        );
        assert_eq!(parsed.volatile, r#"{"uptime":1.5}"#);
        assert_eq!(parsed.software.as_ref().unwrap().1.len(), 1);
        assert_eq!(
            parsed.logins.as_ref().unwrap().1.len(),
            1,
            "a bad timestamp costs its item"
        );
    }

    #[test]
    fn what_did_not_change_is_left_out() {
        let first = parse(INVENTORY, Digests::default()).unwrap();
        let second = INVENTORY.replace("1.5", "99").replace("Debian", "Ubuntu");
        let second = parse(&second, digests(&first)).unwrap();
        assert_eq!(second.sections.len(), 1);
        assert_eq!(second.sections[0].section, Section::Facts);
        assert!(second.software.is_none());
    }

    #[test]
    fn software_without_a_version_is_refused() {
        for item in [r#"{"name":"n"}"#, r#"{"name":"n","version":null}"#, "7"] {
            let text = format!(r#"{{"software":[{item}]}}"#);
            assert!(
                matches!(parse(&text, Digests::default()), Err(Refusal::Conflict(_))),
                "{item}"
            );
        }
    }

    #[test]
    fn null_in_software_and_logins_is_nothing() {
        let text = r#"{"software":[{"name":"n","version":"1","description":null}],
            "logins":[{"username":"u","timestamp":"2026-01-01 00:00:00","console":null,"display_name":null,"guid":null},
            {"username":null,"timestamp":"2026-01-01 00:00:00"},{"username":"u","timestamp":null},{"username":"u"}]}"#;
        let parsed = parse(text, Digests::default()).unwrap();
        assert_eq!(parsed.software.unwrap().1[0].description, "");
        let logins = parsed.logins.unwrap().1;
        assert_eq!(logins.len(), 1, "{logins:?}");
        assert_eq!((&*logins[0].console, &*logins[0].display_name), ("", ""));
    }

    #[test]
    fn texts_without_escapes_are_not_copied() {
        let items: Vec<SoftwareItem<'_>> =
            serde_json::from_str(r#"[{"name":"n","version":"1","description":"d"}]"#).unwrap();
        assert!(matches!(items[0].description, Cow::Borrowed("d")));
    }

    #[test]
    fn too_many_logins_are_refused() {
        let login = r#"{"username":"u","timestamp":"2026-01-01 00:00:00"}"#;
        let logins = |count| format!(r#"{{"logins":[{}]}}"#, vec![login; count].join(","));
        assert!(parse(&logins(MAX_ITEMS), Digests::default()).is_ok());
        let surplus = logins(MAX_ITEMS + 1);
        let refusal = parse(&surplus, Digests::default());
        assert!(matches!(refusal, Err(Refusal::InvalidJson)));
    }

    #[test]
    fn only_a_forced_update_right_after_another_is_too_often() {
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        let mut state = ComputerState {
            last_update: Some(at(100)),
            ..ComputerState::default()
        };
        assert!(!is_too_often(&state, at(101)));
        state.force_update = true;
        assert!(is_too_often(&state, at(124)));
        assert!(!is_too_often(&state, at(125)));
    }
}
