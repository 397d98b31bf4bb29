//! Mounted file systems, from `/proc/self/mountinfo` (see proc(5)), with what udev and the device mapper know of them.

use super::block_devices::BlockDevices;
use crate::host::Host;
use crate::inventory::field::{Result, read_text};
use oco_protocol::inventory::Partition;
use std::collections::BTreeSet;
use std::path::Path;

/// Kinds that hold no data of their own: kernel interfaces and memory.
const WITHOUT_DATA: [&str; 25] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "nfsd",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// Kinds that live on another machine. Asking for their space may block for ever while that one is away.
const REMOTE: [&str; 9] = [
    "9p", "afs", "ceph", "cifs", "coda", "ncpfs", "nfs", "nfs4", "smb3",
];

/// The mounted file systems that hold data on this machine, each once.
pub(super) fn collect(host: &dyn Host) -> Result<Vec<Partition>> {
    let mountinfo = read_text(host, "/proc/self/mountinfo")?;
    let devices = BlockDevices::read(host);
    let mounts = parse_mountinfo(&mountinfo);
    let partitions = local_mounts(&mounts)
        .into_iter()
        .filter_map(|mount| partition(host, &devices, mount));
    Ok(partitions.collect())
}

fn partition(host: &dyn Host, devices: &BlockDevices<'_>, mount: &Mount) -> Option<Partition> {
    let space = host.space(Path::new(&mount.mountpoint));
    let space = space
        .inspect_err(
            |error| tracing::debug!(error = %error, cause = %error.source, "a file system is left out"),
        )
        .ok()
        .filter(|space| space.used > 0 || space.available > 0)?;
    let device = devices.resolve(&mount.source);
    Some(Partition {
        name: devices.label(&device),
        uuid: devices.uuid(&device),
        encrypted: devices.is_encrypted(&device),
        device: mount.source.clone(),
        mountpoint: mount.mountpoint.clone(),
        filesystem: mount.filesystem.clone(),
        size: space.used.saturating_add(space.available),
        free: space.available,
    })
}

/// One line of mountinfo.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::inventory) struct Mount {
    device_number: String,
    mountpoint: String,
    filesystem: String,
    source: String,
}

pub(in crate::inventory) fn parse_mountinfo(mountinfo: &str) -> Vec<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        // Mount id, parent id, device number, root, mount point.
        let mut mount = mount.split(' ').skip(2);
        let (device_number, mountpoint) = (mount.next()?, mount.nth(1)?);
        let mut file_system = file_system.split(' ');
        Some(Mount {
            device_number: device_number.to_owned(),
            mountpoint: unescape_octal(mountpoint),
            filesystem: file_system.next()?.to_owned(),
            source: unescape_octal(file_system.next()?),
        })
    });
    mounts.collect()
}

/// Leaves out what is hidden below a later mount, and all mounts of a file system but its first.
fn local_mounts(mounts: &[Mount]) -> Vec<&Mount> {
    let mut visible = BTreeSet::new();
    let mut local: Vec<_> = mounts
        .iter()
        .rev()
        .filter(|mount| visible.insert(&mount.mountpoint))
        .collect();
    local.reverse();
    let mut seen = BTreeSet::new();
    local.retain(|mount| holds_local_data(&mount.filesystem) && seen.insert(&mount.device_number));
    local
}

fn holds_local_data(filesystem: &str) -> bool {
    // In user space, somebody else's program answers, or does not. `fuseblk` is how NTFS on a disk is called.
    !WITHOUT_DATA.contains(&filesystem)
        && !REMOTE.contains(&filesystem)
        && filesystem != "fuse"
        && !filesystem.starts_with("fuse.")
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape_octal(text: &str) -> String {
    super::block_devices::unescape(text, |rest| {
        let digits = rest
            .get(..3)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
        Some((u8::from_str_radix(digits, 8).ok()?, 3))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTINFO: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
24 22 0:5 / /dev rw - devtmpfs udev rw
25 22 8:1 / /media/My\\040Disk rw - vfat /dev/sda1 rw
26 22 254:1 /srv/data /mnt/bind rw shared:1 - ext4 /dev/mapper/vg-root rw
27 22 0:44 / /mnt/nfs rw - nfs4 server:/export rw
28 22 8:2 / /data rw - ext4 /dev/sda2 rw
29 28 8:3 / /data rw master:1 propagate_from:2 - xfs /dev/sda3 rw
30 22 0:50 / /home/a/remote rw - fuse.sshfs b: rw
31 22 8:4 / /win rw - fuseblk /dev/sda4 rw
garbage
32 22 8:5 / - 
";

    #[test]
    fn each_local_file_system_is_listed_once_where_it_can_be_seen() {
        let mounts = parse_mountinfo(MOUNTINFO);
        let listed: Vec<_> = local_mounts(&mounts)
            .iter()
            .map(|m| (&*m.mountpoint, &*m.source))
            .collect();
        assert_eq!(
            listed,
            [
                ("/", "/dev/mapper/vg-root"),
                ("/media/My Disk", "/dev/sda1"),
                ("/data", "/dev/sda3"),
                ("/win", "/dev/sda4")
            ]
        );
    }

    #[test]
    fn octal_escapes_are_undone_and_others_kept() {
        assert_eq!(unescape_octal(r"a\040b\011\134"), "a b\t\\");
        assert_eq!(unescape_octal(r"\0"), r"\0");
        assert_eq!(unescape_octal(r"\777 \x"), r"\777 \x");
        assert_eq!(unescape_octal(r"M\303\274ll"), "Müll");
    }

    proptest! {
        #[test]
        fn no_content_panics(text in "([0-9]{1,3}:?|/| - |\\\\|ext4|\n| |\\PC)*") {
            local_mounts(&parse_mountinfo(&text));
        }
    }
}
