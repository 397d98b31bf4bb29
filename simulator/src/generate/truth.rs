//! The truth about a virtual machine: the inventory that an agent without faults reports.
//!
//! Made from the same facts as the artefacts, never by collecting: comparing the two shows what collectors lose. A field
//! is `None` exactly where the machine's defects make it impossible to know.

use super::profile::{Profile, Release};
use super::release::{self, Packages};
use super::software::windows::Provision;
use super::software::{debian, linux as linux_packages, macos, windows};
use super::users::Account;
use super::volumes::{Kind, Volume};
use super::{linux, windows::BUILT_IN};
use oco_agent::host::{Interface, InterfaceAddress, Os, RegistryView};
use oco_protocol::inventory::{Inventory, Network, Partition, Software, UNKNOWN, User};
use serde_json::Value;
use std::net::IpAddr;
use std::time::SystemTime;

pub use reports::{events, services};

/// Ids of the local users that agents report unless their config says otherwise.
const LOCAL_USERS: std::ops::RangeInclusive<u32> = 1000..=65534;

/// The inventory, without the agent's version.
pub fn inventory(profile: &Profile, now: SystemTime) -> Inventory {
    let name = kernel_or_given_name(profile);
    let own = match profile.release {
        Release::Linux(release) => Inventory {
            os: Some(release.name.to_owned()),
            os_version: text(release.version_id.unwrap_or(UNKNOWN)),
            os_language: text(UNKNOWN),
            ..linux_inventory(profile, release, now)
        },
        Release::MacOs(release) => Inventory {
            os: text("macOS"),
            os_version: text(release.version),
            os_language: text(if profile.defects.no_locale {
                UNKNOWN
            } else {
                profile.language.locale
            }),
            ..macos_inventory(profile, now)
        },
        Release::Windows(release) => Inventory {
            os: text(release.name),
            os_version: Some(release.version()),
            os_language: unless(profile.defects.no_wmi, || profile.language.lcid.to_owned()),
            ..windows_inventory(profile, now)
        },
    };
    Inventory {
        hostname: name.split('.').next().map(str::to_owned),
        uptime: Some(profile.uptime(now).as_secs_f64()),
        networks: Some(networks(&profile.interfaces(now))),
        architecture: text(profile.architecture()),
        ..own
    }
}

/// The UUID that the agent introduces itself with; machines that don't tell theirs use their host name.
pub fn uid(profile: &Profile) -> String {
    let defects = profile.defects;
    let known = match profile.machine.os {
        Os::Linux => (!defects.no_dmi && !defects.unprivileged).then(|| profile.uuid()),
        Os::MacOs => Some(profile.uuid().to_uppercase()),
        Os::Windows => unless(defects.no_wmi, || profile.uuid().to_uppercase()),
    };
    known.unwrap_or_else(|| {
        kernel_or_given_name(profile)
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned()
    })
}

fn linux_inventory(profile: &Profile, release: &release::Linux, now: SystemTime) -> Inventory {
    let firmware = |value: String| {
        Some(if profile.defects.no_dmi {
            String::new()
        } else {
            value
        })
    };
    let board = linux::device_tree(profile);
    let (battery_level, battery_status) = peripherals::battery(profile, now);
    Inventory {
        gpu: Some(peripherals::gpu(profile)),
        battery_level: Some(battery_level),
        battery_status: Some(battery_status),
        screens: Some(peripherals::screens(profile)),
        printers: unless(
            profile.defects.unprivileged && !profile.printers().is_empty(),
            || peripherals::printers(profile),
        ),
        devices: Some(peripherals::devices(profile)),
        os_license: text(UNKNOWN),
        kernel_version: Some(profile.kernel().release),
        cpu: Some(processors(profile)),
        ram: Some(profile.ram / 1024 * 1024),
        serial: match &board {
            Some(board) => Some(board.serial.clone()),
            None if profile.defects.no_dmi => Some(String::new()),
            None => unless(profile.defects.unprivileged, || profile.serial()),
        },
        manufacturer: firmware(profile.model.vendor.to_owned()),
        model: match board {
            Some(board) => text(board.model),
            None => firmware(profile.model.name.to_owned()),
        },
        bios_version: firmware(profile.firmware()),
        boot_type: text(if profile.uefi { "UEFI" } else { "Legacy" }),
        secure_boot: flag(profile.secure_boot),
        domain: profile.qualified_name(),
        partitions: Some(partitions(&profile.volumes(now))),
        software: Some(linux_software(profile, release, now)),
        logins: Some(logins::linux(profile, now)),
        users: Some(linux_users(profile)),
        ..Inventory::default()
    }
}

