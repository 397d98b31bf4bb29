//! macOS: property lists, and commands that print them.

use super::field::field;
use super::{Collectors, Options};
use crate::host::Host;
use oco_protocol::inventory::{Inventory, UNKNOWN};

mod hardware;
mod machine;
mod partitions;
mod property_list;
mod release;
mod software;
mod users;

pub(super) const COLLECTORS: Collectors = Collectors {
    hostname: machine::hostname,
    uid: machine::uid,
    inventory,
};

fn inventory(host: &dyn Host, options: &Options) -> Inventory {
    let kernel = field("kernel_version", host.kernel());
    let machine = field("serial, manufacturer, model", machine::read(host));
    Inventory {
        os: Some("macOS".to_owned()),
        os_version: field("os_version", release::version(host)),
        os_license: Some(UNKNOWN.to_owned()),
        os_language: field("os_language", release::language(host)),
        kernel_version: kernel.as_ref().map(|kernel| kernel.release.clone()),
        architecture: kernel.map(|kernel| kernel.machine),
        cpu: field("cpu", hardware::cpu(host)),
        ram: field("ram", hardware::ram(host)),
        serial: machine.as_ref().map(|machine| machine.serial.clone()),
        manufacturer: machine.as_ref().map(|machine| machine.manufacturer.clone()),
        model: machine.map(|machine| machine.model),
        bios_version: field("bios_version", machine::bios_version(host)),
        // Every Mac that runs a supported macOS; only its recovery system knows how strict its secure boot is.
        boot_type: Some("UEFI".to_owned()),
        secure_boot: Some("?".to_owned()),
        domain: field("domain", machine::domain(host)).flatten(),
        partitions: field("partitions", partitions::collect(host)),
        software: field("software", software::collect(host)),
        users: field("users", users::collect(host, &options.local_users)),
        ..Inventory::default()
    }
}
