//! Raw artefacts of a virtual Mac: property lists, and the output of its commands.

mod logins;
mod peripherals;

use super::Profile;
use super::linux::devices;
use super::profile::Release;
use super::software::macos::{self as apps, Bundle};
use super::users::Account;
use super::volumes::{Kind, Volume};
use oco_agent::host::CommandOutput;
use plist::{Dictionary, Value};
use serde_json::json;
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

const SYSTEM_VERSION: &str = "/System/Library/CoreServices/SystemVersion.plist";
const UTMPX: &str = "/var/run/utmpx";
const PRINTERS: &str = "/etc/cups/printers.conf";
const APPLICATIONS: &str = "/Applications";
const PREBOOT: &str = "/System/Volumes/Preboot";

/// What else is in `/Applications`.
const OTHER_ENTRIES: [&str; 4] = [".DS_Store", ".localized", "Utilities", "Broken.app"];

/// Content of a file.
pub(crate) fn read_file(profile: &Profile, path: &str, now: SystemTime) -> io::Result<Vec<u8>> {
    let Release::MacOs(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if path == SYSTEM_VERSION {
        let pairs = [
            ("ProductName", "macOS"),
            ("ProductVersion", release.version),
            ("ProductBuildVersion", release.build),
        ];
        return xml(&Value::Dictionary(
            pairs
                .into_iter()
                .map(|(key, text)| (key.to_owned(), Value::from(text)))
                .collect(),
        ));
    }
    if path == UTMPX {
        return Ok(logins::utmpx(profile, now));
    }
    if path == PRINTERS {
        return if profile.printers().is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(devices::printers(profile))
        };
    }
    if let Some(ppd) = devices::ppd(profile, path) {
        return Ok(ppd);
    }
    let folder = path
        .strip_prefix("/Applications/")
        .and_then(|path| path.strip_suffix(".app/Contents/Info.plist"));
    let bundle = folder
        .and_then(|folder| apps::bundle_in(profile, folder, now))
        .ok_or(io::ErrorKind::NotFound)?;
    info_plist(&bundle)
}