fn macos_inventory(profile: &Profile, now: SystemTime) -> Inventory {
    let accounts = profile.accounts();
    let reported = accounts
        .iter()
        .filter(|account| LOCAL_USERS.contains(&account.number));
    let (battery_level, battery_status) = peripherals::battery_in_percent(profile, now);
    Inventory {
        gpu: Some(profile.gpu.unwrap_or_default().to_owned()),
        battery_level: Some(battery_level),
        battery_status: Some(battery_status),
        screens: Some(peripherals::macos_screens(profile)),
        printers: Some(peripherals::printers(profile)),
        devices: Some(peripherals::devices(profile)),
        os_license: text(UNKNOWN),
        kernel_version: Some(profile.kernel().release),
        cpu: text(profile.cpu),
        ram: Some(profile.ram),
        serial: Some(profile.serial()),
        manufacturer: text(profile.model.vendor),
        model: text(profile.model.name),
        bios_version: Some(profile.firmware()),
        boot_type: text("UEFI"),
        secure_boot: text("?"),
        domain: Some(kernel_or_given_name(profile)).filter(|name| name.contains('.')),
        partitions: Some(partitions(&profile.volumes(now))),
        software: Some(macos_software(profile, now)),
        logins: Some(logins::macos(profile, now)),
        users: Some(
            reported
                .map(|account| unix_user(account, 20, account.disabled))
                .collect(),
        ),
        ..Inventory::default()
    }
}

fn windows_inventory(profile: &Profile, now: SystemTime) -> Inventory {
    let broken = profile.defects.no_wmi;
    let (battery_level, battery_status) = peripherals::battery_in_percent(profile, now);
    Inventory {
        battery_level: unless(broken, || battery_level),
        battery_status: unless(broken, || battery_status),
        screens: unless(broken, || peripherals::windows_screens(profile)),
        printers: unless(broken, || peripherals::windows_printers(profile)),
        devices: unless(broken, || peripherals::windows_devices(profile)),
        os_license: unless(broken, || if profile.activated { "1" } else { "0" }.to_owned()),
        kernel_version: text(UNKNOWN),
        cpu: unless(broken, || processors(profile)),
        ram: unless(broken, || profile.ram),
        gpu: unless(broken, || profile.gpu.unwrap_or_default().to_owned()),
        serial: unless(broken, || profile.serial()),
        manufacturer: unless(broken, || profile.model.vendor.to_owned()),
        model: unless(broken, || profile.model.name.to_owned()),
        bios_version: unless(broken, || profile.firmware()),
        boot_type: text(match (profile.defects.no_bcdedit, profile.uefi) {
            (true, _) => "?",
            (false, true) => "UEFI",
            (false, false) => "Legacy",
        }),
        secure_boot: flag(profile.secure_boot),
        domain: unless(broken, || match profile.domain {
            Some(domain) => format!("{}.{domain}", profile.hostname()),
            None => profile.hostname(),
        }),
        partitions: unless(broken, || partitions(&profile.volumes(now))),
        software: Some(windows_software(profile, now)),
        logins: Some(logins::windows(profile, now)),
        users: unless(broken, || windows_users(profile)),
        ..Inventory::default()
    }
}

fn kernel_or_given_name(profile: &Profile) -> String {
    match profile.machine.os {
        Os::MacOs if !profile.defects.no_host_name => profile.host_name_setting(),
        _ => profile.hostname(),
    }
}

