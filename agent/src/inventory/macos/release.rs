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

/// Locale of the agent's user, such as `de_DE`.
pub(super) fn language(host: &dyn Host) -> Result<String> {
    match command_output(host, "defaults", &["read", "-g", "AppleLocale"]) {
        Ok(output) => Ok(lossy(output).trim().to_owned()),
        // How it says that none is set.
        Err(CollectError::Command { .. }) => Ok(UNKNOWN.to_owned()),
        Err(error) => Err(error),
    }
}
