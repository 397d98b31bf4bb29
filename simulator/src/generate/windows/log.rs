//! Windows' logs `System` and `Application`: logons, services, installations, restarts, programs that fail, and what is hard
//! to read: data without names or of a provider's own form, markup, and texts that are too long.

use super::Profile;
use crate::generate::logins::{DAY, REMEMBERED, Session};
use crate::generate::{Draw, Topic};
use std::fmt::Write;
use std::time::SystemTime;

/// The service manager.
const SERVICES: &str = "Service Control Manager";
/// What programs of old call an event about nothing.
const NONE: &str = "(NULL)";

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::generate) enum Log {
    System,
    Application,
}

impl Log {
    pub(in crate::generate) const ALL: [Self; 2] = [Self::System, Self::Application];

    /// What it is called.
    pub(in crate::generate) fn name(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Application => "Application",
        }
    }
}

/// An event, before it is written as XML.
pub(in crate::generate) struct Entry {
    pub(in crate::generate) log: Log,
    /// Seconds since 1970.
    pub(in crate::generate) at: u32,
    /// Of the second, in units of 100 ns.
    pub(super) fraction: u32,
    /// What logged it; none: it does not say.
    pub(in crate::generate) provider: Option<&'static str>,
    pub(in crate::generate) id: u32,
    /// From 1, critical, to 5, verbose; 0: it says none.
    pub(in crate::generate) level: u8,
    /// The data that an agent makes of it, in the order of the event.
    pub(in crate::generate) data: Vec<(String, String)>,
    /// What the event has behind `System`.
    body: String,
}

impl Profile {
    /// What a Windows machine's two logs have, oldest first.
    pub(in crate::generate) fn windows_log(&self, now: SystemTime) -> Vec<Entry> {
        let now = Self::seconds(now);
        let mut entries = Vec::new();
        for day in (now / DAY).saturating_sub(REMEMBERED)..=now / DAY {
            // The log tells at noon that it is there.
            let noon = day * DAY + DAY / 2;
            if let Some(at) = u32::try_from(noon).ok().filter(|_| noon <= now) {
                entries.push(uptime(at, Draw::new(self.machine, Topic::WindowsLog, day)));
            }
        }
        let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now);
        for session in self.sessions(moment) {
            let mut draw = Draw::new(self.machine, Topic::WindowsLog, session.at.into());
            let (name, sid) = self.windows_account(&session);
            entries.push(logon(&session, &sid));
            if draw.permille(600) {
                let user = format!(r"{}\{name}", self.hostname().to_uppercase());
                entries.push(something(session.at, &user, &mut draw));
            }
        }
        entries.sort_by_key(|entry| (entry.at, entry.fraction));
        entries
    }
}

impl Entry {
    /// As the system hands it out.
    pub(super) fn xml(&self, time: &str) -> String {
        let provider = match self.provider {
            Some(name) => format!("<Provider Name='{name}'/>"),
            None => "<Provider/>".to_owned(),
        };
        // Events of the old kind have a facility in the upper half of their number.
        let qualifiers = if self.provider == Some(SERVICES) {
            " Qualifiers='16384'"
        } else {
            ""
        };
        let level = match self.level {
            0 => String::new(),
            level => format!("<Level>{level}</Level>"),
        };
        let Self { id, body, log, .. } = self;
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>{provider}\
             <EventID{qualifiers}>{id}</EventID><Version>0</Version>{level}<Task>0</Task>\
             <TimeCreated SystemTime='{time}'/><Execution ProcessID='4' ThreadID='8'/><Channel>{}</Channel>\
             </System>{body}</Event>",
            log.name()
        )
    }
}

/// What an event is, but for its data.
#[derive(Clone, Copy)]
struct Kind {
    log: Log,
    provider: Option<&'static str>,
    id: u32,
    level: u8,
}

/// An event with named data and data without names, which an agent numbers; `binary` is hexadecimal.
fn event(at: u32, fraction: u32, kind: Kind, items: &[(&str, &str)], binary: Option<&str>) -> Entry {
    let (mut body, mut data, mut unnamed) = (String::from("<EventData>"), Vec::new(), 0);
    for (name, text) in items {
        let escaped = escape(text);
        let name = match *name {
            "" => {
                unnamed += 1;
                let _ = write!(body, "<Data>{escaped}</Data>");
                format!("Data{unnamed}")
            }
            name => {
                let _ = write!(body, "<Data Name='{name}'>{escaped}</Data>");
                name.to_owned()
            }
        };
        data.push((name, (*text).to_owned()));
    }
    if let Some(binary) = binary {
        let _ = write!(body, "<Binary>{binary}</Binary>");
        data.push(("Binary".to_owned(), binary.to_owned()));
    }
    body.push_str("</EventData>");
    entry(at, fraction, kind, body, data)
}

