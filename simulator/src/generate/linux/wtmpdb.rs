//! wtmpdb, which has logins in Debian from version 13 on: what `wtmpdb last --json` prints, see wtmpdb(8).

use crate::generate::{Profile, release};
use oco_agent::host::CommandOutput;
use serde_json::json;
use std::time::SystemTime;

/// Where the database is.
pub(super) const DATABASE: &str = "/var/lib/wtmpdb/wtmp.db";

/// Whether the distribution has it, and no `/var/log/wtmp`.
pub(super) fn is_used(release: &release::Linux) -> bool {
    release.id == "debian" && release.version_id == Some("13")
}

/// The newest first, in the machine's time zone.
pub(super) fn last(profile: &Profile, now: SystemTime) -> CommandOutput {
    let sessions = profile.sessions(now);
    let offset = if profile.language.locale == "en_US" { -5 } else { 1 };
    let zone = jiff::tz::Offset::constant(offset).to_time_zone();
    let moment = |seconds: u32| {
        let moment = jiff::Timestamp::from_second(seconds.into()).unwrap_or_default();
        let local = moment.to_zoned(zone.clone());
        local.strftime("%Y-%m-%dT%H:%M:%S%z").to_string()
    };
    let start = sessions.first().map_or(0, |session| session.at);
    let mut entries: Vec<_> = sessions
        .iter()
        .rev()
        .map(|session| {
            json!({"user": session.user, "tty": session.terminal, "hostname": "", "service": "login",
                "login": moment(session.at), "logout": moment(session.at.saturating_add(600)), "length": "00:10"})
        })
        .collect();
    entries.push(
        json!({"user": "reboot", "tty": "system boot", "hostname": profile.kernel().release,
        "login": moment(start), "logout": "still running "}),
    );
    CommandOutput {
        code: Some(0),
        stdout: json!({"entries": entries}).to_string().into_bytes(),
    }
}
