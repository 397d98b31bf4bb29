//! The users who are logged in.

use crate::host::Result;
use crate::host::system::unix::power::{self, run, run_with_input};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Belongs to whoever is at the screen, or to root.
const CONSOLE: &str = "/dev/console";
/// What is said comes as arguments: in the script itself it would have to be quoted.
const NOTIFICATION: [&str; 6] = [
    "-e",
    "on run argv",
    "-e",
    "display notification (item 1 of argv) with title (item 2 of argv)",
    "-e",
    "end run",
];

/// Names of the users who are logged in, each once.
pub(crate) fn logged_in() -> Result<Vec<String>> {
    Ok(power::on_terminals()?.into_iter().collect())
}

/// Writes a message to all terminals, and shows it on the desktop to whoever is at the screen.
pub(crate) fn notify(message: &str) -> Result<()> {
    if let Some(uid) = at_the_screen()
        && let Err(error) = notify_desktop(uid, message)
    {
        tracing::debug!(uid, error = %error.source, "no desktop notification");
    }
    // It takes a file's name where other systems' takes the message.
    run_with_input("wall", &format!("{message}\n")).map(drop)
}

/// The id of the user at the screen; none at the login window.
fn at_the_screen() -> Option<u32> {
    let uid = Path::new(CONSOLE).metadata().ok()?.uid();
    (uid != 0).then_some(uid)
}

fn notify_desktop(uid: u32, message: &str) -> Result<String> {
    let (program, arguments) = as_user(uid, true, "osascript");
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(NOTIFICATION)
        .chain([message, "Open Computer Orchestration"])
        .collect();
    run(program, &arguments)
}

/// How a program is run as a user, in the session that he has: the program to start, and its first arguments.
pub(super) fn as_user(uid: u32, in_session: bool, program: &str) -> (&'static str, Vec<String>) {
    let uid = uid.to_string();
    let user = format!("#{uid}");
    let session = ["asuser", &uid, "sudo"];
    let skipped = if in_session { 0 } else { session.len() };
    let identity = ["-n", "-H", "-u", &user, "--", program];
    let arguments = session.iter().skip(skipped).chain(&identity);
    let first = if in_session { "launchctl" } else { "sudo" };
    (first, arguments.map(ToString::to_string).collect())
}
