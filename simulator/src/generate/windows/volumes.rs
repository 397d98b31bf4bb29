//! WMI: drives, volumes and their encryption.

use super::wmi::row;
use crate::generate::profile::Profile;
use crate::generate::volumes::{Kind, Volume};
use oco_agent::host::WmiRow;
use serde_json::{Value, json};
use std::time::SystemTime;

/// `Win32_LogicalDisk`: what has a letter, with a medium or without.
pub(super) fn logical_disks(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let volumes = profile.volumes(now);
    let lettered = volumes.iter().filter(|volume| letter(volume).is_some());
    lettered.map(logical_disk).collect()
}

fn logical_disk(volume: &Volume) -> WmiRow {
    let empty = volume.kind == Kind::NoMedium;
    let label = volume.label.as_deref().unwrap_or_default();
    row([
        ("DeviceID", volume.device.as_str().into()),
        ("DriveType", drive_type(volume)),
        ("FileSystem", unless(empty, || volume.filesystem.into())),
        ("Size", unless(empty, || volume.size.to_string().into())),
        ("FreeSpace", unless(empty, || volume.free.to_string().into())),
        ("VolumeName", unless(empty, || label.into())),
        (
            "VolumeSerialNumber",
            volume.uuid.as_deref().map_or(Value::Null, Value::from),
        ),
    ])
}

/// `Win32_Volume`: the same, what is on folders, and the one that the recovery is on, which is nowhere.
pub(super) fn volumes(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let recovery = row([
        ("DeviceID", path(0).into()),
        ("DriveLetter", Value::Null),
        ("DriveType", json!(3)),
        ("FileSystem", "NTFS".into()),
        ("Capacity", (1_u64 << 30).to_string().into()),
        ("FreeSpace", (1_u64 << 29).to_string().into()),
        ("Label", "Recovery".into()),
        ("Name", path(0).into()),
        ("SerialNumber", json!(0x1234)),
    ]);
    let volumes = profile.volumes(now);
    let others = (1..).zip(&volumes).map(|(number, other)| volume(number, other));
    std::iter::once(recovery).chain(others).collect()
}

fn volume(number: u64, volume: &Volume) -> WmiRow {
    let empty = volume.kind == Kind::NoMedium;
    let letter = letter(volume);
    let name = letter.map_or(volume.mountpoint.clone(), |letter| format!(r"{letter}\"));
    let serial = volume
        .uuid
        .as_deref()
        .and_then(|serial| u32::from_str_radix(serial, 16).ok());
    row([
        ("DeviceID", device_id(number, volume).into()),
        ("DriveLetter", letter.into()),
        ("DriveType", drive_type(volume)),
        ("FileSystem", unless(empty, || volume.filesystem.into())),
        ("Capacity", unless(empty, || volume.size.to_string().into())),
        ("FreeSpace", unless(empty, || volume.free.to_string().into())),
        ("Label", volume.label.as_deref().into()),
        ("Name", name.into()),
        // COM has no unsigned numbers.
        ("SerialNumber", serial.map(u32::cast_signed).into()),
    ])
}

/// `Win32_EncryptableVolume`: what BitLocker knows of.
pub(super) fn encryptable(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let volumes = profile.volumes(now);
    let disks = (1..)
        .zip(&volumes)
        .filter(|(_, volume)| volume.kind == Kind::Disk);
    disks
        .map(|(number, volume)| {
            row([
                ("DeviceID", device_id(number, volume).into()),
                ("DriveLetter", letter(volume).into()),
                ("ProtectionStatus", json!(u32::from(volume.encrypted))),
            ])
        })
        .collect()
}

/// Letter of a volume's drive; none of one that is on a folder.
fn letter(volume: &Volume) -> Option<&str> {
    volume.device.ends_with(':').then_some(&volume.device)
}

/// Removable, disc, or fixed.
fn drive_type(volume: &Volume) -> Value {
    match (volume.kind, volume.filesystem) {
        (Kind::NoMedium, _) => json!(5),
        (_, "exFAT") => json!(2),
        _ => json!(3),
    }
}

/// Path of the machine's volume of that number, by which WMI knows volumes.
fn device_id(number: u64, volume: &Volume) -> String {
    letter(volume).map_or(volume.device.clone(), |_| path(number))
}

fn path(number: u64) -> String {
    format!(r"\\?\Volume{{{number:08x}-0000-0000-0000-100000000000}}\")
}

fn unless(empty: bool, value: impl FnOnce() -> Value) -> Value {
    if empty { Value::Null } else { value() }
}
