//! Block devices and what is mounted from them: the mount table, udev's links, the device mapper.

use crate::generate::Profile;
use crate::generate::volumes::{Kind, Layout, Volume, ZFS};
use oco_agent::host::CommandOutput;
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

/// Where the kernel lists them.
pub(super) const BLOCK: &str = "/sys/class/block/";

/// Names in a folder.
pub(super) fn list_folder(profile: &Profile, path: &str) -> io::Result<Vec<String>> {
    let volumes = || profile.volumes(SystemTime::UNIX_EPOCH);
    let mut names: Vec<String> = match path {
        "/sys/class/block" => kernel_names(profile),
        "/dev/disk/by-uuid" => volumes()
            .iter()
            .filter(|v| on_block_device(v))
            .filter_map(|v| v.uuid.clone())
            .collect(),
        "/dev/disk/by-label" => {
            let labels: Vec<String> = volumes()
                .iter()
                .filter_map(|v| v.label.as_deref().map(udev_escape))
                .collect();
            if labels.is_empty() {
                return Err(io::ErrorKind::NotFound.into());
            }
            labels
        }
        _ => slaves(profile, path).ok_or(io::ErrorKind::NotFound)?,
    };
    names.sort();
    names.dedup();
    Ok(names)
}

/// Target of a symbolic link.
pub(super) fn read_link(profile: &Profile, path: &str) -> io::Result<String> {
    let volumes = profile.volumes(SystemTime::UNIX_EPOCH);
    let find = |wanted: &dyn Fn(&Volume) -> bool| {
        volumes
            .iter()
            .find(|volume| on_block_device(volume) && wanted(volume))
    };
    let volume = if let Some(uuid) = path.strip_prefix("/dev/disk/by-uuid/") {
        find(&|volume| volume.uuid.as_deref() == Some(uuid))
    } else if let Some(label) = path.strip_prefix("/dev/disk/by-label/") {
        find(&|volume| volume.label.as_deref().map(udev_escape).as_deref() == Some(label))
    } else if path.starts_with("/dev/mapper/") {
        return match find(&|volume| volume.device == path).and_then(|volume| volume.mapper) {
            Some(number) => Ok(format!("../dm-{number}")),
            None => Err(io::ErrorKind::NotFound.into()),
        };
    } else {
        None
    };
    let volume = volume.ok_or(io::ErrorKind::NotFound)?;
    Ok(match volume.mapper {
        Some(number) => format!("../../dm-{number}"),
        None => format!("../../{}", volume.device.trim_start_matches("/dev/")),
    })
}

/// `/proc/self/mountinfo`, see proc(5).
pub(super) fn mountinfo(volumes: &[Volume]) -> Vec<u8> {
    let mut text = String::new();
    for (number, volume) in volumes.iter().enumerate() {
        let (device_of, root) = match volume.kind {
            // A bind mount has the device number of the file system that it is a part of.
            Kind::Bind => (
                volumes
                    .iter()
                    .position(|other| other.mountpoint == "/")
                    .unwrap_or(number),
                "/srv/export",
            ),
            _ => (number, "/"),
        };
        let (major, minor) = match (volume.mapper, volume.device.starts_with("/dev/")) {
            (Some(mapper), _) => (253, usize::from(mapper)),
            (None, true) => (259, device_of),
            (None, false) => (0, 20 + device_of),
        };
        let optional = if volume.kind == Kind::Disk {
            " shared:1"
        } else {
            ""
        };
        writeln!(
            text,
            "{} 1 {major}:{minor} {root} {} rw,relatime{optional} - {} {} rw",
            20 + number,
            mount_escape(&volume.mountpoint),
            volume.filesystem,
            mount_escape(&volume.device),
        )
        .ok();
    }
    text.into_bytes()
}

/// `stat -f -c "%S %b %f %a"`: size of a block, blocks, free ones, and those that users may have.
pub(super) fn stat(profile: &Profile, args: &[&str], now: SystemTime) -> io::Result<CommandOutput> {
    let mountpoint = args.last().copied().unwrap_or_default();
    let volumes = profile.volumes(now);
    let volume = volumes.iter().find(|volume| volume.mountpoint == mountpoint);
    let (code, stdout) = match volume.map(|volume| (volume.kind, volume)) {
        Some((Kind::Away, _)) => return Err(io::ErrorKind::TimedOut.into()),
        Some((Kind::Private, _)) | None => (1, String::new()),
        Some((_, volume)) => {
            let free = volume.free / 4096;
            (0, format!("4096 {} {free} {free}\n", volume.size / 4096))
        }
    };
    Ok(CommandOutput {
        code: Some(code),
        stdout: stdout.into_bytes(),
    })
}

