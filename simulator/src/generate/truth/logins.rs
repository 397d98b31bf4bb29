//! The truth about who logged in.

use crate::generate::Profile;
use crate::generate::windows::events;
use oco_protocol::inventory::Login;
use std::time::SystemTime;

/// The agent reports the whole field that begins with the full name, as the existing one does.
pub(super) fn linux(profile: &Profile, now: SystemTime) -> Vec<Login> {
    let (accounts, directory) = (profile.accounts(), profile.directory_users());
    let local_name = |number: usize| match (number, profile.defects.legacy_encoding) {
        (0, true) => format!("{} (M\u{fffd}nchen),,,", accounts[0].full_name),
        (0, false) => format!("{},,,", accounts[0].full_name),
        _ => accounts[number].full_name.clone(),
    };
    let sessions = profile.sessions(now).into_iter();
    sessions
        .map(|session| {
            let local = accounts.iter().position(|account| account.name == session.user);
            // What only root may read tells nobody else.
            let user = directory
                .iter()
                .find(|user| profile.directory_login(user) == session.user)
                .filter(|_| !profile.defects.unprivileged);
            Login {
                guid: user.map(|user| user.uuid.clone()),
                display_name: match (local, user) {
                    (Some(number), _) => local_name(number),
                    (None, Some(user)) => user.full_name.clone(),
                    (None, None) if session.user == "root" => "root".to_owned(),
                    (None, None) => String::new(),
                },
                username: session.user,
                console: session.terminal.to_owned(),
                timestamp: utc(session.at),
            }
        })
        .collect()
}

/// Full names are WMI's, the rest is in the log and the registry.
pub(super) fn windows(profile: &Profile, now: SystemTime) -> Vec<Login> {
    let accounts = profile.accounts();
    let logins = profile.sessions(now).into_iter().map(|session| {
        let account = accounts.iter().find(|account| account.name == session.user);
        let full_name = account.map(|account| account.full_name.clone());
        Login {
            guid: account.and_then(|account| profile.profile_guid(account)),
            display_name: full_name.filter(|_| !profile.defects.no_wmi).unwrap_or_default(),
            username: profile.windows_account(&session).0,
            console: events::console(&session).to_owned(),
            timestamp: utc(session.at),
        }
    });
    logins.collect()
}

/// Only those who are still logged in have seconds.
pub(super) fn macos(profile: &Profile, now: SystemTime) -> Vec<Login> {
    let accounts = profile.accounts();
    let sessions = profile.sessions(now);
    let over = sessions.len().saturating_sub(1);
    let logins = sessions.into_iter().enumerate().map(|(number, session)| {
        let account = accounts.iter().find(|account| account.name == session.user);
        let full_name = account.map(|account| account.full_name.clone());
        Login {
            guid: None,
            display_name: full_name.unwrap_or_else(|| "System Administrator".to_owned()),
            username: session.user,
            console: session.terminal.to_owned(),
            timestamp: utc(if number < over {
                session.at / 60 * 60
            } else {
                session.at
            }),
        }
    });
    logins.collect()
}

/// `YYYY-MM-DD HH:MM:SS`.
pub(super) fn utc(seconds: u32) -> String {
    let moment = jiff::Timestamp::from_second(seconds.into()).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
