//! Linux: files in `/proc`, `/sys`, `/etc` and `/var`. Commands are run only where a package manager keeps its database
//! to itself (rpm, flatpak, wtmpdb, ZFS), for screens that the kernel does not know, and for file systems that may not answer.

use super::parts::{Part, part, put};
use super::{Collectors, cups};
use oco_protocol::inventory::UNKNOWN;

mod attributes;
mod battery;
mod block_devices;
mod boot;
mod gpu;
mod hardware;
mod hardware_ids;
mod logins;
mod machine;
mod partitions;
mod release;
mod screens;
mod software;
mod sssd;
mod usb;
mod users;

pub(super) const COLLECTORS: Collectors = Collectors {
    hostname: |host| host.hostname(),
    uid: machine::uid,
    battery: battery::collect,
    parts: PARTS,
};

static PARTS: &[Part] = &[
    part("os, os_version, os_license, os_language", |host, _| {
        put(release::read(host), |inventory, release| {
            inventory.os = Some(release.name);
            inventory.os_version = Some(release.version);
            inventory.os_license = Some(UNKNOWN.to_owned());
            inventory.os_language = Some(UNKNOWN.to_owned());
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
    part("gpu", |host, _| {
        put(gpu::collect(host), |inventory, gpu| inventory.gpu = Some(gpu))
    }),
    part("serial", |host, _| {
        put(machine::serial(host), |inventory, serial| {
            inventory.serial = Some(serial);
        })
    }),
    part("manufacturer", |host, _| {
        put(machine::manufacturer(host), |inventory, name| {
            inventory.manufacturer = Some(name);
        })
    }),
    part("model", |host, _| {
        put(machine::model(host), |inventory, model| {
            inventory.model = Some(model);
        })
    }),
    part("bios_version", |host, _| {
        put(machine::bios_version(host), |inventory, version| {
            inventory.bios_version = Some(version);
        })
    }),
    part("boot_type", |host, _| {
        put(boot::boot_type(host), |inventory, kind| {
            inventory.boot_type = Some(kind);
        })
    }),
    part("secure_boot", |host, _| {
        put(boot::secure_boot(host), |inventory, state| {
            inventory.secure_boot = Some(state);
        })
    }),
    part("domain", |host, _| {
        put(machine::domain(host), |inventory, domain| {
            inventory.domain = domain;
        })
    }),
    part("screens", |host, _| {
        put(screens::collect(host), |inventory, screens| {
            inventory.screens = Some(screens);
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
