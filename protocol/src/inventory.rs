//! What an agent reports about its computer: the `data` of `oco.agent.update` and the parts that a hello shares with it.
//!
//! Every field may be missing: a collector that fails costs its own field only. `-` stands for "unknown" in texts, as
//! in the existing agent.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Text that stands for a value nobody knows.
pub const UNKNOWN: &str = "-";

/// The inventory of a computer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Host name, usually without its domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Version of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// Product name of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Version of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// `1` activated, `0` not (Windows), `-` elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_license: Option<String>,
    /// Locale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_language: Option<String>,
    /// Kernel release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    /// Machine architecture in the system's own spelling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Processor names, one line a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ram: Option<u64>,
    /// Display adapters, one line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Serial number of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Manufacturer of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Model of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Firmware version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bios_version: Option<String>,
    /// Seconds since the last start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
    /// `UEFI`, `Legacy` or `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_type: Option<String>,
    /// `1`, `0` or `?`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<String>,
    /// Fully qualified domain name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Addresses and interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Network>>,
    /// Monitors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screens: Option<Vec<Screen>>,
    /// Printers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printers: Option<Vec<Printer>>,
    /// Mounted file systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<Partition>>,
    /// Installed software.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<Vec<Software>>,
    /// Logins since the moment the server asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logins: Option<Vec<Login>>,
    /// Local user accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<User>>,
    /// Charge of the battery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_level: Option<OrFalse<f64>>,
    /// 1 plugged in, 2 on battery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_status: Option<OrFalse<u8>>,
    /// Attached USB devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
}

/// A value, or the literal `false` where the machine has no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrFalse<T> {
    /// There is one.
    Value(T),
    /// There is none.
    None,
}

impl<T: Serialize> Serialize for OrFalse<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::None => serializer.serialize_bool(false),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for OrFalse<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) | Value::Null => Ok(Self::None),
            value => T::deserialize(value)
                .map(Self::Value)
                .map_err(serde::de::Error::custom),
        }
    }
}

/// One address of one interface; an interface without an address appears once with `addr` `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Network {
    /// IPv4 or IPv6 address.
    pub addr: String,
    /// `255.255.255.0`, or `ffff:ffff:ffff:ffff::/64`.
    pub netmask: String,
    /// Broadcast address of an IPv4 network.
    pub broadcast: String,
    /// Hardware address, lower-case with colons.
    pub mac: String,
    /// Name of the interface.
    pub interface: String,
}

/// One mounted file system. `size` is used + available, as a user without privileges sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Device or drive letter.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// Type of the file system.
    pub filesystem: String,
    /// Bytes.
    pub size: u64,
    /// Bytes.
    pub free: u64,
    /// Label.
    pub name: String,
    /// UUID or volume serial number.
    pub uuid: String,
    /// Whether the volume is encrypted (LUKS, FileVault, BitLocker).
    pub encrypted: bool,
}

/// One installed package or application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Software {
    /// Name as its package manager has it.
    pub name: String,
    /// Version; the server refuses an item without one.
    pub version: String,
    /// One line.
    pub description: String,
}

/// One local account. Numbers on Unix, a SID and null on Windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Account name.
    pub username: String,
    /// Full name.
    pub display_name: String,
    /// User id: a number, or a SID.
    pub uid: Value,
    /// Primary group id: a number or null.
    pub gid: Value,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Whether logging in is disabled.
    pub disabled: bool,
}

/// One login of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Directory GUID of the user, if known; the first agents did not send it.
    pub guid: Option<String>,
    /// Full name.
    pub display_name: String,
    /// Account name.
    pub username: String,
    /// Terminal or session.
    pub console: String,
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub timestamp: String,
}

/// One monitor, from its EDID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// Product name.
    pub name: String,
    /// Name behind the PNP id, or `Unknown (XYZ)`.
    pub manufacturer: String,
    /// Week and year of manufacture.
    pub manufactured: String,
    /// `1920 x 1080`, or `-`.
    pub resolution: String,
    /// Centimetres: `52.0 x 32.0`.
    pub size: String,
    /// Product code.
    #[serde(rename = "type")]
    pub kind: String,
    /// Serial number.
    pub serialno: String,
    /// Digital or analogue.
    pub technology: String,
}

/// One printer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Printer {
    /// Queue name.
    pub name: String,
    /// Driver or model.
    pub driver: String,
    /// Default paper.
    pub paper: String,
    /// Resolution.
    pub dpi: String,
    /// Device URI or port.
    pub uri: String,
    /// State.
    pub status: String,
}

/// One attached device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `usb`.
    pub subsystem: String,
    /// Vendor id.
    pub vendor: u32,
    /// Product id.
    pub product: u32,
    /// Serial number.
    pub serial: String,
    /// Product name.
    pub name: String,
}

/// One line of a service check, in CheckMK's local-check form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// 0 OK, 1 warning, 2 critical, 3 unknown, P computed from the metrics; a string on the wire.
    pub status: String,
    /// Name of the service.
    pub name: String,
    /// The metrics under the key that the existing agent misspells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merics: Option<String>,
    /// The metrics under the key that servers read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Free text.
    pub details: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_without_a_value_are_left_out() {
        assert_eq!(serde_json::to_string(&Inventory::default()).unwrap(), "{}");
    }

    #[test]
    fn a_machine_without_a_battery_says_false() {
        let inventory = Inventory {
            battery_level: Some(OrFalse::None),
            ..Inventory::default()
        };
        assert_eq!(
            serde_json::to_string(&inventory).unwrap(),
            r#"{"battery_level":false}"#
        );
        let back: Inventory = serde_json::from_str(r#"{"battery_level":0.5,"battery_status":2}"#).unwrap();
        assert_eq!(back.battery_level, Some(OrFalse::Value(0.5)));
        assert_eq!(back.battery_status, Some(OrFalse::Value(2)));
    }
}
