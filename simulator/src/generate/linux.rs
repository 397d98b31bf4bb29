//! Raw artefacts of a virtual Linux machine: what is in `/etc`, `/proc`, `/sys` and the package database.

use super::hardware::Form;
use super::profile::Release;
use super::volumes::{Kind, Layout, Volume};
use super::{Draw, Profile, Topic, release, software};
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

const DEVICE_TREE: &str = "/sys/firmware/devicetree/base/";
const DMI: &str = "/sys/class/dmi/id/";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const BLOCK: &str = "/sys/class/block/";

/// Content of a file.
pub(crate) fn read_file(profile: &Profile, path: &str, now: SystemTime) -> io::Result<Vec<u8>> {
    let Release::Linux(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if let Some(name) = path.strip_prefix(DMI) {
        return dmi(profile, name);
    }
    if let Some(name) = path.strip_prefix(BLOCK) {
        return mapper_file(profile, name);
    }
    if let (Some(property), Some(board)) = (path.strip_prefix(DEVICE_TREE), device_tree(profile)) {
        return match property {
            "model" => Ok(format!("{}\0", board.model).into_bytes()),
            "serial-number" => Ok(format!("{}\0", board.serial).into_bytes()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
    }
    match path {
        "/etc/os-release" if !release.only_usr_lib => Ok(os_release(release)),
        "/usr/lib/os-release" => Ok(os_release(release)),
        "/proc/cpuinfo" => Ok(cpuinfo(profile)),
        "/proc/meminfo" => Ok(meminfo(profile)),
        "/proc/self/mountinfo" => Ok(mountinfo(&profile.volumes(now))),
        SECURE_BOOT => match profile.secure_boot {
            // Four bytes of attributes, then the value.
            Some(on) => Ok(vec![6, 0, 0, 0, u8::from(on)]),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        "/var/lib/dpkg/status" => match release.dpkg_suffix {
            Some(suffix) => Ok(software::debian::status(profile, suffix, now)),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        "/etc/hosts" => Ok(hosts(profile)),
        "/etc/passwd" => Ok(passwd(profile)),
        "/etc/shadow" if profile.defects.unprivileged => Err(io::ErrorKind::PermissionDenied.into()),
        "/etc/shadow" => Ok(shadow(profile)),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Names in a folder.
pub(crate) fn list_folder(profile: &Profile, path: &str) -> io::Result<Vec<String>> {
    let volumes = || profile.volumes(SystemTime::UNIX_EPOCH);
    let mut names: Vec<String> = match path {
        "/sys/firmware/efi" if profile.uefi => vec!["efivars".into(), "fw_platform_size".into()],
        "/sys/class/block" => block_devices(profile),
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
pub(crate) fn read_link(profile: &Profile, path: &str) -> io::Result<String> {
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

/// What a board says about itself without DMI.
pub(super) struct Board {
    /// Model.
    pub(super) model: &'static str,
    /// Serial number.
    pub(super) serial: String,
}

/// The device tree of a board; other machines have none.
pub(super) fn device_tree(profile: &Profile) -> Option<Board> {
    let serial = || format!("{:016x}", 0x1000_0000_0000_0000 | profile.machine.index);
    (profile.model.form == Form::Board).then(|| Board {
        model: profile.model.name,
        serial: serial(),
    })
}

impl Profile {
    /// The fully qualified name, where the system knows one: from the kernel, or from `/etc/hosts` as installers write it.
    pub(super) fn qualified_name(&self) -> Option<String> {
        let name = self.hostname();
        if name.contains('.') {
            return Some(name);
        }
        let written = Draw::new(self.machine, Topic::Name, 1).permille(600);
        self.domain
            .filter(|_| written)
            .map(|domain| format!("{name}.{domain}"))
    }
}

fn hosts(profile: &Profile) -> Vec<u8> {
    let name = profile.hostname();
    let short = name.split('.').next().unwrap_or_default();
    let qualified = profile.qualified_name().unwrap_or_default();
    format!(
        "127.0.0.1\tlocalhost # loopback\n127.0.1.1\t{qualified}\t{short}\n\n::1 localhost ip6-localhost\n"
    )
    .into_bytes()
}

fn os_release(release: &release::Linux) -> Vec<u8> {
    let mut text = String::new();
    let version = release.version_id.unwrap_or("Rolling");
    push(
        &mut text,
        &[
            "PRETTY_NAME=\"",
            release.name,
            " ",
            version,
            "\"\nNAME=\"",
            release.name,
            "\"\n",
        ],
    );
    if let Some(version) = release.version_id {
        push(&mut text, &["VERSION_ID=\"", version, "\"\n"]);
    }
    push(
        &mut text,
        &[
            "ID=",
            release.id,
            "\nHOME_URL='https://www.",
            release.id,
            ".example/'\n",
        ],
    );
    text.into_bytes()
}

fn dmi(profile: &Profile, name: &str) -> io::Result<Vec<u8>> {
    if profile.defects.no_dmi {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut value = match name {
        // The kernel shows these to root only.
        "product_serial" | "product_uuid" if profile.defects.unprivileged => {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        "product_serial" => profile.serial(),
        "product_uuid" => profile.uuid(),
        "sys_vendor" => profile.model.vendor.to_owned(),
        "product_name" => profile.model.name.to_owned(),
        "bios_version" => profile.firmware(),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    value.push('\n');
    Ok(value.into_bytes())
}

fn cpuinfo(profile: &Profile) -> Vec<u8> {
    let mut text = String::new();
    let per_socket = u32::from(profile.model.cores);
    for processor in 0..u32::from(profile.sockets) * per_socket {
        if profile.is_arm() {
            let part = if profile.cpu == "Cortex-A72" {
                "0xd08"
            } else {
                "0xd0c"
            };
            write!(text, "processor\t: {processor}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n\n").ok();
            continue;
        }
        let (vendor, padding) = if profile.cpu.starts_with("AMD") {
            ("AuthenticAMD", "                ")
        } else {
            ("GenuineIntel", "")
        };
        let socket = processor / per_socket;
        write!(text, "processor\t: {processor}\nvendor_id\t: {vendor}\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: {}{padding}\nstepping\t: 7\ncpu MHz\t\t: 2400.000\nphysical id\t: {socket}\nsiblings\t: {per_socket}\ncpu cores\t: {per_socket}\nflags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr\nbugs\t\t: spectre_v1 spectre_v2\naddress sizes\t: 46 bits physical, 48 bits virtual\npower management:\n\n", profile.cpu).ok();
    }
    if profile.model.name.starts_with("Raspberry") {
        push(
            &mut text,
            &[
                "Hardware\t: BCM2835\nRevision\t: c03114\nSerial\t\t: 10000000a3b2c1d0\nModel\t\t: ",
                profile.model.name,
                "\n",
            ],
        );
    }
    text.into_bytes()
}

fn meminfo(profile: &Profile) -> Vec<u8> {
    let total = profile.ram / 1024;
    format!(
        "MemTotal:       {total:>8} kB\nMemFree:        {:>8} kB\nMemAvailable:   {:>8} kB\nSwapTotal:             0 kB\n",
        total / 8,
        total / 2
    )
    .into_bytes()
}

fn mountinfo(volumes: &[Volume]) -> Vec<u8> {
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

fn passwd(profile: &Profile) -> Vec<u8> {
    let mut lines = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        bin:x:2:2:bin:/bin:/usr/sbin/nologin\nsys:x:3:3:sys:/dev:/usr/sbin/nologin\n\
        www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\n\
        sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
        .to_vec();
    for (number, account) in profile.accounts().iter().enumerate() {
        let head = format!("{}:x:{1}:{1}:", account.name, account.number);
        let home = account.home.as_deref().unwrap_or("/");
        lines.extend_from_slice(head.as_bytes());
        lines.extend_from_slice(account.full_name.as_bytes());
        if number == 0 && profile.defects.legacy_encoding {
            lines.extend_from_slice(b" (M\xfcnchen)");
        }
        // chfn's other fields: room, work phone, home phone.
        lines.extend_from_slice(if number == 0 { b",,," } else { b"" });
        lines.extend_from_slice(format!(":{home}:{}\n", account.shell).as_bytes());
    }
    lines.extend_from_slice(b"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
    if profile.defects.legacy_encoding {
        // A left-over of NIS, and a line that somebody cut.
        lines.extend_from_slice(b"+::::::\nbroken:x:\n");
    }
    lines
}

fn shadow(profile: &Profile) -> Vec<u8> {
    let mut draw = Draw::new(profile.machine, Topic::User, 2);
    let mut text =
        String::from("root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\nsshd:!:19000::::::\n");
    for account in profile.accounts() {
        let lock = if account.disabled { "!" } else { "" };
        push(&mut text, &[&account.name, ":", lock, "$y$j9T$"]);
        draw.text(
            b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            43,
            &mut text,
        );
        text.push_str(":19500:0:99999:7:::\n");
    }
    text.into_bytes()
}

fn block_devices(profile: &Profile) -> Vec<String> {
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
fn mapper_file(profile: &Profile, path: &str) -> io::Result<Vec<u8>> {
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

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}
