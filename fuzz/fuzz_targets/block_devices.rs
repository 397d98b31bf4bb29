//! Mounted file systems: mountinfo, udev's links and the device mapper's files, which `lsblk` reads, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{answer, inventory, machine_with, parts, put};
use std::collections::BTreeSet;

fuzz_target!(|bytes: &[u8]| {
    let [mountinfo, label, name, uuid, stat] = parts(bytes);
    let mut machine = machine_with("/proc/self/mountinfo", mountinfo);
    put(&mut machine, "/sys/class/block/dm-0/dm/name", name);
    put(&mut machine, "/sys/class/block/dm-0/dm/uuid", uuid);
    let link = format!(
        "/dev/disk/by-label/{}",
        String::from_utf8_lossy(label).replace('/', "_")
    );
    machine.links.insert(link, "../../dm-0".to_owned());
    answer(&mut machine, "stat -f -c %S %b %f %a -- /data", stat);
    let partitions = inventory(machine, bytes.len()).partitions.expect("a list");
    let mountpoints: BTreeSet<_> = partitions.iter().map(|partition| &partition.mountpoint).collect();
    assert_eq!(
        mountpoints.len(),
        partitions.len(),
        "a mount point is there twice"
    );
    for partition in &partitions {
        assert!(
            !partition.encrypted || uuid.starts_with(b"CRYPT-"),
            "{partition:?}"
        );
        assert!(!["proc", "sysfs", "tmpfs", "devtmpfs"].contains(&partition.filesystem.as_str()));
    }
});
