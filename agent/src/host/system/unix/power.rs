//! Restart and shutdown, and the users who should know of it, by the tools that Linux and macOS have in common.

use super::command;
use crate::host::{Command, CommandOutput, HostError, PowerAction, Result};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

/// None of these tools takes noticeable time when all is well.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Orders a restart or a shutdown in so many minutes.
pub(crate) fn schedule(action: PowerAction, minutes: u32) -> Result<()> {
    let option = match action {
        PowerAction::Restart => "-r",
        PowerAction::Shutdown => "-h",
    };
    run("shutdown", &[option, &format!("+{minutes}")]).map(drop)
}

/// Names of the users who are logged in, as the terminals show them.
pub(crate) fn on_terminals() -> Result<BTreeSet<String>> {
    Ok(parse_who(&run("who", &[])?))
}

/// The users in the output of `who`.
fn parse_who(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The output of a command that succeeds.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String> {
    let command = Command {
        program,
        args,
        time_limit: TIME_LIMIT,
    };
    text_of(&command, &command::run(&command)?)
}

/// The output of a command that succeeds, and that reads this from its standard input.
#[cfg(target_os = "macos")]
pub(crate) fn run_with_input(program: &str, input: &str) -> Result<String> {
    let command = Command {
        program,
        args: &[],
        time_limit: TIME_LIMIT,
    };
    text_of(&command, &command::run_with_input(&command, input.as_bytes())?)
}

fn text_of(command: &Command<'_>, output: &CommandOutput) -> Result<String> {
    if output.code != Some(0) {
        let reason = format!("exit code {:?}", output.code);
        return Err(HostError::new("run", command, io::Error::other(reason)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_each_user_once() {
        let text = "ada      tty2         2026-11-20 08:01 (tty2)\nada      pts/0        2026-11-20 08:02 (:0)\nbob  pts/1 2026-11-20 09:00 (10.0.0.7)\n";
        assert_eq!(
            parse_who(text),
            BTreeSet::from(["ada".to_owned(), "bob".to_owned()])
        );
    }
}
