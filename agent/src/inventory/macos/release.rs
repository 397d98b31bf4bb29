//! Version and language of macOS.

use super::property_list::{dictionary, text};
use crate::host::Host;
use crate::inventory::field::{CollectError, Result, command_output, lossy};
use oco_protocol::inventory::UNKNOWN;
use std::path::Path;

const SYSTEM_VERSION: &str = "/System/Library/CoreServices/SystemVersion.plist";

pub(super) fn version(host: &dyn Host) -> Result<String> {
    let system_version = dictionary(&host.read_file(Path::new(SYSTEM_VERSION))?, SYSTEM_VERSION)?;
    text(&system_version, "ProductVersion")
        .ok_or_else(|| CollectError::malformed(SYSTEM_VERSION, "no ProductVersion"))
}

/// Where settings are that hold for all users.
const ALL_USERS: &str = "/Library/Preferences/.GlobalPreferences";

/// Locale such as `de_DE`: that of the agent's user, else the one that the Mac was set up with.
pub(super) fn language(host: &dyn Host) -> Result<String> {
    for domain in ["-g", ALL_USERS] {
        match command_output(host, "defaults", &["read", domain, "AppleLocale"]) {
            Ok(output) => return Ok(lossy(output).trim().to_owned()),
            // How it says that none is set.
            Err(CollectError::Command { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::recorded::{RecordedCommand, RecordedHost};
    use crate::inventory::macos::tests::recording;

    #[test]
    fn a_mac_that_has_no_locale_reports_none() {
        let none = RecordedCommand {
            code: Some(1),
            stdout: Vec::new(),
        };
        let all = format!("defaults read {ALL_USERS} AppleLocale");
        let commands = [
            ("defaults read -g AppleLocale", none.clone()),
            (all.as_str(), none),
        ];
        assert_eq!(language(&RecordedHost::new(recording(&commands))).unwrap(), "-");
        assert!(
            language(&RecordedHost::new(recording(&[]))).is_err(),
            "the tool is missing"
        );
    }
}
