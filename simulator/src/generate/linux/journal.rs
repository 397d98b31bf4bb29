//! The systemd journal, as `journalctl --output=json` prints it: logins, and attempts that failed before them.

use crate::generate::{Draw, Profile, Topic};
use serde_json::json;
use std::time::SystemTime;

const UNIT: &str = "ssh.service";
const IDENTIFIER: &str = "sshd";

/// What a command line selects. Options that only format the output change nothing here.
#[derive(Debug, Default)]
struct Selection<'a> {
    since: u64,
    units: Vec<&'a str>,
    identifiers: Vec<&'a str>,
    priorities: Vec<&'a str>,
}

impl<'a> Selection<'a> {
    fn of(args: &[&'a str]) -> Self {
        let mut selection = Self::default();
        for arg in args {
            match arg.split_once('=') {
                Some(("--since", moment)) => {
                    let seconds = moment.strip_prefix('@').and_then(|text| text.parse().ok());
                    selection.since = seconds.unwrap_or(0);
                }
                Some(("--unit", unit)) => selection.units.push(unit),
                Some(("--identifier", name)) => selection.identifiers.push(name),
                Some(("PRIORITY", priority)) => selection.priorities.push(priority),
                _ => {}
            }
        }
        selection
    }

    fn takes(&self, priority: &str) -> bool {
        let named = |list: &[&str], name: &str| list.is_empty() || list.contains(&name);
        named(&self.units, UNIT) && named(&self.identifiers, IDENTIFIER) && named(&self.priorities, priority)
    }
}

/// The entries that `args` select, a line each, oldest first.
pub(super) fn print(profile: &Profile, args: &[&str], now: SystemTime) -> Vec<u8> {
    let selection = Selection::of(args);
    let mut lines = String::new();
    let mut add = |at: u32, priority: &str, message: String| {
        if u64::from(at) < selection.since || !selection.takes(priority) {
            return;
        }
        let entry = json!({
            "__REALTIME_TIMESTAMP": format!("{at}000000"),
            "PRIORITY": priority,
            "SYSLOG_FACILITY": "4",
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "_SYSTEMD_UNIT": UNIT,
            "_COMM": "sshd",
            "MESSAGE": message,
        });
        lines.push_str(&entry.to_string());
        lines.push('\n');
    };
    for session in profile.sessions(now) {
        let mut draw = Draw::new(profile.machine, Topic::Journal, session.at.into());
        let (host, port) = (draw.between(1, 254), draw.between(32_768, 60_999));
        let from = format!("{} from 192.0.2.{host} port {port} ssh2", session.user);
        if draw.permille(250) {
            add(session.at, "4", format!("Failed password for {from}"));
        }
        add(session.at, "6", format!("Accepted password for {from}"));
    }
    lines.into_bytes()
}
