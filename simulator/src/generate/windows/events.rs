//! The event logs: of the security channel logins (event 4624) and what else has that number, and those of [`super::log`].

use super::log::Log;
use crate::generate::Profile;
use crate::generate::logins::Session;
use jiff::Timestamp;
use std::fmt::Write;
use std::io;
use std::time::{Duration, SystemTime};

const SECURITY: &str = "Security";
/// What logs logins.
const AUDITING: &str = "Microsoft-Windows-Security-Auditing";

/// Events that a query selects, newest first. Of a query, only moments, numbers, levels and the provider's name are
/// understood: what else is in it selects what is in these logs anyway, or what the agent has to leave out once more.
pub(crate) fn event_log(
    profile: &Profile,
    channel: &str,
    query: &str,
    now: SystemTime,
) -> io::Result<Vec<String>> {
    let selection = Selection::of(query, now);
    let channel = selection.channel.as_deref().unwrap_or(channel);
    let mut events = if channel.eq_ignore_ascii_case(SECURITY) {
        security(profile, now)
    } else {
        let named = |log: &Log| log.name().eq_ignore_ascii_case(channel);
        let log = Log::ALL.into_iter().find(named).ok_or(io::ErrorKind::NotFound)?;
        let entries = profile.windows_log(now).into_iter();
        entries
            .filter(|entry| entry.log == log)
            .map(|entry| {
                let (time, text) = moment(entry.at, entry.fraction);
                Logged {
                    time,
                    provider: entry.provider.unwrap_or_default(),
                    id: entry.id,
                    level: entry.level,
                    xml: entry.xml(&text),
                }
            })
            .collect()
    };
    events.retain(|event| selection.takes(event));
    Ok(events.into_iter().rev().map(|event| event.xml).collect())
}

/// An event, with what queries are about.
struct Logged {
    time: Timestamp,
    provider: &'static str,
    id: u32,
    level: u8,
    xml: String,
}

/// What a query selects; of what is empty, everything.
#[derive(Debug, Default)]
struct Selection {
    /// The one that a structured query names.
    channel: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    ids: Vec<u32>,
    levels: Vec<u8>,
    provider: Option<String>,
}

impl Selection {
    fn of(query: &str, now: SystemTime) -> Self {
        // Structured queries are XML, in which the signs of comparison are escaped.
        let query = query
            .replace("&gt;", ">")
            .replace("&lt;", "<")
            .replace('"', "'")
            .replace("<= ", "<=")
            .replace(" <=", "<=");
        let quoted = |mark: &str| {
            let rest = after(&query, mark).next()?;
            Some(rest.split('\'').next()?.to_owned())
        };
        let time = |mark: &str| quoted(mark)?.parse().ok();
        // Milliseconds back from now.
        let recent = numbers(&query, "timediff(@SystemTime)<=").next();
        let recent = recent.and_then(|ms| {
            let since = now.checked_sub(Duration::from_millis(ms))?;
            Timestamp::try_from(since).ok()
        });
        let structured = query.trim_start().starts_with('<');
        Self {
            channel: quoted("Path='").filter(|_| structured),
            since: time("@SystemTime>='").or(recent),
            until: time("@SystemTime<='"),
            ids: numbers(&query, "EventID=").collect(),
            levels: numbers::<u8>(&query, "Level=").collect(),
            provider: quoted("Provider[@Name='"),
        }
    }

    fn takes(&self, event: &Logged) -> bool {
        self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time <= until)
            && (self.ids.is_empty() || self.ids.contains(&event.id))
            && (self.levels.is_empty() || self.levels.contains(&event.level))
            && (self.provider.as_ref()).is_none_or(|name| name == event.provider)
    }
}

/// What stands behind each mark in a text.
fn after<'a>(text: &'a str, mark: &str) -> impl Iterator<Item = &'a str> {
    text.match_indices(mark)
        .map(|(start, mark)| &text[start + mark.len()..])
        .collect::<Vec<_>>()
        .into_iter()
}

/// The numbers there.
fn numbers<N: std::str::FromStr>(text: &str, mark: &str) -> impl Iterator<Item = N> {
    after(text, mark).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    })
}

/// A moment, and how logs write it; the fraction is in units of 100 ns.
fn moment(at: u32, fraction: u32) -> (Timestamp, String) {
    let nanoseconds = i32::try_from(fraction * 100).unwrap_or_default();
    let moment = Timestamp::new(at.into(), nanoseconds).unwrap_or_default();
    let text = format!("{}.{fraction:07}Z", moment.strftime("%Y-%m-%dT%H:%M:%S"));
    (moment, text)
}

