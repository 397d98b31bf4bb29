//! Snaps, from the description that each of them has in its mounted image. That needs neither root nor the daemon.

use crate::host::Host;
use crate::inventory::field::{Result, lossy, optional};
use oco_protocol::inventory::Software;
use std::path::Path;

/// Where images are mounted, the second on Fedora and Arch.
const FOLDERS: &[&str] = &["/snap", "/var/lib/snapd/snap"];

pub(super) fn collect(host: &dyn Host) -> Result<Option<Vec<Software>>> {
    for folder in FOLDERS {
        let Some(names) = optional(host.list_folder(Path::new(folder)))? else {
            continue;
        };
        let descriptions = names.iter().filter_map(|name| {
            // Only what is not switched off has a current revision.
            let path = format!("{folder}/{name}/current/meta/snap.yaml");
            host.read_file(Path::new(&path)).ok().map(lossy)
        });
        let software: Vec<_> = descriptions
            .filter_map(|description| parse(&description))
            .collect();
        if !software.is_empty() {
            return Ok(Some(software));
        }
    }
    Ok(None)
}

/// The values that matter are single lines at the top level.
fn parse(description: &str) -> Option<Software> {
    let value = |key: &str| {
        let value = description
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(unquoted(value.trim()))
    };
    Some(Software {
        name: value("name").filter(|name| !name.is_empty())?,
        version: value("version").unwrap_or_default(),
        description: value("summary").unwrap_or_default(),
    })
}

/// A YAML scalar on one line.
fn unquoted(value: &str) -> String {
    let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(text) = inside('\'') {
        return text.replace("''", "'");
    }
    if let Some(text) = inside('"') {
        return text.replace("\\\"", "\"").replace("\\\\", "\\");
    }
    // Texts of several lines begin with one of these.
    if matches!(value, ">" | "|" | ">-" | "|-" | ">+" | "|+") {
        String::new()
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_snap_describes_itself() {
        let description = "name: firefox\nversion: '133.0-1'\nsummary: \"Mozilla \\\"Firefox\\\" web browser\"\ndescription: |\n  version: no\n\
                           apps:\n  firefox:\n    name: x\n";
        let software = parse(description).unwrap();
        assert_eq!(
            (software.name.as_str(), software.version.as_str()),
            ("firefox", "133.0-1")
        );
        assert_eq!(software.description, "Mozilla \"Firefox\" web browser");
        assert_eq!(parse("summary: no name\n"), None);
        assert_eq!(parse("name: x\nsummary: >-\n  long\n").unwrap().description, "");
    }

    proptest! {
        #[test]
        fn no_description_panics(description in "((name|version|summary): ?['\"]?\\PC{0,4}['\"]?\n|\\PC|\n)*") {
            parse(&description);
        }
    }
}
