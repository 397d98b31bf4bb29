//! Restart and shutdown, and the users who should know of it.

use super::command;
use super::text::{error, from_pointer};
use crate::host::{Command, HostError, PowerAction, Result};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::io;
use std::time::Duration;
use windows::Win32::System::RemoteDesktop::{
    WTS_SESSION_INFOW, WTSActive, WTSDisconnected, WTSEnumerateSessionsW, WTSFreeMemory,
    WTSQuerySessionInformationW, WTSSendMessageW, WTSUserName,
};
use windows::Win32::UI::WindowsAndMessaging::{MB_ICONWARNING, MB_OK, MB_SETFOREGROUND, MESSAGEBOX_RESULT};
use windows::core::{PCWSTR, PWSTR};

/// The tool takes no noticeable time when all is well.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// The longest time that the tool accepts: ten years.
const MOST_SECONDS: u32 = 315_360_000;
const TITLE: &str = "Open Computer Orchestration";

/// Orders a restart or a shutdown in so many minutes.
pub(super) fn schedule(action: PowerAction, minutes: u32) -> Result<()> {
    let option = match action {
        PowerAction::Restart => "-r",
        PowerAction::Shutdown => "-s",
    };
    let seconds = minutes.saturating_mul(60).min(MOST_SECONDS).to_string();
    let command = Command {
        program: "shutdown",
        args: &[option, "-t", &seconds],
        time_limit: TIME_LIMIT,
    };
    let output = command::run(&command)?;
    if output.code != Some(0) {
        let reason = format!("exit code {:?}", output.code);
        return Err(HostError::new("run", &command, io::Error::other(reason)));
    }
    Ok(())
}

/// Names of the users who are logged in, also those whose session runs on while they are away.
pub(super) fn logged_in_users() -> Result<Vec<String>> {
    let users: io::Result<BTreeSet<String>> = sessions().map(|sessions| {
        sessions
            .into_iter()
            .filter_map(|session| user_of(session).ok())
            .filter(|user| !user.is_empty())
            .collect()
    });
    let users = users.map_err(|error| HostError::new("list", "the sessions of users", error))?;
    Ok(users.into_iter().collect())
}

/// Shows a message in each session, without waiting for an answer.
pub(super) fn notify(message: &str) -> Result<()> {
    let failed = |error| HostError::new("show a message to", "the users who are logged in", error);
    let mut outcome = Ok(());
    for session in sessions().map_err(failed)? {
        let user = user_of(session).unwrap_or_default();
        if !user.is_empty()
            && let Err(error) = show(session, message)
        {
            outcome = Err(failed(error));
        }
    }
    outcome
}

fn show(session: u32, message: &str) -> io::Result<()> {
    let (title, text): (Vec<u16>, Vec<u16>) =
        (TITLE.encode_utf16().collect(), message.encode_utf16().collect());
    let bytes = |text: &[u16]| u32::try_from(size_of_val(text)).unwrap_or(u32::MAX);
    let mut answer = MESSAGEBOX_RESULT::default();
    // SAFETY: the texts are as long as is said, and everything lives until the function returns.
    unsafe {
        WTSSendMessageW(
            None,
            session,
            PCWSTR(title.as_ptr()),
            bytes(&title),
            PCWSTR(text.as_ptr()),
            bytes(&text),
            MB_OK | MB_ICONWARNING | MB_SETFOREGROUND,
            0,
            &raw mut answer,
            false,
        )
    }
    .map_err(error)
}

/// Sessions that belong to users: the others listen for them, or are the services'.
fn sessions() -> io::Result<Vec<u32>> {
    let mut first: *mut WTS_SESSION_INFOW = std::ptr::null_mut();
    let mut count = 0;
    // SAFETY: the pointers live until the function returns.
    unsafe { WTSEnumerateSessionsW(None, 0, 1, &raw mut first, &raw mut count) }.map_err(error)?;
    if first.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the system has allocated so many of them, and they are freed after this.
    let all = unsafe { std::slice::from_raw_parts(first, count as usize) };
    let users = all
        .iter()
        .filter(|session| [WTSActive, WTSDisconnected].contains(&session.State))
        .map(|session| session.SessionId)
        .collect();
    // SAFETY: allocated by the system for this, and not used any more.
    unsafe { WTSFreeMemory(first.cast::<c_void>()) };
    Ok(users)
}

/// The name of a session's user; empty where nobody is logged in.
fn user_of(session: u32) -> io::Result<String> {
    let (mut name, mut length) = (PWSTR::null(), 0);
    // SAFETY: the pointers live until the function returns.
    unsafe { WTSQuerySessionInformationW(None, session, WTSUserName, &raw mut name, &raw mut length) }
        .map_err(error)?;
    // SAFETY: a text that the system has allocated, freed once it was copied.
    unsafe {
        let copy = from_pointer(name);
        WTSFreeMemory(name.0.cast());
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_can_be_asked_for() {
        let users = logged_in_users().unwrap();
        assert!(users.iter().all(|user| !user.is_empty()), "{users:?}");
    }
}