/// The security channel, oldest first.
fn security(profile: &Profile, now: SystemTime) -> Vec<Logged> {
    let mut events = Vec::new();
    for session in profile.sessions(now) {
        let mut log = |fraction: u32, data: &[(&'static str, String)]| {
            let (time, text) = moment(session.at, fraction);
            events.push(Logged {
                time,
                provider: AUDITING,
                id: 4624,
                level: 0,
                xml: event(&text, data),
            });
        };
        // The window manager logs in first, and an administrator gets two tokens.
        let tokens = if profile.is_administrator(&session.user) {
            2
        } else {
            1
        };
        log(0, &window_manager());
        for token in 0..tokens {
            log(1_000_000 + token, &login(profile, &session));
        }
    }
    events
}

impl Profile {
    /// The account that may do everything, and the first one that was made.
    fn is_administrator(&self, user: &str) -> bool {
        user == "root"
            || self
                .accounts()
                .first()
                .is_some_and(|account| account.name == user)
    }

    /// What Windows calls the account of a session.
    pub(in crate::generate) fn windows_account(&self, session: &Session) -> (String, String) {
        let mut directory = self.directory_users().into_iter();
        if let Some(user) = directory.find(|user| user.name == session.user) {
            let sid = user.entra_sid();
            return (user.name, sid);
        }
        let (name, number) = match self
            .accounts()
            .into_iter()
            .find(|account| account.name == session.user)
        {
            Some(account) => (account.name, account.number),
            None => ("Administrator".to_owned(), 500),
        };
        (name, format!("{}-{number}", self.machine_sid()))
    }
}

/// Where a session is: by remote desktop, or at the screen.
pub(in crate::generate) fn console(session: &Session) -> &'static str {
    match session.terminal {
        "pts/0" => "10.20.0.9",
        "pts/1" => "2001:db8::9",
        _ => "console",
    }
}

fn window_manager() -> Vec<(&'static str, String)> {
    vec![
        ("TargetUserSid", "S-1-5-90-0-1".to_owned()),
        ("TargetUserName", "DWM-1".to_owned()),
        ("TargetDomainName", "Window Manager".to_owned()),
        ("LogonType", "2".to_owned()),
        ("LogonProcessName", "Advapi  ".to_owned()),
        ("IpAddress", "-".to_owned()),
    ]
}

fn login(profile: &Profile, session: &Session) -> Vec<(&'static str, String)> {
    let (name, sid) = profile.windows_account(session);
    let (kind, address) = match console(session) {
        "console" if session.terminal == ":0" => ("11", "-"),
        "console" => ("2", "127.0.0.1"),
        address => ("10", address),
    };
    let domain = if sid.starts_with("S-1-12-1-") {
        "AzureAD".to_owned()
    } else {
        profile.hostname()
    };
    vec![
        ("TargetUserSid", sid),
        ("TargetUserName", name),
        ("TargetDomainName", domain),
        ("LogonType", kind.to_owned()),
        ("LogonProcessName", "User32 ".to_owned()),
        ("IpAddress", address.to_owned()),
    ]
}

fn event(time: &str, data: &[(&'static str, String)]) -> String {
    let mut xml = format!(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
         <Provider Name='{AUDITING}'/><EventID>4624</EventID><Level>0</Level><TimeCreated SystemTime='{time}'/><Channel>{SECURITY}</Channel></System><EventData>"
    );
    for (name, text) in data {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        write!(xml, "<Data Name='{name}'>{text}</Data>").ok();
    }
    xml + "</EventData></Event>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Machine;
    use oco_agent::host::Os;

    #[test]
    fn queries_select_by_moment_number_level_and_provider() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let profile = Profile::draw(Machine {
            seed: 1,
            index: 1,
            os: Os::Windows,
        });
        let found = |channel: &str, query: &str| event_log(&profile, channel, query, now).unwrap();
        let all = found("system", "");
        assert!(all.len() > 20, "{}", all.len());
        let kinds = |id: u32| move |event: &&String| event.contains(&format!(">{id}</EventID>"));
        let logons: Vec<String> = all.iter().filter(kinds(7001)).cloned().collect();
        let both: Vec<String> = all
            .iter()
            .filter(|event| kinds(7001)(event) || kinds(6013)(event))
            .cloned()
            .collect();
        assert!(!logons.is_empty() && both.len() > logons.len());
        assert_eq!(found("System", "*[System[(EventID=7001)]]"), logons);
        assert_eq!(found("System", "*[System[(EventID=7001 or EventID=6013)]]"), both);
        let structured = "<QueryList><Query Path=\"System\"><Select Path=\"System\">*[System[\
                          Provider[@Name='Microsoft-Windows-Winlogon'] and (Level=4)]]</Select></Query></QueryList>";
        assert_eq!(found("whatever", structured), logons);
        assert!(found("System", "*[System[(Level=5)]]").is_empty());
        // 1,800,000,000 is 2027-01-15 08:00.
        let from = found(
            "System",
            "*[System[TimeCreated[@SystemTime>='2027-01-12T08:00:00.000Z']]]",
        );
        let recent = found(
            "System",
            "*[System[TimeCreated[timediff(@SystemTime) &lt;= 259200000]]]",
        );
        assert!(!from.is_empty() && from.len() < all.len());
        assert_eq!(from, recent);
        assert_eq!(all[..from.len()], from);
        let until = "*[System[TimeCreated[@SystemTime<='2027-01-12T07:59:59.9999999Z']]]";
        assert_eq!(found("System", until), all[from.len()..]);
        assert!(event_log(&profile, "Setup", "", now).is_err());
    }
}
