//! The machine itself, from the I/O registry's root and the system's own settings.

use super::property_list::{dictionaries, text};
use crate::host::{Host, HostError};
use crate::inventory::field::{CollectError, Result, command_output, field, lossy};
use crate::inventory::is_assigned_uuid;
use serde::Deserialize;

/// What the I/O registry says of the machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    uuid: Option<String>,
}

pub(super) fn read(host: &dyn Host) -> Result<Machine> {
    let output = command_output(
        host,
        "ioreg",
        &["-a", "-r", "-d", "1", "-c", "IOPlatformExpertDevice"],
    )?;
    let subject = "the I/O registry's IOPlatformExpertDevice";
    let devices = dictionaries(&output, subject)?;
    let device = devices
        .first()
        .ok_or_else(|| CollectError::malformed(subject, "no such device"))?;
    let text_or_empty = |key| text(device, key).unwrap_or_default();
    Ok(Machine {
        serial: text_or_empty("IOPlatformSerialNumber"),
        manufacturer: text_or_empty("manufacturer"),
        model: text_or_empty("model"),
        uuid: text(device, "IOPlatformUUID").filter(|uuid| is_assigned_uuid(uuid)),
    })
}

pub(super) fn uid(host: &dyn Host) -> Result<Option<String>> {
    Ok(read(host)?.uuid)
}

/// The name that was given to the Mac; the kernel's where there is none.
pub(super) fn hostname(host: &dyn Host) -> Result<String, HostError> {
    given_name(host).map_or_else(|| host.hostname(), Ok)
}

/// The fully qualified name, if the host name has a domain.
pub(super) fn domain(host: &dyn Host) -> Result<Option<String>> {
    Ok(Some(hostname(host)?).filter(|name| name.contains('.')))
}

pub(super) fn bios_version(host: &dyn Host) -> Result<String> {
    let output = command_output(host, "system_profiler", &["-json", "SPHardwareDataType"])?;
    parse_boot_rom_version(&output)
}

fn given_name(host: &dyn Host) -> Option<String> {
    match command_output(host, "scutil", &["--get", "HostName"]) {
        Ok(output) => Some(lossy(output).trim().to_owned()).filter(|name| !name.is_empty()),
        // How it says that none is set.
        Err(CollectError::Command { .. }) => None,
        failed => field("hostname", failed).map(lossy),
    }
}

#[derive(Deserialize)]
struct Profile {
    #[serde(rename = "SPHardwareDataType")]
    hardware: Vec<HardwareProfile>,
}

#[derive(Deserialize)]
struct HardwareProfile {
    #[serde(default)]
    boot_rom_version: String,
}

fn parse_boot_rom_version(json: &[u8]) -> Result<String> {
    let profile: Profile = serde_json::from_slice(json)
        .map_err(|error| CollectError::malformed("the output of system_profiler", error))?;
    Ok(profile
        .hardware
        .into_iter()
        .next()
        .map(|hardware| hardware.boot_rom_version)
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_profile_without_a_version_has_an_empty_one() {
        let parse = |json: &str| parse_boot_rom_version(json.as_bytes()).unwrap();
        assert_eq!(
            parse(r#"{"SPHardwareDataType":[{"boot_rom_version":"10151.101.3"}]}"#),
            "10151.101.3"
        );
        assert_eq!(parse(r#"{"SPHardwareDataType":[{}]}"#), "");
        assert_eq!(parse(r#"{"SPHardwareDataType":[]}"#), "");
        assert!(parse_boot_rom_version(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn no_profile_panics(json in "\\PC*") {
            let _ = parse_boot_rom_version(json.as_bytes());
        }
    }
}
