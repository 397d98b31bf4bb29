//! The systemd journal, as `journalctl --output=json` prints it: logins, attempts that failed before them, what cron and
//! the kernel have to say, and what is no text or too long.

use crate::generate::release::{self, Packages};
use crate::generate::{Draw, Profile, Topic};
use oco_agent::host::CommandOutput;
use serde_json::{Value, json};
use std::io;
use std::time::SystemTime;

/// An entry, before it is printed.
pub(in crate::generate) struct Entry {
    /// Seconds since 1970.
    pub(in crate::generate) at: u32,
    /// 0 to 7; none: the program said none.
    pub(in crate::generate) priority: Option<&'static str>,
    /// The unit that the program belongs to; the kernel and scripts have none.
    pub(in crate::generate) unit: Option<&'static str>,
    /// What the program calls itself; none: only its process has a name.
    pub(in crate::generate) identifier: Option<&'static str>,
    /// Name of the process.
    pub(in crate::generate) process: Option<&'static str>,
    /// As journald prints it: a text, bytes that are none, several of either, or null where it was too long.
    pub(in crate::generate) message: Value,
    /// The text that the agent makes of it.
    pub(in crate::generate) text: String,
}

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

    fn takes(&self, entry: &Entry) -> bool {
        let named = |list: &[&str], name: Option<&str>| {
            list.is_empty() || name.is_some_and(|name| list.contains(&name))
        };
        u64::from(entry.at) >= self.since
            && named(&self.units, entry.unit)
            && named(&self.identifiers, entry.identifier)
            && named(&self.priorities, entry.priority)
    }
}

/// What the command prints: the entries that `args` select, a line each, oldest first.
pub(super) fn run(
    profile: &Profile,
    release: &release::Linux,
    args: &[&str],
    now: SystemTime,
) -> io::Result<CommandOutput> {
    if release.packages == Packages::Apk {
        // No systemd.
        return Err(io::ErrorKind::NotFound.into());
    }
    // Red Hat 7 has version 219, which cannot be told which fields to print.
    if release.is_of_2014() && args.iter().any(|arg| arg.starts_with("--output-fields=")) {
        return Ok(CommandOutput {
            code: Some(1),
            stdout: Vec::new(),
        });
    }
    let selection = Selection::of(args);
    let mut lines = String::new();
    for entry in profile.journal(now) {
        if selection.takes(&entry) {
            lines.push_str(&print(&entry).to_string());
            lines.push('\n');
        }
    }
    Ok(CommandOutput {
        code: Some(0),
        stdout: lines.into_bytes(),
    })
}

fn print(entry: &Entry) -> Value {
    let mut fields = json!({
        "__REALTIME_TIMESTAMP": format!("{}000000", entry.at),
        "MESSAGE": entry.message,
    });
    let optional = [
        ("PRIORITY", entry.priority),
        ("_SYSTEMD_UNIT", entry.unit),
        ("SYSLOG_IDENTIFIER", entry.identifier),
        ("_COMM", entry.process),
        ("SYSLOG_FACILITY", entry.unit.map(|_| "4")),
    ];
    for (name, text) in optional {
        if let (Some(fields), Some(text)) = (fields.as_object_mut(), text) {
            fields.insert(name.to_owned(), text.into());
        }
    }
    fields
}

impl Profile {
    /// What the journal of a Linux machine has, oldest first.
    pub(in crate::generate) fn journal(&self, now: SystemTime) -> Vec<Entry> {
        let mut entries = Vec::new();
        for session in self.sessions(now) {
            let mut draw = Draw::new(self.machine, Topic::Journal, session.at.into());
            let (host, port) = (draw.between(1, 254), draw.between(32_768, 60_999));
            let from = format!("{} from 192.0.2.{host} port {port} ssh2", session.user);
            if draw.permille(250) {
                entries.push(ssh(session.at, "4", format!("Failed password for {from}")));
            }
            entries.push(ssh(session.at, "6", format!("Accepted password for {from}")));
            if draw.permille(300) {
                entries.push(oddity(session.at, draw.index(6)));
            }
        }
        entries
    }
}

fn ssh(at: u32, priority: &'static str, message: String) -> Entry {
    Entry {
        priority: Some(priority),
        unit: Some("ssh.service"),
        identifier: Some("sshd"),
        process: Some("sshd"),
        ..entry(at, message.clone().into(), message)
    }
}

fn entry(at: u32, message: Value, text: String) -> Entry {
    Entry {
        at,
        priority: None,
        unit: None,
        identifier: None,
        process: None,
        message,
        text,
    }
}

fn oddity(at: u32, kind: usize) -> Entry {
    match kind {
        0 => {
            let text = "I/O error, dev sdb, sector 2048 op 0x0:(READ)".to_owned();
            Entry {
                priority: Some("3"),
                identifier: Some("kernel"),
                ..entry(at, text.clone().into(), text)
            }
        }
        1 => Entry {
            priority: Some("6"),
            unit: Some("cron.service"),
            identifier: Some("CRON"),
            // A name in Latin 1, which journald prints as bytes.
            ..entry(
                at,
                json!(b"(m\xfcller) CMD (backup)"),
                "(m\u{fffd}ller) CMD (backup)".into(),
            )
        },
        2 => Entry {
            process: Some("backup.sh"),
            ..entry(
                at,
                json!(["first of two", "second of two"]),
                "first of two".into(),
            )
        },
        3 => Entry {
            unit: Some("app.service"),
            // journald prints none that is longer than a limit.
            ..entry(at, Value::Null, String::new())
        },
        4 => {
            let text = format!(
                "Traceback (most recent call last):\n{}",
                "  File \"x.py\", line 1\n".repeat(2000)
            );
            // The agent cuts it after 32 KiB.
            let cut = format!("{}…", &text[..32 << 10]);
            Entry {
                priority: Some("2"),
                unit: Some("app.service"),
                identifier: Some("app"),
                ..entry(at, text.into(), cut)
            }
        }
        _ => {
            let text = "\u{1b}[31mGröße unbekannt\u{1b}[0m\ttabulator".to_owned();
            Entry {
                priority: Some("5"),
                unit: Some("app.service"),
                ..entry(at, text.clone().into(), text)
            }
        }
    }
}
