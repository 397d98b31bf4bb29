//! Mounted volumes, from mount(8) and diskutil(8).

use super::property_list::{dictionary, flag, text};
use crate::host::Host;
use crate::inventory::field::{Result, command_output, field, lossy};
use oco_protocol::inventory::Partition;
use plist::Dictionary;
use std::path::Path;

/// The volumes on devices of this machine.
pub(super) fn collect(host: &dyn Host) -> Result<Vec<Partition>> {
    let output = lossy(command_output(host, "mount", &[])?);
    Ok(output
        .lines()
        .filter_map(parse_mount)
        .filter_map(|mount| partition(host, &mount))
        .collect())
}

fn partition(host: &dyn Host, mount: &Mount<'_>) -> Option<Partition> {
    let space = field("partitions", host.space(Path::new(mount.mountpoint)))?;
    let volume = field("partitions", volume(host, mount.device)).unwrap_or_default();
    Some(Partition {
        device: mount.device.to_owned(),
        mountpoint: mount.mountpoint.to_owned(),
        filesystem: mount.filesystem.to_owned(),
        size: space.used.saturating_add(space.available),
        free: space.available,
        name: volume.name,
        uuid: volume.uuid,
        encrypted: volume.encrypted,
    })
}

/// One line of mount's output.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    device: &'a str,
    mountpoint: &'a str,
    filesystem: &'a str,
}

/// `/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse)`; none for what is not a device.
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (device, rest) = line.split_once(" on ")?;
    // A mount point may contain anything, parentheses included; the options contain none.
    let (mountpoint, options) = rest.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
    let filesystem = options.split(',').next()?.trim();
    device.starts_with("/dev/").then_some(Mount {
        device,
        mountpoint,
        filesystem,
    })
}

#[derive(Default)]
struct Volume {
    name: String,
    uuid: String,
    encrypted: bool,
}

fn volume(host: &dyn Host, device: &str) -> Result<Volume> {
    let output = command_output(host, "diskutil", &["info", "-plist", device])?;
    let info = dictionary(&output, "the output of diskutil")?;
    Ok(Volume {
        name: text(&info, "VolumeName").unwrap_or_default(),
        uuid: text(&info, "VolumeUUID").unwrap_or_default(),
        encrypted: is_encrypted(&info),
    })
}

/// Whether a volume opens only for somebody who knows a password.
///
/// The disks inside of Macs with a T2 chip or an Apple processor encrypt whatever is on them (`AESHardware`), so their volumes
/// have `Encryption` even where everybody can open them, "encrypted at rest". `FileVault` is set for every APFS volume that
/// has a password, on other disks as well.
fn is_encrypted(info: &Dictionary) -> bool {
    let by_somebody = flag(info, "Encryption") && !flag(info, "AESHardware");
    flag(info, "FileVault") || flag(info, "CoreStorageEncrypted") || by_somebody
}

#[cfg(test)]
mod tests {
    use super::*;
    use plist::Value;
    use proptest::prelude::*;

    #[test]
    fn a_line_of_mount_is_taken_apart() {
        let mount = |device, mountpoint, filesystem| {
            Some(Mount {
                device,
                mountpoint,
                filesystem,
            })
        };
        assert_eq!(
            parse_mount("/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)"),
            mount("/dev/disk3s1s1", "/", "apfs")
        );
        assert_eq!(
            parse_mount("/dev/disk4s1 on /Volumes/on tour (new) (exfat, local)"),
            mount("/dev/disk4s1", "/Volumes/on tour (new)", "exfat")
        );
        assert_eq!(
            parse_mount("map auto_home on /System/Volumes/Data/home (autofs, automounted)"),
            None
        );
        assert_eq!(parse_mount("//user@server/share on /Volumes/share (smbfs)"), None);
        assert_eq!(parse_mount(""), None);
    }

    #[test]
    fn a_disk_that_encrypts_everything_does_not_make_a_volume_encrypted() {
        let volume = |keys: &[&str]| {
            let flags = keys.iter().map(|key| ((*key).to_owned(), Value::Boolean(true)));
            is_encrypted(&flags.collect())
        };
        assert!(!volume(&["AESHardware", "Encryption"]), "at rest only");
        assert!(volume(&["AESHardware", "Encryption", "FileVault"]));
        assert!(volume(&["Encryption", "FileVault"]), "without such a disk");
        assert!(volume(&["Encryption"]), "not by the disk");
        assert!(volume(&["CoreStorageEncrypted"]));
        assert!(!volume(&["AESHardware"]) && !volume(&[]));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(/dev/d| on | \\(|\\)|,|\\PC)*") {
            parse_mount(&line);
        }
    }
}
