//! The inventory: which collector answers which field, on which system.
//!
//! Each system has a module of collectors with the same files: `machine` (names, serial number, model), `release`
//! (operating system), `boot`, `hardware` (processors, memory), `partitions`, `software`, `users`. They are functions
//! of `&dyn Host`, so all of them compile and run everywhere. A collector that fails costs its own field only, and so
//! does one that hangs. What several systems have in the same form (monitors' EDIDs, printers of CUPS) is in modules
//! of its own.

use crate::host::{Host, HostError, Os};
use field::{CollectError, field};
use oco_protocol::inventory::{Inventory, Network, OrFalse};
pub use parts::UnderWay;
use parts::{Part, part, put};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

mod cups;
mod edid;
mod field;
mod linux;
pub(crate) mod macos;
mod networks;
mod packages;
mod parts;
mod pnp_vendors;
pub(crate) mod texts;
pub(crate) mod windows;

/// What the collectors need to know from the configuration and from the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Version of the agent, as it is reported.
    pub agent_version: String,
    /// Whether the host name is cut at its first dot.
    pub hostname_remove_domain: bool,
    /// Replaces the hardware's UUID.
    pub machine_uid: Option<String>,
    /// Ids of the local users that are reported (Linux and macOS).
    pub local_users: RangeInclusive<u32>,
    /// Whether users of logins have their domain before them: `DOMAIN\user` (Windows).
    pub username_with_domain: bool,
    /// Earlier logins are left out: UTC, `YYYY-MM-DD HH:MM:SS`.
    pub logins_since: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname_remove_domain: true,
            machine_uid: None,
            local_users: 1000..=65534,
            username_with_domain: false,
            logins_since: None,
        }
    }
}

/// Who this computer is to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the hardware; the host name where there is none.
    pub uid: String,
    /// Host name.
    pub hostname: String,
}

/// Charge of the battery and where the power comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Battery {
    /// Charge, 0 to 1.
    pub level: f64,
    /// Whether the machine draws its power from somewhere else.
    pub plugged: bool,
}

/// Longest time that one part of the inventory may take in [`collect_within`]; more than one command may.
pub const PART_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Collects everything, however long that takes. What cannot be found out is left out, and the log says why.
pub fn collect(host: &dyn Host, options: &Options) -> Inventory {
    let mut inventory = prepared(options);
    parts::collect(&all_parts(host.os()), host, options, &mut inventory);
    texts::tidy(&mut inventory);
    inventory
}

/// Collects everything; what takes longer than `limit` is left out, too, and so is what an earlier inventory with the same
/// `under_way` still waits for.
pub fn collect_within(
    limit: Duration,
    host: &Arc<dyn Host>,
    options: &Options,
    under_way: &UnderWay,
) -> Inventory {
    let mut inventory = prepared(options);
    parts::collect_within(
        limit,
        &all_parts(host.os()),
        host,
        options,
        under_way,
        &mut inventory,
    );
    texts::tidy(&mut inventory);
    inventory
}

/// What is known without asking.
fn prepared(options: &Options) -> Inventory {
    Inventory {
        agent_version: Some(options.agent_version.clone()),
        ..Inventory::default()
    }
}

fn all_parts(os: Os) -> Vec<&'static Part> {
    COMMON_PARTS.iter().chain(collectors(os).parts).collect()
}

/// What is asked in the same way on every system.
static COMMON_PARTS: &[Part] = &[
    part("hostname", |host, options| {
        let hostname = hostname(host, options.hostname_remove_domain);
        put(hostname, |inventory, name| inventory.hostname = Some(name))
    }),
    part("uptime", |host, _| {
        put(uptime(host), |inventory, uptime| inventory.uptime = Some(uptime))
    }),
    part("networks", |host, _| {
        put(networks(host), |inventory, networks| {
            inventory.networks = Some(networks);
        })
    }),
    part("battery_level, battery_status", |host, _| {
        put((collectors(host.os()).battery)(host), |inventory, battery| {
            if let Some(battery) = battery {
                (inventory.battery_level, inventory.battery_status) = battery_fields(battery);
            }
        })
    }),
];

