//! Settings of programs, by defaults(1).

use super::users::as_user;
use crate::host::system::unix::{command, defaults, guarded};
use crate::host::{Command, CommandOutput, HostError, PreferenceDomain, PreferenceValue, Result};
use plist::Dictionary;
use std::io;
use std::path::Path;
use std::time::Duration;

/// It answers at once, unless the system is very busy.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The settings of a domain.
pub(crate) fn read(domain: &PreferenceDomain) -> Result<Dictionary> {
    let read = || {
        let output = run(domain, defaults::export(domain)?)?;
        match output.code {
            Some(0) => defaults::parse(&output.stdout),
            code => Err(io::Error::other(format!("defaults ended with code {code:?}"))),
        }
    };
    read().map_err(|error| HostError::new("read the settings", domain, error))
}

/// Sets a value.
pub(crate) fn set(domain: &PreferenceDomain, key: &str, value: &PreferenceValue) -> Result<()> {
    let set = || {
        check(domain)?;
        succeed(&run(domain, defaults::write(domain, key, value)?)?)
    };
    set().map_err(|error| HostError::new("write the settings", domain, error))
}

/// Removes a value; one that is not there is no error.
pub(crate) fn remove(domain: &PreferenceDomain, key: &str) -> Result<()> {
    if !read(domain)?.contains_key(key) {
        return Ok(());
    }
    let remove = || {
        check(domain)?;
        succeed(&run(domain, defaults::delete(domain, key)?)?)
    };
    remove().map_err(|error| HostError::new("remove a value of the settings", domain, error))
}

/// Refuses a file that others could exchange for another one.
fn check(domain: &PreferenceDomain) -> io::Result<()> {
    if !domain.name.starts_with('/') {
        return Ok(());
    }
    let file = format!("{}.plist", domain.name.trim_end_matches(".plist"));
    guarded::read(Path::new(&file))
        .map(drop)
        .map_err(|error| error.source)
}

fn succeed(output: &CommandOutput) -> io::Result<()> {
    let said = String::from_utf8_lossy(&output.stdout);
    match output.code {
        Some(0) => Ok(()),
        code => {
            let said: String = said
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect();
            Err(io::Error::other(format!(
                "defaults ended with code {code:?}: {said}"
            )))
        }
    }
}

fn run(domain: &PreferenceDomain, arguments: Vec<String>) -> io::Result<CommandOutput> {
    let (program, mut all) = match domain.user {
        None => ("defaults", Vec::new()),
        Some(uid) => as_user(uid, has_session(uid), "defaults"),
    };
    all.extend(arguments);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    execute(program, &all)
}

/// Whether a user is at a desktop, also one in the background.
fn has_session(uid: u32) -> bool {
    execute("launchctl", &["print", &format!("gui/{uid}")]).is_ok_and(|output| output.code == Some(0))
}

fn execute(program: &str, args: &[&str]) -> io::Result<CommandOutput> {
    let command = Command {
        program,
        args,
        time_limit: TIME_LIMIT,
    };
    command::run(&command).map_err(|error| error.source)
}