fn entry(at: u32, fraction: u32, kind: Kind, body: String, data: Vec<(String, String)>) -> Entry {
    let Kind {
        log,
        provider,
        id,
        level,
    } = kind;
    Entry {
        log,
        at,
        fraction,
        provider,
        id,
        level,
        data,
        body,
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Most of its data is empty, and none has a name.
fn uptime(at: u32, mut draw: Draw) -> Entry {
    let kind = Kind {
        log: Log::System,
        provider: Some("EventLog"),
        id: 6013,
        level: 4,
    };
    let seconds = draw.between(60, 4_000_000).to_string();
    let items = ["", "", "", "", &seconds, "60", "-60 W. Europe Standard Time"];
    event(at, 0, kind, &items.map(|text| ("", text)), Some("31002E003100"))
}

fn logon(session: &Session, sid: &str) -> Entry {
    let kind = Kind {
        log: Log::System,
        provider: Some("Microsoft-Windows-Winlogon"),
        id: 7001,
        level: 4,
    };
    event(
        session.at,
        2_000_000,
        kind,
        &[("TSId", "1"), ("UserSid", sid)],
        None,
    )
}

/// What else may happen while somebody is there.
fn something(at: u32, user: &str, draw: &mut Draw) -> Entry {
    let fraction = draw.below(10_000_000);
    let kind = |log, provider, id, level| Kind {
        log,
        provider: Some(provider),
        id,
        level,
    };
    match draw.index(8) {
        0 => event(
            at,
            fraction,
            kind(Log::System, SERVICES, 7036, 4),
            &[
                (
                    "param1",
                    draw.pick(&["Windows Update", "Windows-Suche", "Spooler & Fax"]),
                ),
                ("param2", draw.pick(&["running", "stopped", "wird ausgeführt"])),
            ],
            Some("770075006100750073006500720076002F0034000000"),
        ),
        1 => event(
            at,
            fraction,
            kind(Log::System, "User32", 1074, 4),
            &[
                ("param1", r"C:\Windows\system32\shutdown.exe (PC)"),
                ("param3", "No title for this reason could be found"),
                ("param4", "0x800000ff"),
                ("param5", "restart"),
                ("param6", "Wartung: Größe <unbekannt> & \"mehr\""),
                ("param7", user),
            ],
            None,
        ),
        2 => event(
            at,
            fraction,
            kind(Log::System, "Microsoft-Windows-Kernel-Power", 41, 1),
            &[
                ("BugcheckCode", "0"),
                ("PowerButtonTimestamp", "0"),
                ("Checkpoint", ""),
            ],
            None,
        ),
        3 => event(
            at,
            fraction,
            kind(Log::Application, "Application Error", 1000, 2),
            &[
                "WINWORD.EXE",
                "16.0.0.1",
                "ntdll.dll",
                "c0000005",
                r"C:\Program Files\Office\WINWORD.EXE",
            ]
            .map(|text| ("", text)),
            None,
        ),
        4 => event(
            at,
            fraction,
            kind(Log::Application, "MsiInstaller", 11_707, 4),
            &[
                "Product: Tools & more -- Installation completed successfully.",
                NONE,
                NONE,
                "",
            ]
            .map(|text| ("", text)),
            Some("7B00"),
        ),
        5 => {
            let kind = kind(Log::Application, "Microsoft-Windows-RestartManager", 10_000, 4);
            // The provider's own form: elements instead of names.
            let body = format!(
                "<UserData><RmSessionEvent xmlns='http://www.microsoft.com/2005/08/Windows/Reliability/RestartManager/'>\
                 <RmSessionId>0</RmSessionId><User>{}</User><Reason/></RmSessionEvent></UserData>",
                escape(user)
            );
            let data = [("RmSessionId", "0"), ("User", user), ("Reason", "")];
            let data = data.map(|(name, text)| (name.to_owned(), text.to_owned()));
            entry(at, fraction, kind, body, data.into())
        }
        6 => {
            let stack = "   at Program.Main(String[] args) in <unknown>\n".repeat(1000);
            let text = format!("Application: tool.exe\nDescription: unhandled exception.\n{stack}");
            event(
                at,
                fraction,
                kind(Log::Application, ".NET Runtime", 1026, 2),
                &[("", &text)],
                None,
            )
        }
        // Of a program that was removed: nobody says what it was, and one name is there twice.
        _ => event(
            at,
            fraction,
            Kind {
                log: Log::Application,
                provider: None,
                id: 0,
                level: 0,
            },
            &[
                ("line", "first"),
                ("line", "second"),
                ("", "\u{feff}without a name"),
            ],
            None,
        ),
    }
}
