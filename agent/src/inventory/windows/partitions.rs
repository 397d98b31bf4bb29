//! Volumes with a drive letter or on a folder, and whether BitLocker protects them.

use super::wmi;
use crate::host::{Host, WmiRow};
use crate::inventory::field::{Result, field, optional};
use oco_protocol::inventory::Partition;
use serde_json::Value;
use std::collections::BTreeSet;

/// Values of `DriveType`: removable, fixed, RAM disk. Network drives are another machine's, and discs come and go.
const LOCAL_DRIVES: [u64; 3] = [2, 3, 6];

/// How the path of a volume begins that has neither a drive letter nor a folder: those of the firmware and of the recovery.
const VOLUME_PATH: &str = r"\\?\";

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Partition>> {
    let query = "SELECT DeviceID, DriveType, FileSystem, Size, FreeSpace, VolumeName, VolumeSerialNumber \
                 FROM Win32_LogicalDisk";
    let disks = wmi::rows(host, query)?;
    let on_folders = field("partitions on folders", volumes_on_folders(host)).unwrap_or_default();
    let protected = field("partitions.encrypted", protected_volumes(host)).unwrap_or_default();
    let disks = disks.iter().filter_map(|disk| lettered(disk, &protected));
    let on_folders = on_folders
        .iter()
        .filter_map(|volume| on_folder(volume, &protected));
    Ok(disks.chain(on_folders).collect())
}

/// The partition of a row of `Win32_LogicalDisk`.
fn lettered(disk: &WmiRow, protected: &BTreeSet<String>) -> Option<Partition> {
    let (size, free) = space(disk, "Size")?;
    let drive = wmi::text(disk, "DeviceID");
    Some(Partition {
        encrypted: protected.contains(&drive.to_uppercase()),
        mountpoint: drive.clone(),
        device: drive,
        filesystem: wmi::text(disk, "FileSystem"),
        size,
        free,
        name: wmi::text(disk, "VolumeName"),
        uuid: wmi::text(disk, "VolumeSerialNumber"),
    })
}

/// Rows of `Win32_Volume` without a drive letter. A system without the class has its drives all the same.
fn volumes_on_folders(host: &dyn Host) -> Result<Vec<WmiRow>> {
    let query = "SELECT DeviceID, DriveLetter, DriveType, FileSystem, Capacity, FreeSpace, Label, Name, SerialNumber \
                 FROM Win32_Volume";
    let mut volumes = optional(wmi::ask(host, query))?.unwrap_or_default();
    volumes.retain(|volume| wmi::text(volume, "DriveLetter").is_empty());
    Ok(volumes)
}

/// The partition of a row of `Win32_Volume`; none if it is on no folder.
fn on_folder(volume: &WmiRow, protected: &BTreeSet<String>) -> Option<Partition> {
    let folder = wmi::text(volume, "Name");
    if folder.is_empty() || folder.starts_with(VOLUME_PATH) {
        return None;
    }
    let (size, free) = space(volume, "Capacity")?;
    let device = wmi::text(volume, "DeviceID");
    Some(Partition {
        encrypted: protected.contains(&device.to_uppercase()),
        device,
        mountpoint: folder,
        filesystem: wmi::text(volume, "FileSystem"),
        size,
        free,
        name: wmi::text(volume, "Label"),
        uuid: serial_number(volume),
    })
}

/// Bytes and free bytes of a local volume; none of one that is not. A card reader without a card has neither.
fn space(volume: &WmiRow, size: &str) -> Option<(u64, u64)> {
    wmi::number(volume, "DriveType").filter(|kind| LOCAL_DRIVES.contains(kind))?;
    Some((wmi::number(volume, size)?, wmi::number(volume, "FreeSpace")?))
}

/// A serial number as `Win32_LogicalDisk` writes it; empty if there is none. COM has no unsigned numbers: what is too large for a
/// signed one may come as a negative one.
fn serial_number(volume: &WmiRow) -> String {
    let number = match wmi::value(volume, "SerialNumber") {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_i64(),
        None => None,
    };
    number.map_or(String::new(), |number| format!("{:08X}", number & 0xFFFF_FFFF))
}

/// Letters, and paths of volumes, that BitLocker protects, in capitals. Editions without BitLocker do not have the namespace.
fn protected_volumes(host: &dyn Host) -> Result<BTreeSet<String>> {
    let namespace = r"root\cimv2\Security\MicrosoftVolumeEncryption";
    let query = "SELECT DeviceID, DriveLetter, ProtectionStatus FROM Win32_EncryptableVolume";
    let volumes = optional(host.wmi(namespace, query))?.unwrap_or_default();
    let protected = volumes
        .iter()
        .filter(|volume| wmi::number(volume, "ProtectionStatus") == Some(1));
    Ok(protected
        .flat_map(|volume| ["DeviceID", "DriveLetter"].map(|name| wmi::text(volume, name).to_uppercase()))
        .filter(|name| !name.is_empty())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(changes: &Value) -> Option<Partition> {
        let mut row = json!({"DeviceID": r"\\?\Volume{1}\", "DriveLetter": null, "DriveType": 3, "FileSystem": "NTFS",
            "Capacity": "4096", "FreeSpace": 1024, "Label": null, "Name": r"D:\Mails\", "SerialNumber": 1});
        let changes = changes.as_object().unwrap().clone();
        row.as_object_mut().unwrap().extend(changes);
        on_folder(
            &serde_json::from_value(row).unwrap(),
            &BTreeSet::from([r"\\?\VOLUME{1}\".to_owned()]),
        )
    }

    #[test]
    fn a_volume_on_a_folder_is_a_partition() {
        let expected = Partition {
            device: r"\\?\Volume{1}\".to_owned(),
            mountpoint: r"D:\Mails\".to_owned(),
            filesystem: "NTFS".to_owned(),
            size: 4096,
            free: 1024,
            name: String::new(),
            uuid: "00000001".to_owned(),
            encrypted: true,
        };
        assert_eq!(volume(&json!({})), Some(expected));
    }

    #[test]
    fn volumes_that_are_nowhere_or_without_a_medium_or_another_machines_are_none() {
        for changes in [
            json!({"Name": r"\\?\Volume{1}\"}),
            json!({"Name": null}),
            json!({"Capacity": null}),
            json!({"FreeSpace": null}),
            json!({"DriveType": 4}),
            json!({"DriveType": null}),
        ] {
            assert_eq!(volume(&changes), None, "{changes}");
        }
    }

    #[test]
    fn serial_numbers_are_written_as_those_of_drives_whatever_com_makes_of_them() {
        for (number, written) in [
            (json!(0xDEAD_BEEF_u32), "DEADBEEF"),
            (json!(0xDEAD_BEEF_u32.cast_signed()), "DEADBEEF"),
            (json!("3735928559"), "DEADBEEF"),
            (json!(0), "00000000"),
            (json!(null), ""),
            (json!("none"), ""),
        ] {
            let found = volume(&json!({"SerialNumber": number})).unwrap();
            assert_eq!(found.uuid, written, "{number}");
        }
    }
}
