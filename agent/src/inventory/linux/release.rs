//! The distribution, from os-release(5).

use crate::host::Host;
use crate::inventory::field::{CollectError, Result, read_text};
use oco_protocol::inventory::UNKNOWN;

/// A distribution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// `Debian GNU/Linux`.
    pub(super) name: String,
    /// `12`; unknown for rolling distributions.
    pub(super) version: String,
}

pub(super) fn read(host: &dyn Host) -> Result<Release> {
    let text = match read_text(host, "/etc/os-release") {
        Err(error) if error.is_not_found() => read_text(host, "/usr/lib/os-release"),
        text => text,
    };
    text.map(|text| parse(&text)).map_err(CollectError::from)
}

fn parse(os_release: &str) -> Release {
    // What os-release(5) says that a missing name means.
    let mut release = Release {
        name: "Linux".to_owned(),
        version: UNKNOWN.to_owned(),
    };
    for line in os_release.lines() {
        let Some((key, value)) = line.trim().split_once('=') else {
            continue;
        };
        let field = match key {
            "NAME" => &mut release.name,
            "VERSION_ID" => &mut release.version,
            _ => continue,
        };
        let value = unquote(value);
        if !value.trim().is_empty() {
            *field = value;
        }
    }
    release
}

/// Undoes the quoting of a shell assignment.
fn unquote(value: &str) -> String {
    let single = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(literal) = single {
        return literal.to_owned();
    }
    let double = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut unquoted = String::with_capacity(value.len());
    let mut chars = double.unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        unquoted.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    unquoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release(name: &str, version: &str) -> Release {
        Release {
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn names_are_unquoted() {
        assert_eq!(
            parse("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n"),
            release("Debian GNU/Linux", "12")
        );
        assert_eq!(
            parse("VERSION_ID=40\r\nNAME='Fedora Linux'\r\n"),
            release("Fedora Linux", "40")
        );
        assert_eq!(
            parse(r#"NAME="A \"quoted\" \$name \\""#),
            release(r#"A "quoted" $name \"#, "-")
        );
    }

    #[test]
    fn a_rolling_distribution_has_no_version() {
        assert_eq!(
            parse("NAME=\"Arch Linux\"\nPRETTY_NAME=\"Arch Linux\"\n"),
            release("Arch Linux", "-")
        );
        assert_eq!(parse(""), release("Linux", "-"));
        // Found by fuzzing: what has no visible character is no name.
        assert_eq!(parse("NAME=\nVERSION_ID=\"\"\n"), release("Linux", "-"));
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "(NAME=|VERSION_ID=|['\"\\\\]|\\PC|\n)*") {
            parse(&text);
        }
    }
}
