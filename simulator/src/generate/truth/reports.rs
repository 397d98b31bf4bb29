//! The truth about what is reported beside the inventory: services, and events of the journal.

use crate::generate::Profile;
use crate::generate::profile::Release;
use crate::generate::release::Packages;
use oco_protocol::inventory::{Service, UNKNOWN};
use oco_protocol::rpc::Event;
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

/// All that a Linux machine's journal has; others have none.
pub fn events(profile: &Profile, now: SystemTime) -> Vec<Event> {
    let Release::Linux(release) = profile.release else {
        return Vec::new();
    };
    if release.packages == Packages::Apk {
        return Vec::new();
    }
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
