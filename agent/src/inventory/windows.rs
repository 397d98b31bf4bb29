//! Windows: registry values and rows of WMI queries.

use super::Collectors;
use super::parts::{Part, part, put};
use crate::host::HostError;
use oco_protocol::inventory::UNKNOWN;

mod battery;
mod boot;
mod hardware;
mod logins;
mod machine;
mod partitions;
mod printers;
pub(crate) mod registry;
mod release;
mod screens;
mod software;
mod usb;
mod users;
mod wmi;

pub(super) const COLLECTORS: Collectors = Collectors {
    hostname: |host| host.hostname(),
    uid: machine::uid,
    battery: battery::collect,
    parts: PARTS,
};

static PARTS: &[Part] = &[
    part("kernel_version", |_, _| {
        put(Ok::<_, HostError>(()), |inventory, ()| {
            inventory.kernel_version = Some(UNKNOWN.to_owned());
        })
    }),
    part("os, os_version", |host, _| {
        put(release::read(host), |inventory, release| {
            inventory.os = Some(release.name);
            inventory.os_version = Some(release.version);
        })
    }),
    part("os_license", |host, _| {
        put(release::license(host), |inventory, license| {
            inventory.os_license = Some(license);
        })
    }),
    part("os_language", |host, _| {
        put(release::language(host), |inventory, language| {
            inventory.os_language = Some(language);
        })
    }),
    part("architecture", |host, _| {
        put(hardware::architecture(host), |inventory, machine| {
            inventory.architecture = Some(machine);
        })
    }),
    part("cpu", |host, _| {
        put(hardware::cpu(host), |inventory, cpu| inventory.cpu = Some(cpu))
    }),
    part("gpu", |host, _| {
        put(hardware::gpu(host), |inventory, gpu| inventory.gpu = Some(gpu))
    }),
    part("serial, bios_version", |host, _| {
        put(machine::bios(host), |inventory, bios| {
            inventory.serial = Some(bios.serial);
            inventory.bios_version = Some(bios.version);
        })
    }),
    part("manufacturer, model, ram, domain", |host, _| {
        put(machine::computer_system(host), |inventory, system| {
            inventory.manufacturer = Some(system.manufacturer);
            inventory.model = Some(system.model);
            inventory.ram = system.ram;
            inventory.domain = Some(system.qualified_name);
        })
    }),
    part("boot_type", |host, _| {
        let boot_type = Ok::<_, HostError>(boot::boot_type(host));
        put(boot_type, |inventory, kind| inventory.boot_type = Some(kind))
    }),
    part("secure_boot", |host, _| {
        put(boot::secure_boot(host), |inventory, state| {
            inventory.secure_boot = Some(state);
        })
    }),
    part("screens", |host, _| {
        put(screens::collect(host), |inventory, screens| {
            inventory.screens = Some(screens);
        })
    }),
    part("printers", |host, _| {
        put(printers::collect(host), |inventory, printers| {
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
        put(logins::collect(host, options), |inventory, logins| {
            inventory.logins = Some(logins);
        })
    }),
    part("users", |host, _| {
        put(users::collect(host), |inventory, users| {
            inventory.users = Some(users);
        })
    }),
    part("devices", |host, _| {
        put(usb::collect(host), |inventory, devices| {
            inventory.devices = Some(devices);
        })
    }),
];
