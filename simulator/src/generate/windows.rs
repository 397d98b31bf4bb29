//! Raw artefacts of a virtual Windows machine: registry keys, WMI rows and the output of `bcdedit`.

use super::profile::{Profile, Release};
use super::software::windows::{self as programs, Program};
use super::volumes::{Kind, Volume};
use super::{Draw, Topic, release};
use oco_agent::host::{CommandOutput, Hive, RegistryKey, RegistryValue, WmiRow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

/// Keys below `HKEY_LOCAL_MACHINE`, in lower case.
const VERSION: &str = r"software\microsoft\windows nt\currentversion";
const ENVIRONMENT: &str = r"system\currentcontrolset\control\session manager\environment";
const SECURE_BOOT: &str = r"system\currentcontrolset\control\secureboot\state";
const UNINSTALL: &str = r"software\microsoft\windows\currentversion\uninstall";
const PROFILES: &str = r"software\microsoft\windows nt\currentversion\profilelist";

const CIMV2: &str = r"root\cimv2";
const ENCRYPTION: &str = r"root\cimv2\security\microsoftvolumeencryption";

/// Application id of Windows itself in `SoftwareLicensingProduct`.
const WINDOWS_ID: &str = "55c92734-d682-4d71-983e-d6ec3f16059f";
const OFFICE_ID: &str = "0ff1ce15-a989-479d-af46-f275c6370663";

type Values = BTreeMap<String, RegistryValue>;

/// Values of a registry key.
pub(crate) fn registry_values(profile: &Profile, key: &RegistryKey, now: SystemTime) -> io::Result<Values> {
    let Release::Windows(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if key.hive != Hive::LocalMachine {
        return Err(io::ErrorKind::NotFound.into());
    }
    let path = key.path.to_lowercase();
    match path.as_str() {
        VERSION => Ok(version_values(release)),
        ENVIRONMENT => Ok(values([
            ("PROCESSOR_ARCHITECTURE", sz(profile.architecture())),
            ("OS", sz("Windows_NT")),
        ])),
        SECURE_BOOT => match profile.secure_boot {
            Some(on) => Ok(values([(
                "UEFISecureBootEnabled",
                RegistryValue::Dword(u32::from(on)),
            )])),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        UNINSTALL | PROFILES => Ok(Values::new()),
        _ => {
            if let Some(name) = below(&path, UNINSTALL) {
                let program =
                    programs::program_at(profile, key.view, name, now).ok_or(io::ErrorKind::NotFound)?;
                return Ok(program_values(&program));
            }
            let sid = below(&path, PROFILES).ok_or(io::ErrorKind::NotFound)?;
            profile_values(profile, sid)
        }
    }
}

/// Names of the keys below one.
pub(crate) fn registry_subkeys(profile: &Profile, key: &RegistryKey) -> io::Result<Vec<String>> {
    if key.hive != Hive::LocalMachine {
        return Err(io::ErrorKind::NotFound.into());
    }
    match key.path.to_lowercase().as_str() {
        // Which programs there are doesn't change with time, only their versions do.
        UNINSTALL => {
            let programs = programs::programs(profile, key.view, SystemTime::UNIX_EPOCH);
            Ok(programs.into_iter().map(|program| program.key).collect())
        }
        PROFILES => Ok(profile_sids(profile)),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Rows of a WMI query: `SELECT ... FROM class`, with conditions `property = value` joined by `AND`.
pub(crate) fn wmi(
    profile: &Profile,
    namespace: &str,
    query: &str,
    now: SystemTime,
) -> io::Result<Vec<WmiRow>> {
    let Release::Windows(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if profile.defects.no_wmi {
        // WBEM_E_ACCESS_DENIED
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let namespace = namespace.trim_start_matches(r"\\.\").to_lowercase();
    let query = super::wql::Query::parse(query)?;
    let rows = match (namespace.as_str(), query.class.to_lowercase().as_str()) {
        (CIMV2, "win32_bios") => vec![bios(profile)],
        (CIMV2, "win32_computersystem") => vec![computer_system(profile)],
        (CIMV2, "win32_computersystemproduct") => {
            vec![row([
                ("UUID", profile.uuid().to_uppercase().into()),
                ("IdentifyingNumber", profile.serial().into()),
            ])]
        }
        (CIMV2, "win32_processor") => processors(profile),
        (CIMV2, "win32_videocontroller") => profile
            .gpu
            .map(|gpu| row([("Name", gpu.into())]))
            .into_iter()
            .collect(),
        (CIMV2, "win32_operatingsystem") => {
            vec![row([
                ("Locale", profile.language.lcid.into()),
                ("Caption", format!("Microsoft {}", release.name).into()),
            ])]
        }
        (CIMV2, "win32_logicaldisk") => profile.volumes(now).iter().map(logical_disk).collect(),
        (CIMV2, "win32_useraccount") => user_accounts(profile),
        (CIMV2, "win32_quickfixengineering") => hotfixes(profile, now),
        (CIMV2, "softwarelicensingproduct") => licences(profile),
        (ENCRYPTION, "win32_encryptablevolume") if !profile.defects.no_bitlocker => {
            encryptable_volumes(profile, now)
        }
        // WBEM_E_INVALID_NAMESPACE and WBEM_E_INVALID_CLASS
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(rows
        .into_iter()
        .filter(|row| query.selects(row))
        .map(|row| query.project(row))
        .collect())
}

/// The class that a query asks for; none if virtual machines don't understand it.
pub(crate) fn queried_class(query: &str) -> Option<&str> {
    super::wql::Query::parse(query).ok().map(|query| query.class)
}

/// Output of a command.
pub(crate) fn run(profile: &Profile, program: &str, args: &[&str]) -> io::Result<CommandOutput> {
    if !program.eq_ignore_ascii_case("bcdedit") && !program.eq_ignore_ascii_case("bcdedit.exe")
        || !args.is_empty()
    {
        return Err(io::ErrorKind::NotFound.into());
    }
    if profile.defects.no_bcdedit {
        // "Zugriff verweigert" in the code page of consoles in Western Europe.
        return Ok(CommandOutput {
            code: Some(1),
            stdout: b"Zugriff verweigert f\x81r bcdedit.\r\n".to_vec(),
        });
    }
    let loader = if profile.uefi {
        "winload.efi"
    } else {
        "winload.exe"
    };
    let manager = if profile.uefi {
        r"\EFI\MICROSOFT\BOOT\BOOTMGFW.EFI"
    } else {
        ""
    };
    let stdout = format!(
        "\r\nWindows-Start-Manager\r\n---------------------\r\nBezeichner              {{bootmgr}}\r\npath                    {manager}\r\n\r\n\
         Windows-Startladeprogramm\r\n-------------------------\r\npath                    \\Windows\\system32\\{loader}\r\n"
    );
    Ok(CommandOutput {
        code: Some(0),
        stdout: stdout.into_bytes(),
    })
}

/// SIDs of the accounts that Windows makes itself, with their names and whether they are disabled.
pub(super) const BUILT_IN: [(u32, &str, bool); 4] = [
    (500, "Administrator", true),
    (501, "Guest", true),
    (503, "DefaultAccount", true),
    (504, "WDAGUtilityAccount", true),
];

/// The serial number and firmware version are here.
fn bios(profile: &Profile) -> WmiRow {
    row([
        ("SerialNumber", profile.serial().into()),
        ("SMBIOSBIOSVersion", profile.firmware().into()),
        ("Manufacturer", profile.model.vendor.into()),
    ])
}

fn computer_system(profile: &Profile) -> WmiRow {
    // COM delivers 64-bit numbers as strings; some bridges make numbers of them.
    let memory = if profile.sockets > 1 {
        json!(profile.ram)
    } else {
        json!(profile.ram.to_string())
    };
    row([
        ("Manufacturer", profile.model.vendor.into()),
        ("Model", profile.model.name.into()),
        ("TotalPhysicalMemory", memory),
        ("Domain", profile.domain.unwrap_or("WORKGROUP").into()),
        ("PartOfDomain", profile.domain.is_some().into()),
        ("DNSHostName", profile.hostname().into()),
    ])
}

fn processors(profile: &Profile) -> Vec<WmiRow> {
    // Vendors fill the name up with blanks.
    let name = if profile.cpu.starts_with("AMD") {
        format!("{:<48}", profile.cpu)
    } else {
        profile.cpu.to_owned()
    };
    (0..profile.sockets)
        .map(|_| row([("Name", name.clone().into())]))
        .collect()
}

fn logical_disk(volume: &Volume) -> WmiRow {
    let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
    let empty = volume.kind == Kind::NoMedium;
    let size = |bytes: u64| {
        if empty {
            Value::Null
        } else {
            bytes.to_string().into()
        }
    };
    row([
        ("DeviceID", volume.device.as_str().into()),
        (
            "DriveType",
            json!(if empty {
                5
            } else if volume.filesystem == "exFAT" {
                2
            } else {
                3
            }),
        ),
        (
            "FileSystem",
            if empty {
                Value::Null
            } else {
                volume.filesystem.into()
            },
        ),
        ("Size", size(volume.size)),
        ("FreeSpace", size(volume.free)),
        (
            "VolumeName",
            if empty {
                Value::Null
            } else {
                volume.label.as_deref().unwrap_or_default().into()
            },
        ),
        ("VolumeSerialNumber", text(&volume.uuid)),
    ])
}

fn encryptable_volumes(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let volumes = profile.volumes(now);
    let disks = volumes.iter().filter(|volume| volume.kind == Kind::Disk);
    disks
        .map(|volume| {
            row([
                ("DriveLetter", volume.device.as_str().into()),
                ("ProtectionStatus", json!(u32::from(volume.encrypted))),
            ])
        })
        .collect()
}

fn user_accounts(profile: &Profile) -> Vec<WmiRow> {
    let machine = profile.machine_sid();
    let account = |name: &str, full_name: &str, number: u32, disabled: bool| {
        row([
            ("Name", name.into()),
            ("FullName", full_name.into()),
            ("SID", format!("{machine}-{number}").into()),
            ("Disabled", disabled.into()),
            ("LocalAccount", true.into()),
        ])
    };
    let built_in = BUILT_IN
        .iter()
        .map(|(number, name, disabled)| account(name, "", *number, *disabled));
    let accounts = profile.accounts();
    let people = accounts
        .iter()
        .map(|person| account(&person.name, &person.full_name, person.number, person.disabled));
    built_in.chain(people).collect()
}

fn hotfixes(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let hotfixes = programs::hotfixes(profile, now);
    hotfixes
        .into_iter()
        .map(|fix| {
            row([
                ("HotFixID", fix.id.into()),
                ("Description", fix.description.into()),
            ])
        })
        .collect()
}

fn licences(profile: &Profile) -> Vec<WmiRow> {
    let mut draw = Draw::new(profile.machine, Topic::Identity, 3);
    let product = |application: &str, status: u32, key: Value| {
        row([
            ("ApplicationID", application.into()),
            ("LicenseStatus", json!(status)),
            ("PartialProductKey", key),
        ])
    };
    let mut key = String::new();
    draw.text(b"BCDFGHJKMPQRTVWXY2346789", 5, &mut key);
    vec![
        product(WINDOWS_ID, 0, Value::Null),
        product(WINDOWS_ID, if profile.activated { 1 } else { 5 }, key.into()),
        // An activated Office says nothing about Windows.
        product(OFFICE_ID, 1, "7GXXX".into()),
    ]
}

fn version_values(release: &release::Windows) -> Values {
    let mut values = values([
        ("ProductName", sz(release.product_name)),
        ("EditionID", sz(release.edition)),
        ("InstallationType", sz(release.installation)),
        ("CurrentVersion", sz(release.current_version)),
        ("CurrentBuildNumber", sz(release.build)),
        ("CurrentBuild", sz(release.build)),
    ]);
    if let Some(major) = release.major {
        values.insert("CurrentMajorVersionNumber".into(), RegistryValue::Dword(major));
        values.insert("CurrentMinorVersionNumber".into(), RegistryValue::Dword(0));
        values.insert("UBR".into(), RegistryValue::Dword(4317));
    }
    values
}

fn program_values(program: &Program) -> Values {
    let texts = [
        ("DisplayName", program.name),
        ("Publisher", program.publisher),
        ("Comments", program.comments),
    ];
    let mut values: Values = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), sz(text?))))
        .collect();
    if let Some(version) = &program.version {
        values.insert("DisplayVersion".into(), sz(version));
    }
    if program.system {
        values.insert("SystemComponent".into(), RegistryValue::Dword(1));
    }
    values
}

fn profile_sids(profile: &Profile) -> Vec<String> {
    let machine = profile.machine_sid();
    let accounts = profile.accounts();
    let people = accounts.iter().filter(|person| person.home.is_some());
    let people = people.map(|person| format!("{machine}-{}", person.number));
    ["S-1-5-18", "S-1-5-19", "S-1-5-20"]
        .into_iter()
        .map(str::to_owned)
        .chain(people)
        .collect()
}

fn profile_values(profile: &Profile, sid: &str) -> io::Result<Values> {
    let image = |path: String| values([("ProfileImagePath", RegistryValue::ExpandText(path))]);
    match sid {
        "s-1-5-18" => Ok(image(r"%systemroot%\system32\config\systemprofile".into())),
        "s-1-5-19" => Ok(image(r"%systemroot%\ServiceProfiles\LocalService".into())),
        "s-1-5-20" => Ok(image(r"%systemroot%\ServiceProfiles\NetworkService".into())),
        _ => {
            let machine = profile.machine_sid().to_lowercase();
            let is_it = |number: u32| format!("{machine}-{number}") == sid;
            let person = profile.accounts().into_iter().find(|person| is_it(person.number));
            person
                .and_then(|person| person.home)
                .map(image)
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}

/// The one name below a key, if `path` is directly below it.
fn below<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    path.strip_prefix(key)?
        .strip_prefix('\\')
        .filter(|name| !name.contains('\\'))
}

fn sz(text: &str) -> RegistryValue {
    RegistryValue::Text(text.to_owned())
}

fn values<const N: usize>(pairs: [(&str, RegistryValue); N]) -> Values {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn row<const N: usize>(pairs: [(&str, Value); N]) -> WmiRow {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
