//! File systems: disks, encrypted and network ones, and all that a mount table lists beside them.

use super::hardware::Form;
use super::identity::format_uuid;
use super::profile::Release;
use super::{Draw, Profile, Topic};
use oco_agent::host::{Os, Space};
use std::io;
use std::time::SystemTime;

/// What is behind a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk: what an inventory is about.
    Disk,
    /// A share of another machine.
    Remote,
    /// A share of a machine that does not answer.
    Away,
    /// A drive letter without a medium in it (Windows).
    NoMedium,
    /// Memory.
    Memory,
    /// A view of the kernel's: no blocks at all.
    Kernel,
    /// A part of another file system under a second name.
    Bind,
    /// A mount that nobody but its owner may look at.
    Private,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What it is.
    pub kind: Kind,
    /// Device; a volume's path where it has no drive letter (Windows).
    pub device: String,
    /// Mount point, folder or drive letter.
    pub mountpoint: String,
    /// Type.
    pub filesystem: &'static str,
    /// Used and available, bytes.
    pub size: u64,
    /// Available, bytes.
    pub free: u64,
    /// Label.
    pub label: Option<String>,
    /// UUID or serial number.
    pub uuid: Option<String>,
    /// Encrypted by the system.
    pub encrypted: bool,
    /// Device mapper: its number.
    pub mapper: Option<u8>,
}

/// How a Linux machine's system disk is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Partitions.
    Partitions,
    /// Logical volumes.
    Lvm,
    /// An encrypted partition.
    Luks,
    /// Logical volumes on an encrypted partition.
    LvmOnLuks,
}

const GIB: u64 = 1 << 30;
const HOUR: u64 = 3600;

impl Profile {
    /// Everything that is mounted. Free space shrinks by some megabytes an hour and recovers once a week.
    pub fn volumes(&self, now: SystemTime) -> Vec<Volume> {
        let mut draw = Draw::new(self.machine, Topic::Volumes, 0);
        let mut volumes = match (self.machine.os, &self.release) {
            (Os::Linux, release) => self.linux_volumes(
                matches!(release, Release::Linux(linux) if linux.id == "ubuntu"),
                &mut draw,
            ),
            (Os::MacOs, _) => self.macos_volumes(&mut draw),
            (Os::Windows, _) => self.windows_volumes(&mut draw),
        };
        let hours = Self::seconds(now) / HOUR % (24 * 7);
        for volume in volumes
            .iter_mut()
            .filter(|volume| volume.kind == Kind::Disk && volume.free > 2 * GIB)
        {
            volume.free -= hours * 4096 * 1024;
        }
        volumes
    }

    /// The space on the file system that is mounted there.
    pub(crate) fn space(&self, mountpoint: &str, now: SystemTime) -> io::Result<Space> {
        let volumes = self.volumes(now);
        let volume = volumes
            .iter()
            .find(|volume| volume.mountpoint == mountpoint)
            .ok_or(io::ErrorKind::NotFound)?;
        match volume.kind {
            Kind::Private => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(Space {
                used: volume.size - volume.free,
                available: volume.free,
            }),
        }
    }

    /// How the system disk is divided (Linux).
    pub fn layout(&self) -> Layout {
        let lvm = Draw::new(self.machine, Topic::Volumes, 1).permille(400);
        match (self.encrypted && self.model.form != Form::Board, lvm) {
            (false, false) => Layout::Partitions,
            (false, true) => Layout::Lvm,
            (true, false) => Layout::Luks,
            (true, true) => Layout::LvmOnLuks,
        }
    }

    /// Name of the system disk, and what comes between it and a partition's number (Linux).
    pub fn system_disk(&self) -> (&'static str, &'static str) {
        match (self.model.form, self.model.vendor) {
            (Form::Board, _) => ("mmcblk0", "p"),
            (Form::Virtual, "QEMU") => ("vda", ""),
            (Form::Laptop, _) | (_, "Amazon EC2") => ("nvme0n1", "p"),
            _ => ("sda", ""),
        }
    }

