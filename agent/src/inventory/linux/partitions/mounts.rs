//! The mounts of `/proc/self/mountinfo` (see proc(5)), and which of them count: those that df(1) lists.

use std::collections::BTreeMap;

/// Kinds that hold no data of their own: kernel interfaces and memory.
const WITHOUT_DATA: [&str; 27] = [
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
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
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

/// Kinds that live on another machine.
const REMOTE: [&str; 9] = [
    "9p", "afs", "ceph", "cifs", "coda", "ncpfs", "nfs", "nfs4", "smb3",
];

/// One line of mountinfo.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    device_number: String,
    /// What of the file system is mounted.
    root: String,
    pub(super) mountpoint: String,
    pub(super) filesystem: String,
    pub(super) source: String,
    /// Number of the subvolume of btrfs. Each has a device number of its own, which is not in mountinfo.
    subvolume: Option<String>,
}

pub(super) fn parse(mountinfo: &str) -> Vec<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        // Mount id, parent id, device number, root, mount point.
        let mut mount = mount.split(' ').skip(2);
        let (device_number, root, mountpoint) = (mount.next()?, mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (filesystem, source) = (file_system.next()?, file_system.next()?);
        let mut options = file_system.next().unwrap_or_default().split(',');
        Some(Mount {
            device_number: device_number.to_owned(),
            root: unescape_octal(root),
            mountpoint: Some(unescape_octal(mountpoint)).filter(|path| path.starts_with('/'))?,
            filesystem: filesystem.to_owned(),
            source: unescape_octal(source),
            subvolume: options
                .find_map(|option| option.strip_prefix("subvolid="))
                .map(str::to_owned),
        })
    });
    mounts.collect()
}

/// The mounts that hold data and can be seen, each file system once, in the order in which they were mounted.
pub(super) fn listed(mounts: &[Mount]) -> Vec<&Mount> {
    // What is mounted later hides what was there before.
    let visible: BTreeMap<&str, usize> = mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| (mount.mountpoint.as_str(), index))
        .collect();
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    let mut listed: Vec<&Mount> = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        let hidden = visible.get(mount.mountpoint.as_str()) != Some(&index);
        if hidden || WITHOUT_DATA.contains(&mount.filesystem.as_str()) {
            continue;
        }
        let place = *places.entry(mount.identity()).or_insert(listed.len());
        match listed.get_mut(place) {
            Some(other) if mount.stands_for(other) => *other = mount,
            Some(_) => {}
            None => listed.push(mount),
        }
    }
    listed
}

impl Mount {
    /// Whether asking for its space may block for ever: another machine may be away, and in user space, somebody else's
    /// program answers, or does not. `fuseblk` is how NTFS on a disk is called.
    pub(super) fn may_hang(&self) -> bool {
        REMOTE.contains(&self.filesystem.as_str())
            || self.filesystem == "fuse"
            || self.filesystem.starts_with("fuse.")
    }

    /// Equal for mounts of one file system.
    fn identity(&self) -> (&str, Option<&str>, Option<&str>) {
        let remote = self.may_hang().then_some(self.source.as_str());
        (&self.device_number, self.subvolume.as_deref(), remote)
    }

    /// Of two mounts of one file system, df(1) lists the one nearer to the root of the machine, unless it shows less of it.
    fn stands_for(&self, other: &Self) -> bool {
        let is_device = |mount: &Self| mount.source.contains('/');
        (is_device(self) && !is_device(other))
            || (self.mountpoint.len() < other.mountpoint.len() && self.root.len() <= other.root.len())
    }
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape_octal(text: &str) -> String {
    crate::inventory::linux::block_devices::unescape(text, |rest| {
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

    fn listing(mountinfo: &str) -> Vec<(String, String)> {
        let mounts = parse(mountinfo);
        let pairs = listed(&mounts).into_iter();
        pairs
            .map(|mount| (mount.mountpoint.clone(), mount.source.clone()))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = expected.iter();
        owned
            .map(|(mountpoint, source)| ((*mountpoint).to_owned(), (*source).to_owned()))
            .collect()
    }

    #[test]
    fn each_file_system_is_listed_once_where_it_can_be_seen() {
        let expected = [
            ("/", "/dev/mapper/vg-root"),
            ("/media/My Disk", "/dev/sda1"),
            ("/mnt/nfs", "server:/export"),
            ("/data", "/dev/sda3"),
            ("/home/a/remote", "b:"),
            ("/win", "/dev/sda4"),
        ];
        assert_eq!(listing(MOUNTINFO), pairs(&expected));
        let mounts = parse(MOUNTINFO);
        let careful = listed(&mounts).into_iter().filter(|mount| mount.may_hang());
        assert_eq!(
            careful.map(|mount| mount.filesystem.as_str()).collect::<Vec<_>>(),
            ["nfs4", "fuse.sshfs"]
        );
    }

    #[test]
    fn of_several_mounts_the_one_nearest_to_the_root_counts() {
        let several = "1 0 8:1 /sub /a rw - ext4 /dev/sda1 rw\n2 0 8:1 / /longer/path rw - ext4 /dev/sda1 rw\n\
                       3 0 8:1 / /path rw - ext4 /dev/sda1 rw\n4 0 8:1 /sub /b rw - ext4 /dev/sda1 rw\n";
        // df replaces /a by nothing: the others are further from the root, or show less than /a's successor.
        assert_eq!(listing(several), pairs(&[("/a", "/dev/sda1")]));
        let whole_later = "2 0 8:1 / /longer/path rw - ext4 /dev/sda1 rw\n3 0 8:1 / /path rw - ext4 /dev/sda1 rw\n\
                           4 0 8:1 /sub /b rw - ext4 /dev/sda1 rw\n";
        assert_eq!(listing(whole_later), pairs(&[("/path", "/dev/sda1")]));
    }

    #[test]
    fn subvolumes_of_btrfs_are_listed_and_binds_into_them_are_not() {
        let btrfs = "1 0 0:30 /root / rw - btrfs /dev/nvme0n1p3 rw,subvolid=256,subvol=/root\n\
                     2 1 0:30 /home /home rw - btrfs /dev/nvme0n1p3 rw,subvolid=257,subvol=/home\n\
                     3 1 0:30 /home/x /srv/x rw - btrfs /dev/nvme0n1p3 rw,subvolid=257,subvol=/home\n";
        assert_eq!(
            listing(btrfs),
            pairs(&[("/", "/dev/nvme0n1p3"), ("/home", "/dev/nvme0n1p3")])
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
            listed(&parse(&text));
        }

        #[test]
        fn no_mount_point_is_listed_twice(mounts in proptest::collection::vec((0u8..4, "/[ab]{0,2}", "/[ab]{0,2}"), 0..12)) {
            let lines = mounts.iter().map(|(device, root, at)| format!("1 0 8:{device} {root} {at} rw - ext4 /dev/sda{device} rw\n"));
            let listing = listing(&lines.collect::<String>());
            let mut points: Vec<_> = listing.iter().map(|(mountpoint, _)| mountpoint).collect();
            points.sort();
            prop_assert!(points.windows(2).all(|pair| pair[0] != pair[1]));
            let mut devices: Vec<_> = listing.iter().map(|(_, source)| source).collect();
            devices.sort();
            prop_assert!(devices.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}
