//! macOS: property lists, and commands that print them.

use super::parts::{Part, part, put};
use super::{Collectors, cups};
use crate::host::HostError;
use oco_protocol::inventory::UNKNOWN;

mod battery;
mod displays;
mod hardware;
mod logins;
mod machine;
mod partitions;
mod property_list;
mod release;
mod software;
mod usb;
pub(crate) mod users;

pub(super) const COLLECTORS: Collectors = Collectors {
    hostname: machine::hostname,
    uid: machine::uid,
    battery: battery::collect,
    parts: PARTS,
};

static PARTS: &[Part] = &[
    part("os, os_license, boot_type, secure_boot", |_, _| {
        put(Ok::<_, HostError>(()), |inventory, ()| {
            inventory.os = Some("macOS".to_owned());
            inventory.os_license = Some(UNKNOWN.to_owned());
            // Every Mac that runs a supported macOS; only its recovery system knows how strict its secure boot is.
            inventory.boot_type = Some("UEFI".to_owned());
            inventory.secure_boot = Some("?".to_owned());
        })
    }),
    part("os_version", |host, _| {
        put(release::version(host), |inventory, version| {
            inventory.os_version = Some(version);
        })
    }),
    part("os_language", |host, _| {
        put(release::language(host), |inventory, language| {
            inventory.os_language = Some(language);
        })
    }),
    part("kernel_version, architecture", |host, _| {
        put(host.kernel(), |inventory, kernel| {
            inventory.kernel_version = Some(kernel.release);
            inventory.architecture = Some(kernel.machine);
        })
    }),
    part("cpu", |host, _| {
        put(hardware::cpu(host), |inventory, cpu| inventory.cpu = Some(cpu))
    }),
    part("ram", |host, _| {
        put(hardware::ram(host), |inventory, ram| inventory.ram = Some(ram))
    }),
    part("serial, manufacturer, model", |host, _| {
        put(machine::read(host), |inventory, machine| {
            inventory.serial = Some(machine.serial);
            inventory.manufacturer = Some(machine.manufacturer);
            inventory.model = Some(machine.model);
        })
    }),
    part("bios_version", |host, _| {
        put(machine::bios_version(host), |inventory, version| {
            inventory.bios_version = Some(version);
        })
    }),
    part("domain", |host, _| {
        put(machine::domain(host), |inventory, domain| {
            inventory.domain = domain;
        })
    }),
    part("gpu, screens", |host, _| {
        put(displays::collect(host), |inventory, displays| {
            inventory.gpu = Some(displays.gpu);
            inventory.screens = Some(displays.screens);
        })
    }),
    part("printers", |host, _| {
        put(cups::collect(host), |inventory, printers| {
            inventory.printers = Some(printers);
        })
    }),
    part("partitions", |host, _| {
        put(partitions::collect(host), |inventory, partitions| {
            inventory.partitions = Some(partitions);
        })
    }),
    part("software", |host, _| {
        put(software::collect(host), |inventory, software| {
            inventory.software = Some(software);
        })
    }),
    part("logins", |host, options| {
        let logins = logins::collect(host, options.logins_since.as_deref());
        put(logins, |inventory, logins| inventory.logins = Some(logins))
    }),
    part("users", |host, options| {
        put(users::collect(host, &options.local_users), |inventory, users| {
            inventory.users = Some(users);
        })
    }),
    part("devices", |host, _| {
        put(usb::collect(host), |inventory, devices| {
            inventory.devices = Some(devices);
        })
    }),
];

#[cfg(test)]
pub(crate) mod tests {
    use crate::host::recorded::{RecordedCommand, Recording};
    use serde_json::json;

    /// A Mac that answers to these commands.
    pub(crate) fn recording(commands: &[(&str, RecordedCommand)]) -> Recording {
        let machine = json!({
            "os": "macos", "hostname": "mac", "kernel": {"release": "24.1.0", "machine": "arm64"},
            "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
        });
        let mut recording = Recording::new(serde_json::from_value(machine).unwrap());
        for (line, answer) in commands {
            recording.commands.insert((*line).to_owned(), answer.clone());
        }
        recording
    }
}