    fn linux_volumes(&self, ubuntu: bool, draw: &mut Draw) -> Vec<Volume> {
        let (disk, infix) = self.system_disk();
        let partition = |number: u8| format!("/dev/{disk}{infix}{number}");
        let layout = self.layout();
        let encrypted = matches!(layout, Layout::Luks | Layout::LvmOnLuks);
        let root_device = match layout {
            Layout::Partitions => partition(2),
            Layout::Lvm | Layout::LvmOnLuks => "/dev/mapper/vg0-root".to_owned(),
            Layout::Luks => format!("/dev/mapper/{disk}{infix}2_crypt"),
        };
        let mapper = match layout {
            Layout::Partitions => None,
            Layout::Lvm | Layout::Luks => Some(0),
            Layout::LvmOnLuks => Some(1),
        };
        let filesystem = draw.pick(&["ext4", "ext4", "ext4", "btrfs", "xfs"]);
        let mut volumes = vec![
            pseudo(Kind::Kernel, "proc", "/proc", "proc", 0),
            pseudo(Kind::Kernel, "sysfs", "/sys", "sysfs", 0),
            pseudo(Kind::Memory, "udev", "/dev", "devtmpfs", self.ram / 2),
            pseudo(Kind::Memory, "tmpfs", "/run", "tmpfs", self.ram / 10),
            Volume {
                encrypted,
                mapper,
                ..disk_volume(root_device, "/", filesystem, draw)
            },
            pseudo(Kind::Kernel, "cgroup2", "/sys/fs/cgroup", "cgroup2", 0),
            pseudo(Kind::Kernel, "systemd-1", "/proc/sys/fs/binfmt_misc", "autofs", 0),
            pseudo(Kind::Memory, "tmpfs", "/dev/shm", "tmpfs", self.ram / 2),
        ];
        if draw.permille(300) {
            let home = match layout {
                Layout::Lvm | Layout::LvmOnLuks => Volume {
                    encrypted,
                    mapper: mapper.map(|number| number + 1),
                    ..disk_volume("/dev/mapper/vg0-home".into(), "/home", "ext4", draw)
                },
                Layout::Partitions | Layout::Luks => disk_volume(partition(4), "/home", "ext4", draw),
            };
            volumes.push(home);
        }
        if self.uefi {
            let mut efi = disk_volume(partition(1), "/boot/efi", "vfat", draw);
            efi.size = 512 << 20;
            efi.free = 506 << 20;
            efi.uuid = Some(dos_serial(draw));
            volumes.push(efi);
        }
        if ubuntu && draw.permille(700) {
            let mut snap = pseudo(
                Kind::Disk,
                "/dev/loop0",
                "/snap/core20/2379",
                "squashfs",
                64 << 20,
            );
            snap.free = 0;
            volumes.push(snap);
        }
        linux_extras(draw, &mut volumes);
        volumes
    }

    fn macos_volumes(&self, draw: &mut Draw) -> Vec<Volume> {
        let disk = if self.is_arm() { "/dev/disk3" } else { "/dev/disk1" };
        let mut system = disk_volume(format!("{disk}s1s1"), "/", "apfs", draw);
        system.label = Some("Macintosh HD".into());
        // FileVault covers neither what is read before anybody has entered a password nor the swap files.
        let part = |number: &str, mountpoint: &str, label: &str, draw: &mut Draw| Volume {
            device: format!("{disk}s{number}"),
            mountpoint: mountpoint.to_owned(),
            label: Some(label.to_owned()),
            encrypted: self.encrypted && !["VM", "Preboot"].contains(&label),
            uuid: Some(uuid(draw).to_uppercase()),
            ..system.clone()
        };
        let mut volumes = vec![
            part("1s1", "/", "Macintosh HD", draw),
            pseudo(Kind::Kernel, "devfs", "/dev", "devfs", 0),
            part("6", "/System/Volumes/VM", "VM", draw),
            part("2", "/System/Volumes/Preboot", "Preboot", draw),
            part("5", "/System/Volumes/Data", "Macintosh HD - Data", draw),
            pseudo(
                Kind::Kernel,
                "map auto_home",
                "/System/Volumes/Data/home",
                "autofs",
                0,
            ),
        ];
        if draw.permille(150) {
            let mut backup = disk_volume(
                "/dev/disk4s2".into(),
                "/Volumes/Backup (alt) on the desk",
                "hfs",
                draw,
            );
            backup.label = Some("Backup (alt) on the desk".into());
            backup.uuid = Some(uuid(draw).to_uppercase());
            // Drawn last, so that everything else stays as it is.
            if draw.permille(400) {
                backup.device = "/dev/disk5s1".to_owned();
                backup.filesystem = "apfs";
                backup.encrypted = draw.permille(500);
            }
            volumes.push(backup);
        }
        volumes
    }