/// One line a socket.
fn processors(profile: &Profile) -> String {
    vec![profile.cpu; usize::from(profile.sockets)].join("\n")
}

fn networks(interfaces: &[Interface]) -> Vec<Network> {
    let mut networks = Vec::new();
    for interface in interfaces.iter().filter(|interface| !interface.loopback) {
        let global = |address: &&InterfaceAddress| match address.addr {
            IpAddr::V6(addr) => addr.segments()[0] != 0xfe80,
            IpAddr::V4(_) => true,
        };
        let mut addresses = interface.addresses.iter().filter(global).peekable();
        let network = |addr, netmask, broadcast| Network {
            addr,
            netmask,
            broadcast,
            mac: or_unknown(interface.mac.clone()),
            interface: interface.name.clone(),
        };
        if addresses.peek().is_none() {
            networks.push(network(
                UNKNOWN.to_owned(),
                UNKNOWN.to_owned(),
                UNKNOWN.to_owned(),
            ));
        }
        networks.extend(addresses.map(|address| {
            let broadcast = or_unknown(address.broadcast.map(|addr| addr.to_string()));
            network(address.addr.to_string(), netmask(address), broadcast)
        }));
    }
    networks
}

/// Only the prefixes that virtual networks have.
fn netmask(address: &InterfaceAddress) -> String {
    let mask = match (address.addr, address.prefix) {
        (IpAddr::V4(_), 16) => "255.255.0.0",
        (IpAddr::V4(_), 20) => "255.255.240.0",
        (IpAddr::V4(_), 22) => "255.255.252.0",
        (IpAddr::V4(_), 24) => "255.255.255.0",
        (IpAddr::V4(_), _) => "255.255.255.255",
        (IpAddr::V6(_), 64) => "ffff:ffff:ffff:ffff::/64",
        (IpAddr::V6(_), _) => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
    };
    mask.to_owned()
}

fn partitions(volumes: &[Volume]) -> Vec<Partition> {
    let reported = volumes
        .iter()
        .filter(|volume| matches!(volume.kind, Kind::Disk | Kind::Remote));
    reported
        .map(|volume| Partition {
            device: volume.device.clone(),
            mountpoint: volume.mountpoint.clone(),
            filesystem: volume.filesystem.to_owned(),
            size: volume.size,
            free: volume.free,
            name: volume.label.clone().unwrap_or_default(),
            uuid: volume.uuid.clone().unwrap_or_default(),
            encrypted: volume.encrypted,
        })
        .collect()
}

fn linux_software(profile: &Profile, release: &release::Linux, now: SystemTime) -> Vec<Software> {
    let mut software = Vec::with_capacity(2000);
    let mut add_installed = |package: &debian::Package<'_>| {
        if package.status.is_installed() {
            software.push(item(
                package.name,
                Some(package.version),
                package.description.unwrap_or_default(),
            ));
        }
    };
    if release.packages == Packages::Dpkg {
        debian::each_package(profile, release.suffix, now, &mut add_installed);
    }
    let others = linux_packages::beside_dpkg(profile, release, now);
    software.extend(others.iter().map(|package| {
        let description = package.description.as_deref().unwrap_or_default();
        item(&package.name, Some(&package.version), description)
    }));
    sorted(software)
}

fn macos_software(profile: &Profile, now: SystemTime) -> Vec<Software> {
    let bundles = macos::bundles(profile, now);
    let known = bundles.iter().map(|bundle| {
        item(
            bundle.name.as_deref().unwrap_or(&bundle.folder),
            bundle.version.as_deref(),
            bundle.info.as_deref().unwrap_or_default(),
        )
    });
    // A bundle without a property list is an application all the same.
    sorted(known.chain([item("Broken", None, "")]).collect())
}

