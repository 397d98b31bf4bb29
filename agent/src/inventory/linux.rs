//! Linux: files in `/proc`, `/sys`, `/etc` and `/var`; no command is run.

use super::field::field;
use super::{Collectors, Options};
use crate::host::Host;
use oco_protocol::inventory::{Inventory, UNKNOWN};

mod block_devices;
mod boot;
mod hardware;
mod logins;
mod machine;
mod partitions;
mod release;
mod software;
mod users;

pub(super) const COLLECTORS: Collectors = Collectors {
    hostname: |host| host.hostname(),
    uid: machine::uid,
    inventory,
};

fn inventory(host: &dyn Host, options: &Options) -> Inventory {
    let release = field("os", release::read(host));
    let kernel = field("kernel_version", host.kernel());
    Inventory {
        os: release.as_ref().map(|release| release.name.clone()),
        os_version: release.map(|release| release.version),
        os_license: Some(UNKNOWN.to_owned()),
        os_language: Some(UNKNOWN.to_owned()),
        kernel_version: kernel.as_ref().map(|kernel| kernel.release.clone()),
        architecture: kernel.map(|kernel| kernel.machine),
        cpu: field("cpu", hardware::cpu(host)),
        ram: field("ram", hardware::ram(host)),
        serial: field("serial", machine::serial(host)),
        manufacturer: field("manufacturer", machine::manufacturer(host)),
        model: field("model", machine::model(host)),
        bios_version: field("bios_version", machine::bios_version(host)),
        boot_type: Some(boot::boot_type(host)),
        secure_boot: field("secure_boot", boot::secure_boot(host)),
        domain: field("domain", machine::domain(host)).flatten(),
        partitions: field("partitions", partitions::collect(host)),
        software: field("software", software::collect(host)),
        logins: field("logins", logins::collect(host, options.logins_since.as_deref())),
        users: field("users", users::collect(host, &options.local_users)),
        ..Inventory::default()
    }
}