    fn windows_volumes(&self, draw: &mut Draw) -> Vec<Volume> {
        let mut system = windows_volume("C:", "NTFS", draw);
        system.encrypted = self.encrypted && !self.defects.no_bitlocker;
        system.label = draw.permille(500).then(|| "Windows".to_owned());
        let mut volumes = vec![system];
        if draw.permille(350) {
            let mut data = windows_volume("D:", "NTFS", draw);
            data.label = Some(draw.pick(&["Daten", "Données", "DATA", "データ"]).to_owned());
            volumes.push(data);
        }
        if draw.permille(200) {
            let drive = Volume {
                label: None,
                uuid: None,
                size: 0,
                free: 0,
                ..windows_volume("E:", "", draw)
            };
            volumes.push(Volume {
                kind: Kind::NoMedium,
                ..drive
            });
        }
        if draw.permille(50) {
            volumes.push(windows_volume("F:", "exFAT", draw));
        }
        // Drawn last, so that everything else stays as it is.
        if draw.permille(120) {
            let path = format!(r"\\?\Volume{{{}}}\", uuid(draw));
            let name = draw.pick(&["Archiv", "Données", "DB01"]);
            volumes.push(Volume {
                device: path,
                label: Some(name.to_owned()),
                encrypted: self.encrypted && !self.defects.no_bitlocker,
                ..windows_volume(&format!(r"C:\Mounts\{name}\"), "NTFS", draw)
            });
        }
        volumes
    }
}

/// What only some Linux machines have mounted.
fn linux_extras(draw: &mut Draw, volumes: &mut Vec<Volume>) {
    if draw.permille(150) {
        let mut data = disk_volume("/dev/sdb1".into(), "/srv/data", "xfs", draw);
        data.label = Some(draw.pick(&["data", "Große Platte", "backup/2"]).to_owned());
        volumes.push(data);
    }
    if draw.permille(100) {
        let mut stick = disk_volume("/dev/sdc1".into(), "/media/USB DISK", "exfat", draw);
        stick.uuid = Some(dos_serial(draw));
        volumes.push(stick);
    }
    if draw.permille(80) {
        let share = disk_volume(
            "fileserver.corp.example:/export/home".into(),
            "/mnt/nfs",
            "nfs4",
            draw,
        );
        volumes.push(Volume {
            kind: Kind::Remote,
            uuid: None,
            ..share
        });
    }
    if draw.permille(60) {
        let root = volumes.iter().find(|volume| volume.mountpoint == "/").cloned();
        volumes.extend(root.map(|root| Volume {
            kind: Kind::Bind,
            mountpoint: "/srv/export".into(),
            ..root
        }));
    }
    if draw.permille(80) {
        volumes.push(pseudo(
            Kind::Private,
            "portal",
            "/run/user/1000/doc",
            "fuse.portal",
            0,
        ));
    }
    // Drawn last, so that everything else stays as it is.
    if draw.permille(200) {
        let shares = volumes.iter_mut().filter(|volume| volume.kind == Kind::Remote);
        shares.for_each(|share| share.kind = Kind::Away);
    }
    if draw.permille(60) {
        let mut dataset = disk_volume("tank/archive".into(), "/srv/archive", ZFS, draw);
        dataset.uuid = None;
        dataset.encrypted = draw.permille(500);
        volumes.push(dataset);
    }
}

/// The file system that encrypts its datasets itself.
pub(super) const ZFS: &str = "zfs";

fn pseudo(kind: Kind, device: &str, mountpoint: &str, filesystem: &'static str, size: u64) -> Volume {
    Volume {
        kind,
        device: device.to_owned(),
        mountpoint: mountpoint.to_owned(),
        filesystem,
        size: size / 4096 * 4096,
        free: size / 4096 * 4096,
        label: None,
        uuid: None,
        encrypted: false,
        mapper: None,
    }
}

fn disk_volume(device: String, mountpoint: &str, filesystem: &'static str, draw: &mut Draw) -> Volume {
    let size = draw.pick(&[16, 32, 120, 240, 500, 1000, 4000]) * GIB - draw.between(0, 1 << 17) * 4096;
    let free = draw.between(0, size / 4096) * 4096;
    Volume {
        kind: Kind::Disk,
        device,
        mountpoint: mountpoint.to_owned(),
        filesystem,
        size,
        free,
        label: None,
        uuid: Some(uuid(draw)),
        encrypted: false,
        mapper: None,
    }
}

fn windows_volume(letter: &str, filesystem: &'static str, draw: &mut Draw) -> Volume {
    let serial = dos_serial(draw).replace('-', "");
    Volume {
        uuid: Some(serial),
        ..disk_volume(letter.to_owned(), letter, filesystem, draw)
    }
}

fn uuid(draw: &mut Draw) -> String {
    let mut bytes = [0; 16];
    draw.fill(&mut bytes);
    format_uuid(bytes)
}

/// The serial number of a FAT or NTFS volume: `1A2B-3C4D`.
fn dos_serial(draw: &mut Draw) -> String {
    format!("{:04X}-{:04X}", draw.below(0x10000), draw.below(0x10000))
}