/// Names in a folder.
pub(crate) fn list_folder(profile: &Profile, path: &str, now: SystemTime) -> io::Result<Vec<String>> {
    match path.trim_end_matches('/') {
        APPLICATIONS => {
            let mut names: Vec<String> = OTHER_ENTRIES.into_iter().map(str::to_owned).collect();
            names.extend(
                apps::bundles(profile, now)
                    .iter()
                    .map(|bundle| format!("{}.app", bundle.folder)),
            );
            names.sort();
            Ok(names)
        }
        "/Applications/Broken.app" | "/Applications/Utilities" => Ok(Vec::new()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Output of a command.
pub(crate) fn run(
    profile: &Profile,
    program: &str,
    args: &[&str],
    now: SystemTime,
) -> io::Result<CommandOutput> {
    let line = |text: String| {
        Ok(CommandOutput {
            code: Some(0),
            stdout: (text + "\n").into_bytes(),
        })
    };
    let done = |stdout: Vec<u8>| {
        Ok(CommandOutput {
            code: Some(0),
            stdout,
        })
    };
    match (program, args) {
        ("scutil", ["--get", "HostName"]) if profile.defects.no_host_name => Ok(CommandOutput {
            code: Some(1),
            stdout: b"HostName: not set\n".to_vec(),
        }),
        ("scutil", ["--get", "HostName"]) => line(profile.host_name_setting()),
        ("sysctl", ["-n", "machdep.cpu.brand_string"]) => line(profile.cpu.to_owned()),
        ("sysctl", ["-n", "hw.memsize"]) => line(profile.ram.to_string()),
        ("ioreg", ["-a", "-r", "-d", "1", "-c", "IOPlatformExpertDevice"]) => {
            done(xml(&platform_expert(profile))?)
        }
        ("system_profiler", ["-json", "SPDisplaysDataType"]) => done(peripherals::displays(profile)),
        ("env", ["TZ=UTC", "LC_ALL=C", "last"]) => line(logins::last(profile, now)),
        ("pmset", ["-g", "batt"]) => done(peripherals::power(profile, now)),
        ("ioreg", ["-a", "-l", "-p", "IOUSB"]) => done(peripherals::usb(profile)?),
        ("system_profiler", ["-json", "SPHardwareDataType"]) => done(hardware_report(profile)),
        ("defaults", ["read", _, "AppleLocale"]) if profile.defects.no_locale => Ok(CommandOutput {
            code: Some(1),
            stdout: Vec::new(),
        }),
        ("defaults", ["read", "-g", "AppleLocale"]) => line(profile.language.locale.to_owned()),
        ("mount", []) => done(mounts(&profile.volumes(now))),
        ("diskutil", ["info", "-plist", device]) => disk_info(profile, device, now),
        ("dscl", ["-plist", ".", "-readall", "/Users", ..]) => done(xml(&directory(&profile.accounts()))?),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

impl Profile {
    /// What an administrator set as `HostName`: the machine's name in the domain.
    pub(super) fn host_name_setting(&self) -> String {
        let name = self.hostname();
        let name = name.strip_suffix(".local").unwrap_or(&name).to_lowercase();
        match self.domain {
            Some(domain) => format!("{name}.{domain}"),
            None => name,
        }
    }
}

/// Accounts that macOS makes itself: name, number, full name.
const BUILT_IN: [(&str, i32, &str); 4] = [
    ("root", 0, "System Administrator"),
    ("daemon", 1, "System Services"),
    ("nobody", -2, "Unprivileged User"),
    ("_spotlight", 89, "Spotlight"),
];

/// The serial number and UUID are here.
fn platform_expert(profile: &Profile) -> Value {
    let data = |text: &str| Value::Data([text.as_bytes(), &[0]].concat());
    let pairs = [
        ("IOPlatformSerialNumber", Value::from(profile.serial())),
        ("IOPlatformUUID", profile.uuid().to_uppercase().into()),
        ("manufacturer", data(profile.model.vendor)),
        ("model", data(profile.model.name)),
        ("IOBusyInterest", "IOCommand is not serializable".into()),
    ];
    Value::Array(vec![dictionary(pairs)])
}

fn hardware_report(profile: &Profile) -> Vec<u8> {
    let memory = format!("{} GB", profile.ram >> 30);
    let report = json!({"SPHardwareDataType": [{
        "_name": "hardware_overview",
        "boot_rom_version": profile.firmware(),
        "machine_model": profile.model.name,
        "physical_memory": memory,
        "serial_number": profile.serial(),
    }]});
    report.to_string().into_bytes()
}

fn mounts(volumes: &[Volume]) -> Vec<u8> {
    let mut text = String::new();
    for volume in volumes {
        let options = match (volume.kind, volume.mountpoint.as_str()) {
            (_, "/") => "sealed, local, read-only, journaled",
            (Kind::Disk, _) => "local, journaled, nobrowse",
            _ => "local, nobrowse",
        };
        writeln!(
            text,
            "{} on {} ({}, {options})",
            volume.device, volume.mountpoint, volume.filesystem
        )
        .ok();
    }
    text.into_bytes()
}

fn disk_info(profile: &Profile, device: &str, now: SystemTime) -> io::Result<CommandOutput> {
    let volumes = profile.volumes(now);
    let Some(volume) = volumes
        .iter()
        .find(|volume| volume.device == device && volume.kind == Kind::Disk)
    else {
        let stdout = xml(&dictionary([
            ("Error", Value::Boolean(true)),
            ("ErrorMessage", format!("Could not find disk: {device}").into()),
            ("ExitCode", 1.into()),
        ]))?;
        return Ok(CommandOutput {
            code: Some(1),
            stdout,
        });
    };
    let text = |text: &Option<String>| Value::from(text.as_deref().unwrap_or_default());
    let mut info = vec![
        ("DeviceNode", volume.device.as_str().into()),
        ("VolumeName", text(&volume.label)),
        ("VolumeUUID", text(&volume.uuid)),
        ("FilesystemType", volume.filesystem.into()),
        ("MountPoint", volume.mountpoint.as_str().into()),
        ("Size", Value::Integer(volume.size.into())),
        ("Internal", Value::Boolean(!is_external(volume))),
    ];
    // Other file systems have none of these.
    if volume.filesystem == "apfs" {
        let hardware = encrypts_everything(profile) && !is_external(volume);
        // Read before the system starts.
        let at_rest = hardware && volume.mountpoint != PREBOOT;
        info.extend([
            ("AESHardware", Value::Boolean(hardware)),
            ("Encryption", Value::Boolean(volume.encrypted || at_rest)),
            ("FileVault", Value::Boolean(volume.encrypted)),
            ("Locked", Value::Boolean(false)),
        ]);
    }
    let info = info.into_iter().map(|(key, value)| (key.to_owned(), value));
    Ok(CommandOutput {
        code: Some(0),
        stdout: xml(&Value::Dictionary(info.collect()))?,
    })
}

/// Whether the disk inside encrypts whatever is on it: on Macs with an Apple processor or a T2 chip, whose firmware has a
/// second version.
fn encrypts_everything(profile: &Profile) -> bool {
    profile.is_arm() || profile.firmware().contains("iBridge")
}

fn is_external(volume: &Volume) -> bool {
    volume.mountpoint.starts_with("/Volumes/")
}

fn directory(accounts: &[Account]) -> Value {
    let entry = |fields: [(&str, String); 8]| {
        let present = fields.into_iter().filter(|(_, text)| !text.is_empty());
        let array = |text: String| Value::Array(vec![text.into()]);
        let fields = present.map(|(key, text)| (format!("dsAttrTypeStandard:{key}"), array(text)));
        Value::Dictionary(fields.collect::<Dictionary>())
    };
    let built_in = BUILT_IN.iter().map(|(name, number, full_name)| {
        entry([
            ("RecordName", (*name).to_owned()),
            ("UniqueID", number.to_string()),
            (
                "GeneratedUID",
                format!("FFFFEEEE-DDDD-CCCC-BBBB-AAAA{number:08X}"),
            ),
            ("PrimaryGroupID", number.to_string()),
            ("RealName", (*full_name).to_owned()),
            ("NFSHomeDirectory", "/var/empty".into()),
            ("UserShell", "/usr/bin/false".into()),
            ("AuthenticationAuthority", String::new()),
        ])
    });
    let people = accounts.iter().map(|person| {
        entry([
            ("RecordName", person.name.clone()),
            ("UniqueID", person.number.to_string()),
            ("GeneratedUID", person.uuid.to_uppercase()),
            ("PrimaryGroupID", "20".into()),
            ("RealName", person.full_name.clone()),
            ("NFSHomeDirectory", person.home.clone().unwrap_or_default()),
            ("UserShell", person.shell.to_owned()),
            ("AuthenticationAuthority", authority(person)),
        ])
    });
    Value::Array(built_in.chain(people).collect())
}

fn authority(person: &Account) -> String {
    let hash = ";ShadowHash;HASHLIST:<SALTED-SHA512-PBKDF2,SRP-RFC5054-4096-SHA512-PBKDF2>";
    if person.disabled {
        format!(";DisabledUser;{hash}")
    } else {
        hash.to_owned()
    }
}

fn info_plist(bundle: &Bundle) -> io::Result<Vec<u8>> {
    let version = bundle.version.as_deref();
    let pairs = [
        ("CFBundleExecutable", Some(bundle.folder.as_ref())),
        ("CFBundleName", bundle.name.as_deref()),
        ("CFBundleShortVersionString", version),
        ("CFBundleGetInfoString", bundle.info.as_deref()),
    ];
    let pairs = pairs
        .into_iter()
        .filter_map(|(key, text)| Some((key.to_owned(), Value::from(text?))));
    let plist = Value::Dictionary(pairs.collect());
    if !bundle.binary {
        return xml(&plist);
    }
    let mut bytes = Vec::new();
    plist.to_writer_binary(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn dictionary<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Dictionary(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn xml(plist: &Value) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    plist.to_writer_xml(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