/// `zfs get -H -t filesystem -o name,value encryption`.
pub(super) fn zfs(profile: &Profile, now: SystemTime) -> io::Result<CommandOutput> {
    let volumes = profile.volumes(now);
    let datasets = volumes.iter().filter(|volume| volume.filesystem == ZFS);
    let mut stdout = String::new();
    for dataset in datasets {
        let cipher = if dataset.encrypted { "aes-256-gcm" } else { "off" };
        writeln!(stdout, "tank\toff\n{}\t{cipher}", dataset.device).ok();
    }
    if stdout.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(CommandOutput {
        code: Some(0),
        stdout: stdout.into_bytes(),
    })
}

fn kernel_names(profile: &Profile) -> Vec<String> {
    let (disk, infix) = profile.system_disk();
    let mut names = vec![
        disk.to_owned(),
        format!("{disk}{infix}1"),
        format!("{disk}{infix}2"),
    ];
    names.extend(mapper_numbers(profile).map(|number| format!("dm-{number}")));
    names
}

fn mapper_numbers(profile: &Profile) -> std::ops::Range<u8> {
    let has_home = || {
        profile
            .volumes(SystemTime::UNIX_EPOCH)
            .iter()
            .any(|v| v.mountpoint == "/home")
    };
    match profile.layout() {
        Layout::Partitions => 0..0,
        Layout::Luks => 0..1,
        Layout::Lvm => 0..1 + u8::from(has_home()),
        Layout::LvmOnLuks => 0..2 + u8::from(has_home()),
    }
}

/// `dm-N/dm/uuid` and `dm-N/dm/name`.
pub(super) fn mapper_file(profile: &Profile, path: &str) -> io::Result<Vec<u8>> {
    let (device, file) = path.split_once("/dm/").ok_or(io::ErrorKind::NotFound)?;
    let number: u8 = device
        .strip_prefix("dm-")
        .and_then(|number| number.parse().ok())
        .ok_or(io::ErrorKind::NotFound)?;
    if !mapper_numbers(profile).contains(&number) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let crypt = number == 0 && matches!(profile.layout(), Layout::Luks | Layout::LvmOnLuks);
    let volumes = profile.volumes(SystemTime::UNIX_EPOCH);
    let volume = volumes.iter().find(|volume| volume.mapper == Some(number));
    let (disk, infix) = profile.system_disk();
    let name = match volume {
        Some(volume) => volume.device.trim_start_matches("/dev/mapper/").to_owned(),
        None => format!("{disk}{infix}2_crypt"),
    };
    let text = match (file, crypt) {
        ("name", _) => format!("{name}\n"),
        ("uuid", true) => format!("CRYPT-LUKS2-{}-{name}\n", profile.uuid().replace('-', "")),
        ("uuid", false) => format!(
            "LVM-{}{}\n",
            profile.uuid().replace('-', ""),
            name.replace('-', "")
        ),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(text.into_bytes())
}

/// `/sys/class/block/dm-N/slaves`: what a mapped device is made of.
fn slaves(profile: &Profile, path: &str) -> Option<Vec<String>> {
    let number = path
        .strip_prefix(BLOCK)?
        .strip_prefix("dm-")?
        .trim_end_matches('/')
        .strip_suffix("/slaves")?;
    let number: u8 = number.parse().ok()?;
    if !mapper_numbers(profile).contains(&number) {
        return None;
    }
    let (disk, infix) = profile.system_disk();
    let on_crypt = profile.layout() == Layout::LvmOnLuks && number > 0;
    Some(vec![if on_crypt {
        "dm-0".to_owned()
    } else {
        format!("{disk}{infix}2")
    }])
}

fn on_block_device(volume: &Volume) -> bool {
    volume.kind == Kind::Disk && volume.device.starts_with("/dev/")
}

/// As the kernel writes names into the mount table.
fn mount_escape(name: &str) -> String {
    name.replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
}

/// As udev writes labels into names of links: everything but letters, digits and a few signs.
fn udev_escape(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    for c in label.chars() {
        if !c.is_ascii() || c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) {
            text.push(c);
        } else {
            write!(text, "\\x{:02x}", u32::from(c)).ok();
        }
    }
    text
}
