//! Raw artefacts of a virtual Linux machine: what is in `/etc`, `/proc`, `/sys` and the package database.

mod accounts;
mod block_devices;
pub(super) mod devices;
pub(super) mod edid;
mod journal;
mod packages;
mod sssd;
mod wtmp;
mod wtmpdb;

use super::hardware::Form;
use super::profile::Release;
use super::{Draw, Profile, Topic, release};
use oco_agent::host::CommandOutput;
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

const DEVICE_TREE: &str = "/sys/firmware/devicetree/base/";
const DMI: &str = "/sys/class/dmi/id/";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Content of a file.
pub(crate) fn read_file(profile: &Profile, path: &str, now: SystemTime) -> io::Result<Vec<u8>> {
    let Release::Linux(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if let Some(name) = path.strip_prefix(DMI) {
        return dmi(profile, name);
    }
    if let Some(name) = path.strip_prefix(block_devices::BLOCK) {
        return block_devices::mapper_file(profile, name);
    }
    if let Some(name) = path.strip_prefix(sssd::FOLDER) {
        return sssd::read_file(profile, name.trim_start_matches('/'));
    }
    if let Some(content) = devices::read_file(profile, path, now) {
        return content;
    }
    if let Some(content) = packages::read_file(profile, release, path, now) {
        return content;
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
        "/proc/self/mountinfo" => Ok(block_devices::mountinfo(&profile.volumes(now))),
        SECURE_BOOT => match profile.secure_boot {
            // Four bytes of attributes, then the value.
            Some(on) => Ok(vec![6, 0, 0, 0, u8::from(on)]),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        wtmpdb::DATABASE if wtmpdb::is_used(release) => Ok(b"SQLite format 3\0".to_vec()),
        "/var/log/wtmp" if !wtmpdb::is_used(release) => Ok(wtmp::wtmp(profile, now)),
        "/etc/hosts" => Ok(hosts(profile)),
        "/etc/passwd" => Ok(accounts::passwd(profile)),
        "/etc/shadow" if profile.defects.unprivileged => Err(io::ErrorKind::PermissionDenied.into()),
        "/etc/shadow" => Ok(accounts::shadow(profile)),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Names in a folder.
pub(crate) fn list_folder(profile: &Profile, path: &str, now: SystemTime) -> io::Result<Vec<String>> {
    let Release::Linux(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    match path {
        "/sys/firmware/efi" if profile.uefi => Ok(vec!["efivars".into(), "fw_platform_size".into()]),
        sssd::FOLDER => sssd::list(profile),
        _ => devices::list_folder(profile, path)
            .or_else(|| packages::list_folder(profile, release, path, now))
            .map_or_else(|| block_devices::list_folder(profile, path), Ok),
    }
}

/// Output of a command.
pub(crate) fn run(
    profile: &Profile,
    program: &str,
    args: &[&str],
    now: SystemTime,
) -> io::Result<CommandOutput> {
    let Release::Linux(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    match program {
        "journalctl" => journal::run(profile, release, args, now),
        "wtmpdb" if wtmpdb::is_used(release) => Ok(wtmpdb::last(profile, now)),
        "stat" => block_devices::stat(profile, args, now),
        "zfs" => block_devices::zfs(profile, now),
        "xrandr" => {
            let stdout = devices::xrandr(profile, args).ok_or(io::ErrorKind::NotFound)?;
            Ok(CommandOutput {
                code: Some(0),
                stdout,
            })
        }
        _ => packages::run(profile, release, program, now).ok_or_else(|| io::ErrorKind::NotFound.into()),
    }
}

/// Target of a symbolic link.
pub(crate) fn read_link(profile: &Profile, path: &str) -> io::Result<String> {
    block_devices::read_link(profile, path)
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

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}
