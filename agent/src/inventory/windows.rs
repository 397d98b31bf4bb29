//! Windows: registry values and rows of WMI queries.

use super::field::field;
use super::{Collectors, Options};
use crate::host::Host;
use oco_protocol::inventory::{Inventory, UNKNOWN};

mod boot;
mod hardware;
mod machine;
mod partitions;
mod registry;
mod release;
mod software;
mod users;
mod wmi;

pub(super) const COLLECTORS: Collectors = Collectors {
    hostname: |host| host.hostname(),
    uid: machine::uid,
    inventory,
};

fn inventory(host: &dyn Host, _options: &Options) -> Inventory {
    let release = field("os", release::read(host));
    let bios = field("serial, bios_version", machine::bios(host));
    let system = field("manufacturer, model, ram, domain", machine::computer_system(host));
    Inventory {
        os: release.as_ref().map(|release| release.name.clone()),
        os_version: release.map(|release| release.version),
        os_license: field("os_license", release::license(host)),
        os_language: field("os_language", release::language(host)),
        kernel_version: Some(UNKNOWN.to_owned()),
        architecture: field("architecture", hardware::architecture(host)),
        cpu: field("cpu", hardware::cpu(host)),
        ram: system.as_ref().and_then(|system| system.ram),
        gpu: field("gpu", hardware::gpu(host)),
        serial: bios.as_ref().map(|bios| bios.serial.clone()),
        manufacturer: system.as_ref().map(|system| system.manufacturer.clone()),
        model: system.as_ref().map(|system| system.model.clone()),
        bios_version: bios.map(|bios| bios.version),
        boot_type: Some(boot::boot_type(host)),
        secure_boot: field("secure_boot", boot::secure_boot(host)),
        domain: system.map(|system| system.qualified_name),
        partitions: field("partitions", partitions::collect(host)),
        software: field("software", software::collect(host)),
        users: field("users", users::collect(host)),
        ..Inventory::default()
    }
}
