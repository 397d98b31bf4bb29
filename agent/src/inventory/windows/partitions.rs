//! Volumes with a drive letter, and whether BitLocker protects them.

use super::wmi;
use crate::host::{Host, WmiRow};
use crate::inventory::field::{Result, field, optional};
use oco_protocol::inventory::Partition;
use std::collections::BTreeSet;

/// Values of `DriveType`: removable, fixed, RAM disk. Network drives are another machine's, and discs come and go.
const LOCAL_DRIVES: [u64; 3] = [2, 3, 6];

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Partition>> {
    let query = "SELECT DeviceID, DriveType, FileSystem, Size, FreeSpace, VolumeName, VolumeSerialNumber \
                 FROM Win32_LogicalDisk";
    let disks = wmi::rows(host, query)?;
    let protected = field("partitions.encrypted", protected_drives(host)).unwrap_or_default();
    Ok(disks
        .iter()
        .filter_map(|disk| partition(disk, &protected))
        .collect())
}

fn partition(disk: &WmiRow, protected: &BTreeSet<String>) -> Option<Partition> {
    wmi::number(disk, "DriveType").filter(|kind| LOCAL_DRIVES.contains(kind))?;
    // A card reader without a card has neither.
    let (size, free) = (wmi::number(disk, "Size")?, wmi::number(disk, "FreeSpace")?);
    let drive = wmi::text(disk, "DeviceID");
    Some(Partition {
        encrypted: protected.contains(&drive.to_ascii_uppercase()),
        mountpoint: drive.clone(),
        device: drive,
        filesystem: wmi::text(disk, "FileSystem"),
        size,
        free,
        name: wmi::text(disk, "VolumeName"),
        uuid: wmi::text(disk, "VolumeSerialNumber"),
    })
}

/// Letters of the drives that BitLocker protects. Editions without BitLocker do not have the namespace.
fn protected_drives(host: &dyn Host) -> Result<BTreeSet<String>> {
    let namespace = r"root\cimv2\Security\MicrosoftVolumeEncryption";
    let query = "SELECT DriveLetter, ProtectionStatus FROM Win32_EncryptableVolume";
    let volumes = optional(host.wmi(namespace, query))?.unwrap_or_default();
    let protected = volumes
        .iter()
        .filter(|volume| wmi::number(volume, "ProtectionStatus") == Some(1));
    Ok(protected
        .map(|volume| wmi::text(volume, "DriveLetter").to_ascii_uppercase())
        .collect())
}
