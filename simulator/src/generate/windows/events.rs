//! The event log's security channel: logins (event 4624), and what else has that number.

use crate::generate::Profile;
use crate::generate::logins::Session;
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

/// Events that a query selects, newest first. Of a query, only the time is understood: everything else in it selects what
/// is in this log anyway, or what the agent has to leave out once more.
pub(crate) fn event_log(
    profile: &Profile,
    channel: &str,
    query: &str,
    now: SystemTime,
) -> io::Result<Vec<String>> {
    if !channel.eq_ignore_ascii_case("Security") {
        return Err(io::ErrorKind::NotFound.into());
    }
    let since = query
        .split_once("@SystemTime>='")
        .and_then(|(_, rest)| rest.split_once('\''))
        .map_or("", |(since, _)| since);
    let mut events = Vec::new();
    for session in profile.sessions(now) {
        let time = |fraction: u32| {
            let moment = jiff::Timestamp::from_second(session.at.into()).unwrap_or_default();
            format!("{}.{fraction:07}Z", moment.strftime("%Y-%m-%dT%H:%M:%S"))
        };
        // The window manager logs in first, and an administrator gets two tokens.
        let tokens = if profile.is_administrator(&session.user) {
            2
        } else {
            1
        };
        let mut logged = vec![(time(0), event(&time(0), &window_manager()))];
        for token in 0..tokens {
            let at = time(1_000_000 + token);
            logged.push((at.clone(), event(&at, &login(profile, &session))));
        }
        events.extend(logged);
    }
    events.reverse();
    // In this notation, texts sort as the moments do.
    let wanted = events.into_iter().filter(|(time, _)| time.as_str() >= since);
    Ok(wanted.map(|(_, event)| event).collect())
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
    vec![
        ("TargetUserSid", sid),
        ("TargetUserName", name),
        ("TargetDomainName", profile.hostname()),
        ("LogonType", kind.to_owned()),
        ("LogonProcessName", "User32 ".to_owned()),
        ("IpAddress", address.to_owned()),
    ]
}

fn event(time: &str, data: &[(&'static str, String)]) -> String {
    let mut xml = format!(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
         <Provider Name='Microsoft-Windows-Security-Auditing'/><EventID>4624</EventID><Level>0</Level><TimeCreated SystemTime='{time}'/><Channel>Security</Channel></System><EventData>"
    );
    for (name, text) in data {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        write!(xml, "<Data Name='{name}'>{text}</Data>").ok();
    }
    xml + "</EventData></Event>"
}