/// Level and status of the battery as both hello and inventory report them; neither where that is not known.
pub fn battery(host: &dyn Host) -> (Option<OrFalse<f64>>, Option<OrFalse<u8>>) {
    let battery = field(
        "battery_level, battery_status",
        (collectors(host.os()).battery)(host),
    );
    battery.flatten().map_or((None, None), battery_fields)
}

/// 1 means plugged in, 2 on battery.
fn battery_fields(battery: Option<Battery>) -> (Option<OrFalse<f64>>, Option<OrFalse<u8>>) {
    match battery {
        Some(Battery { level, plugged }) => (
            Some(OrFalse::Value(level)),
            Some(OrFalse::Value(if plugged { 1 } else { 2 })),
        ),
        None => (Some(OrFalse::None), Some(OrFalse::None)),
    }
}

/// Who this computer is. Cheap enough for every check-in. Without a host name there is no telling.
pub fn identity(host: &dyn Host, options: &Options) -> Result<Identity, HostError> {
    let hostname = hostname(host, options.hostname_remove_domain)?;
    let uid = match &options.machine_uid {
        Some(uid) => Some(uid.clone()),
        None => hardware_uid(host)?,
    };
    Ok(Identity {
        uid: uid.unwrap_or_else(|| hostname.clone()),
        hostname,
    })
}

/// None only where that will not change: with another uid, the computer would be another one to the server. So if the
/// system just does not answer at the moment, as while it starts, that is an error.
fn hardware_uid(host: &dyn Host) -> Result<Option<String>, HostError> {
    match (collectors(host.os()).uid)(host) {
        Ok(uid) => Ok(uid),
        Err(error) if error.is_lasting() => Ok(field::<Option<String>, _>("uid", Err(error)).flatten()),
        Err(CollectError::Host(error)) => Err(error),
        Err(error) => Err(HostError::new(
            "find",
            "the UUID of the hardware",
            io::Error::other(error),
        )),
    }
}

/// The addresses of all interfaces but the loopback one.
pub fn networks(host: &dyn Host) -> Result<Vec<Network>, HostError> {
    Ok(networks::report(&host.interfaces()?))
}

/// Time since the last start, seconds.
pub fn uptime(host: &dyn Host) -> Result<f64, HostError> {
    Ok(host.uptime()?.as_secs_f64())
}

fn hostname(host: &dyn Host, remove_domain: bool) -> Result<String, HostError> {
    let full = (collectors(host.os()).hostname)(host)?;
    let name = match full.split_once('.') {
        Some((name, _)) if remove_domain => name,
        _ => &full,
    };
    if name.is_empty() {
        return Err(HostError::not_found("find", "the host name"));
    }
    Ok(name.to_owned())
}

/// The collectors of one system.
struct Collectors {
    /// The host name, with its domain where the system has one there.
    hostname: fn(&dyn Host) -> Result<String, HostError>,
    /// The hardware's UUID, if it has one.
    uid: fn(&dyn Host) -> field::Result<Option<String>>,
    /// The battery, or that there is none; nothing where that is not looked for.
    battery: fn(&dyn Host) -> field::Result<Option<Option<Battery>>>,
    /// All fields that are collected in another way on every system.
    parts: &'static [Part],
}

/// The one place where the systems part.
const fn collectors(os: Os) -> &'static Collectors {
    match os {
        Os::Linux => &linux::COLLECTORS,
        Os::MacOs => &macos::COLLECTORS,
        Os::Windows => &windows::COLLECTORS,
    }
}

/// SMBIOS says "not present" with all ones and "not settable" with all zeros: many machines share these.
fn is_assigned_uuid(uuid: &str) -> bool {
    let only = |digit: char| uuid.chars().all(|c| c == '-' || c.eq_ignore_ascii_case(&digit));
    !uuid.is_empty() && !only('0') && !only('f')
}

/// Whether this is a UUID as text, with or without letters in upper case.
fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit_or_hyphen = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    bytes.len() == 36 && bytes.iter().enumerate().all(digit_or_hyphen)
}

#[cfg(test)]
mod tests;
