//! Passwords of local accounts, set by `chpasswd`.

use crate::host::system::unix::command;
use crate::host::{Command, HostError, Result};
use std::io;
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// Other programs may hold the lock of the account database for a while.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Sets a password. It travels through a pipe: command lines can be read by every user. The one before is not needed.
pub(crate) fn set(username: &str, password: &str, _old: Option<&str>) -> Result<()> {
    let failed = |source: io::Error| HostError::new("set the password of", username, source);
    // Each of these would end the account's or the password's part of the line.
    let splits = |text: &str| text.is_empty() || text.contains(['\n', '\r', '\0']);
    if splits(username) || username.contains(':') || splits(password) {
        let reason = "the account's name or the password has a character that cannot be passed on";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    let mut line = Zeroizing::new(String::with_capacity(username.len() + password.len() + 2));
    for part in [username, ":", password, "\n"] {
        line.push_str(part);
    }
    let command = Command {
        program: "chpasswd",
        args: &[],
        time_limit: TIME_LIMIT,
    };
    let mut output =
        command::run_with_input(&command, line.as_bytes()).map_err(|error| failed(error.source))?;
    let outcome = match output.code {
        Some(0) => Ok(()),
        code => Err(failed(io::Error::other(complaint(
            code,
            &output.stdout,
            password,
        )))),
    };
    // What it says is not ours to trust with the password.
    output.stdout.zeroize();
    outcome
}

fn complaint(code: Option<i32>, output: &[u8], password: &str) -> String {
    let end = code.map_or("was killed".to_owned(), |code| format!("ended with code {code}"));
    let text = String::from_utf8_lossy(output);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || text.contains(password) {
        return format!("chpasswd {end}");
    }
    let shown: String = line.chars().take(200).collect();
    format!("chpasswd {end}: {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_become_another_line_are_refused() {
        for (username, password) in [
            ("root\nroot", "x"),
            ("root:x", "y"),
            ("", "x"),
            ("u", "a\nroot:b"),
            ("u", ""),
        ] {
            let error = set(username, password, None).unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::InvalidInput, "{username:?}");
        }
    }

    #[test]
    fn a_complaint_that_repeats_the_password_is_not_shown() {
        assert_eq!(
            complaint(Some(1), b"chpasswd: no such user\nmore", "s3cret"),
            "chpasswd ended with code 1: chpasswd: no such user"
        );
        assert_eq!(
            complaint(Some(1), b"bad line: u:s3cret", "s3cret"),
            "chpasswd ended with code 1"
        );
        assert_eq!(complaint(None, b"", "s3cret"), "chpasswd was killed");
    }
}
