//! The users who are logged in, as logind knows them.

use crate::host::Result;
use crate::host::system::unix::power::{self, run};
use std::collections::BTreeSet;
use std::path::Path;

/// Names of the users who are logged in: as logind knows them, or where there is none, as the terminals show them.
pub(crate) fn logged_in() -> Result<Vec<String>> {
    let users = sessions().map(|sessions| sessions.into_iter().map(|session| session.user).collect());
    let users: BTreeSet<String> = match users {
        Ok(users) => users,
        Err(_) => power::on_terminals()?,
    };
    Ok(users.into_iter().collect())
}

/// Writes a message to all terminals, and shows it on the desktops of those who have one.
pub(crate) fn notify(message: &str) -> Result<()> {
    let desktops: BTreeSet<_> = sessions()
        .unwrap_or_default()
        .into_iter()
        .filter(|session| session.has_desktop && Path::new(&bus_folder(&session.uid)).exists())
        .map(|session| (session.user, session.uid))
        .collect();
    for (user, uid) in desktops {
        if let Err(error) = notify_desktop(&user, &uid, message) {
            tracing::debug!(user, error = %error.source, "no desktop notification");
        }
    }
    run("wall", &[message]).map(drop)
}

fn notify_desktop(user: &str, uid: &str, message: &str) -> Result<String> {
    let bus = format!("DBUS_SESSION_BUS_ADDRESS=unix:path={}/bus", bus_folder(uid));
    let notification = [
        "notify-send",
        "--urgency=critical",
        "Open Computer Orchestration",
        message,
    ];
    let args = [["-u", user, "--", "env", &bus].as_slice(), &notification].concat();
    run("runuser", &args)
}

fn bus_folder(uid: &str) -> String {
    format!("/run/user/{uid}")
}

/// A user's session.
#[derive(Debug, PartialEq, Eq)]
struct Session {
    user: String,
    uid: String,
    has_desktop: bool,
}

fn sessions() -> Result<Vec<Session>> {
    let list = run("loginctl", &["list-sessions", "--no-legend", "--no-pager"])?;
    let ids: Vec<_> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec![
        "show-session",
        "--no-pager",
        "-p",
        "Name",
        "-p",
        "User",
        "-p",
        "Class",
        "-p",
        "State",
        "-p",
        "Type",
        "--",
    ];
    args.extend(ids);
    Ok(parse_sessions(&run("loginctl", &args)?))
}

/// The users' sessions in the output of `loginctl show-session`: properties, with an empty line between two sessions.
/// Greeters, background jobs and sessions that are being closed are nobody's.
fn parse_sessions(text: &str) -> Vec<Session> {
    let blocks = text.split("\n\n");
    let session = |block: &str| {
        let property = |name: &str| {
            let value = block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default()
        };
        let counts = property("Class").starts_with("user") && property("State") != "closing";
        (counts && !property("Name").is_empty()).then(|| Session {
            user: property("Name").to_owned(),
            uid: property("User").to_owned(),
            has_desktop: matches!(property("Type"), "x11" | "wayland" | "mir"),
        })
    };
    blocks.filter_map(session).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_greeters_and_closing_ones_are_nobodys() {
        let text = "Name=ada\nUser=1000\nType=wayland\nClass=user\nState=active\n\n\
                    Name=gdm\nUser=120\nType=x11\nClass=greeter\nState=online\n\n\
                    Name=bob\nUser=1001\nType=tty\nClass=user\nState=closing\n\n\
                    Name=root\nUser=0\nType=tty\nClass=user-early\nState=online\n";
        let session = |user: &str, uid: &str, has_desktop| Session {
            user: user.into(),
            uid: uid.into(),
            has_desktop,
        };
        assert_eq!(
            parse_sessions(text),
            [session("ada", "1000", true), session("root", "0", false)]
        );
        assert_eq!(parse_sessions(""), []);
    }
}
