//! Logins at the machine, from the event log's security channel (event 4624).

use super::{registry, users, wmi};
use crate::events::event_xml::{Event, MalformedEvent};
use crate::host::Host;
use crate::inventory::field::{CollectError, Result, field};
use crate::inventory::{Options, is_uuid};
use jiff::civil::DateTime;
use oco_protocol::inventory::Login;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

const CHANNEL: &str = "Security";

/// Events that are looked at, the newest ones.
const MOST: usize = 10_000;

/// Logon types: at the screen, by remote desktop, at the screen without a domain controller.
const TYPES: [&str; 3] = ["2", "10", "11"];

/// The process that asks people for their password.
const PROCESS: &str = "User32";

/// An administrator's login is logged twice, once for each of the tokens, at almost the same time.
const SAME_LOGIN: Duration = Duration::from_secs(1);

/// Logins since the moment in the options, oldest first.
pub(super) fn collect(host: &dyn Host, options: &Options) -> Result<Vec<Login>> {
    let since = options.logins_since.as_deref();
    let mut events = Vec::new();
    host.event_log(CHANNEL, &query(since), &mut |xml| {
        events.push(xml.to_owned());
        if events.len() < MOST {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    let records = records(&events, since);
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let full_names = field("logins.display_name", full_names(host)).unwrap_or_default();
    let mut guids = BTreeMap::new();
    let logins = records.into_iter().map(|record| Login {
        guid: guids
            .entry(record.sid.clone())
            .or_insert_with(|| field("logins.guid", guid(host, &record.sid)).flatten())
            .clone(),
        display_name: full_names.get(&record.sid).cloned().unwrap_or_default(),
        timestamp: timestamp(&record),
        username: if options.username_with_domain && !record.domain.is_empty() {
            format!("{}\\{}", record.domain, record.user)
        } else {
            record.user
        },
        console: record.console,
    });
    Ok(logins.collect())
}

/// Which events are wanted. What the server said of the time gets into it only if it is one.
fn query(since: Option<&str>) -> String {
    let time = since
        .and_then(|since| since.parse::<DateTime>().ok())
        .map(|since| format!(" and TimeCreated[@SystemTime>='{since}.000Z']"))
        .unwrap_or_default();
    let types: Vec<_> = TYPES
        .iter()
        .map(|kind| format!("Data[@Name='LogonType']='{kind}'"))
        .collect();
    format!(
        "*[System[(EventID=4624){time}] and EventData[({})]]",
        types.join(" or ")
    )
}

/// One login.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    time: jiff::Timestamp,
    sid: String,
    user: String,
    domain: String,
    console: String,
}

fn records(events: &[String], since: Option<&str>) -> Vec<Record> {
    let mut records: Vec<_> = events
        .iter()
        .filter_map(|xml| record(&field("logins", Event::parse(xml).map_err(malformed))?))
        .filter(|record| since.is_none_or(|since| timestamp(record).as_str() >= since))
        .collect();
    records.sort_by_key(|record| record.time);
    let mut seen = BTreeMap::new();
    records.retain(|record| {
        let key = (record.sid.clone(), record.console.clone());
        let before = seen.insert(key, record.time);
        before.is_none_or(|before| record.time.duration_since(before).unsigned_abs() > SAME_LOGIN)
    });
    records
}

fn malformed(event: MalformedEvent) -> CollectError {
    CollectError::malformed("an event", event)
}

fn record(event: &Event) -> Option<Record> {
    let kind = event.data("LogonType");
    let user = event.data("TargetUserName");
    let of_a_person = TYPES.contains(&kind)
        && event.data("LogonProcessName").eq_ignore_ascii_case(PROCESS)
        && !user.is_empty();
    let from = event.data("IpAddress");
    of_a_person.then(|| Record {
        time: event.time,
        sid: event.data("TargetUserSid").to_owned(),
        user: user.to_owned(),
        domain: event.data("TargetDomainName").to_owned(),
        // Windows calls the session at the screen so.
        console: match from {
            "" | "127.0.0.1" | "::1" => "console".to_owned(),
            address => address.to_owned(),
        },
    })
}

/// Of the local accounts, by SID.
fn full_names(host: &dyn Host) -> Result<BTreeMap<String, String>> {
    let rows = wmi::rows(
        host,
        "SELECT FullName, SID FROM Win32_UserAccount WHERE LocalAccount = TRUE",
    )?;
    Ok(rows
        .iter()
        .map(|row| (wmi::text(row, "SID"), wmi::text(row, "FullName")))
        .collect())
}

/// The directory's UUID of a user, which is kept with the profile: `{5F1C...}`. Written as Linux machines do.
fn guid(host: &dyn Host, sid: &str) -> Result<Option<String>> {
    let guid = users::profile(host, sid)?.and_then(|profile| registry::text(&profile, "Guid"));
    let guid = guid.map(|guid| guid.trim_matches(['{', '}']).to_ascii_lowercase());
    Ok(guid.filter(|guid| is_uuid(guid)))
}

fn timestamp(record: &Record) -> String {
    record.time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: &str, kind: u32, process: &str, user: &str, from: &str) -> String {
        format!(
            "<Event><System><EventID>4624</EventID><TimeCreated SystemTime='{time}'/></System><EventData>\
             <Data Name='TargetUserSid'>S-1-5-21-1-{user}</Data><Data Name='TargetUserName'>{user}</Data>\
             <Data Name='TargetDomainName'>CORP</Data><Data Name='LogonType'>{kind}</Data>\
             <Data Name='LogonProcessName'>{process}</Data><Data Name='IpAddress'>{from}</Data></EventData></Event>"
        )
    }

    #[test]
    fn only_people_at_the_screen_or_by_remote_desktop_have_logged_in() {
        let events = [
            event("2026-11-21T10:00:00.5Z", 10, "User32 ", "berta", "192.0.2.7"),
            event("2026-11-21T08:15:00.0Z", 2, "User32 ", "anna", "127.0.0.1"),
            event("2026-11-21T08:00:00.0Z", 2, "Advapi  ", "DWM-1", "-"),
            event("2026-11-21T08:00:01.0Z", 3, "NtLmSsp ", "anna", "192.0.2.8"),
            event("2026-11-20T08:00:01.0Z", 11, "User32 ", "anna", "-"),
            "<Event>".to_owned(),
        ];
        let found = |since| {
            let records = records(&events, since);
            records
                .into_iter()
                .map(|record| format!("{} {} {}", timestamp(&record), record.user, record.console))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found(Some("2026-11-21 00:00:00")),
            [
                "2026-11-21 08:15:00 anna console",
                "2026-11-21 10:00:00 berta 192.0.2.7"
            ]
        );
        assert_eq!(found(None).len(), 3);
    }

    #[test]
    fn the_two_tokens_of_an_administrator_are_one_login() {
        let events = [
            event("2026-11-21T08:15:00.95Z", 2, "User32 ", "anna", "-"),
            event("2026-11-21T08:15:01.05Z", 2, "User32 ", "anna", "-"),
            event("2026-11-21T08:15:01.05Z", 2, "User32 ", "berta", "-"),
            event("2026-11-21T08:15:10.00Z", 2, "User32 ", "anna", "-"),
        ];
        assert_eq!(records(&events, None).len(), 3);
    }

    #[test]
    fn only_a_moment_gets_into_the_query() {
        let query_of = |since| query(Some(since));
        assert!(query_of("2026-11-21 08:15:00").contains("[@SystemTime>='2026-11-21T08:15:00.000Z']"));
        assert_eq!(query_of("'] or *[x='"), query(None));
        assert!(!query(None).contains("TimeCreated"));
    }
}