fn windows_software(profile: &Profile, now: SystemTime) -> Vec<Software> {
    let views = [RegistryView::Native, RegistryView::Wow32];
    let programs = views
        .into_iter()
        .flat_map(|view| windows::programs(profile, view, now));
    let named = programs.filter_map(|program| {
        let name = program.name.filter(|name| !name.is_empty())?;
        let name = if program.system {
            format!("[System] {name}")
        } else {
            name.into_owned()
        };
        let description = program.publisher.as_deref().or(program.comments);
        let description = description.unwrap_or_default();
        Some(item(&name, program.version.as_deref(), description))
    });
    let mut software: Vec<Software> = named.collect();
    // A bundle repeats what somebody has.
    let somebody = !profile.directory_users().is_empty()
        || profile.accounts().iter().any(|account| account.home.is_some());
    let packages = windows::store_packages(profile).into_iter();
    software.extend(packages.filter_map(|package| {
        let version = match (somebody, package.provision) {
            (true, _) | (false, Provision::Plain) => package.version,
            (false, Provision::Bundle(version)) => version,
            (false, Provision::None) => return None,
        };
        Some(item(&format!("[AppX] {}", package.name), Some(version), ""))
    }));
    if !profile.defects.no_wmi {
        let hotfixes = windows::hotfixes(profile, now);
        software.extend(
            hotfixes
                .iter()
                .map(|fix| item(&format!("[Update] {}", fix.id), None, fix.description)),
        );
    }
    sorted(software)
}

fn linux_users(profile: &Profile) -> Vec<User> {
    let accounts = profile.accounts();
    let mut users: Vec<User> = accounts
        .iter()
        .map(|account| {
            unix_user(
                account,
                account.number,
                account.disabled && !profile.defects.unprivileged,
            )
        })
        .collect();
    if let (true, Some(first)) = (profile.defects.legacy_encoding, users.first_mut()) {
        first.display_name.push_str(" (M\u{fffd}nchen)");
    }
    users.push(User {
        username: "nobody".into(),
        display_name: "nobody".into(),
        uid: 65534.into(),
        gid: 65534.into(),
        home: "/nonexistent".into(),
        shell: "/usr/sbin/nologin".into(),
        disabled: false,
    });
    users
}

fn unix_user(account: &Account, gid: u32, disabled: bool) -> User {
    User {
        username: account.name.clone(),
        display_name: account.full_name.clone(),
        uid: account.number.into(),
        gid: gid.into(),
        home: account.home.clone().unwrap_or_default(),
        shell: account.shell.to_owned(),
        disabled,
    }
}

fn windows_users(profile: &Profile) -> Vec<User> {
    let machine = profile.machine_sid();
    let user = |name: &str, full_name: &str, number: u32, home: Option<String>, disabled| User {
        username: name.to_owned(),
        display_name: full_name.to_owned(),
        uid: format!("{machine}-{number}").into(),
        gid: Value::Null,
        home: or_unknown(home),
        shell: UNKNOWN.to_owned(),
        disabled,
    };
    let built_in = BUILT_IN
        .iter()
        .map(|(number, name, disabled)| user(name, "", *number, None, *disabled));
    let accounts = profile.accounts();
    let people = accounts
        .iter()
        .map(|a| user(&a.name, &a.full_name, a.number, a.home.clone(), a.disabled));
    built_in.chain(people).collect()
}

fn item(name: &str, version: Option<&str>, description: &str) -> Software {
    Software {
        name: name.to_owned(),
        version: version.unwrap_or(UNKNOWN).to_owned(),
        description: description.to_owned(),
    }
}

/// Software has no order that means something, and no item counts twice.
fn sorted(mut software: Vec<Software>) -> Vec<Software> {
    software.sort();
    software.dedup();
    software
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn unless<T>(defect: bool, value: impl FnOnce() -> T) -> Option<T> {
    (!defect).then(value)
}

/// Firmware without Secure Boot has it off.
fn flag(on: Option<bool>) -> Option<String> {
    text(if on == Some(true) { "1" } else { "0" })
}

mod logins;
mod peripherals;
mod reports;
#[cfg(test)]
mod tests;
