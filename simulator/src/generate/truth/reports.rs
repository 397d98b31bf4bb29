//! The truth about what is reported beside the inventory: services, and events of the logs.

use crate::generate::Profile;
use crate::generate::profile::Release;
use crate::generate::release::Packages;
use crate::generate::windows::log::Log;
use oco_protocol::inventory::{Service, UNKNOWN};
use oco_protocol::rpc::Event;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What the checks in the folder say.
pub fn services(profile: &Profile, now: SystemTime) -> Vec<Service> {
    let services = profile.services(now).into_iter().map(|service| Service {
        status: service.status.to_owned(),
        name: service.name,
        merics: Some(service.metrics.clone()),
        metrics: Some(service.metrics),
        details: service.details,
    });
    services.collect()
}

/// Longest text that an agent reports, bytes.
const MOST_TEXT: usize = 32 << 10;

/// All that a machine's logs have: the journal of Linux, or the logs System and then Application of Windows.
pub fn events(profile: &Profile, now: SystemTime) -> Vec<Event> {
    match profile.release {
        Release::Linux(release) if release.packages != Packages::Apk => journal(profile, now),
        Release::Windows(_) => windows_logs(profile, now),
        Release::Linux(_) | Release::MacOs(_) => Vec::new(),
    }
}

fn journal(profile: &Profile, now: SystemTime) -> Vec<Event> {
    let events = profile.journal(now).into_iter().map(|entry| {
        let facility = if entry.unit.is_some() { "4" } else { "0" };
        Event {
            log: entry.unit.unwrap_or("journalctl").to_owned(),
            provider: entry.identifier.or(entry.process).unwrap_or(UNKNOWN).to_owned(),
            event_id: facility.to_owned().into(),
            level: entry.priority.unwrap_or("6").to_owned().into(),
            timestamp: super::logins::utc(entry.at),
            data: BTreeMap::from([("message".to_owned(), entry.text.into())]),
        }
    });
    events.collect()
}

fn windows_logs(profile: &Profile, now: SystemTime) -> Vec<Event> {
    let mut entries = profile.windows_log(now);
    // The order within a log stays.
    entries.sort_by_key(|entry| Log::ALL.iter().position(|log| *log == entry.log));
    let events = entries.into_iter().map(|entry| Event {
        log: entry.log.name().to_owned(),
        provider: entry.provider.unwrap_or(UNKNOWN).to_owned(),
        event_id: entry.id.to_string().into(),
        level: entry.level.to_string().into(),
        timestamp: super::logins::utc(entry.at),
        data: reported(entry.data),
    });
    events.collect()
}

/// What has the same name stands line by line; what is too long is cut.
fn reported(data: Vec<(String, String)>) -> BTreeMap<String, Value> {
    let mut texts = BTreeMap::<String, Vec<String>>::new();
    for (name, text) in data {
        texts.entry(name).or_default().push(text);
    }
    let texts = texts.into_iter().map(|(name, lines)| {
        let text = lines.join("\n");
        let text = match text.get(..MOST_TEXT) {
            Some(beginning) if text.len() > MOST_TEXT => format!("{beginning}…"),
            _ => text,
        };
        (name, text.into())
    });
    texts.collect()
}
