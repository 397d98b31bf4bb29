//! WMI: hardware, disks, accounts, hotfixes and licences.

use super::peripherals;
use super::volumes;
use super::wql::Query;
use crate::generate::profile::{Profile, Release};
use crate::generate::software::windows as programs;
use crate::generate::{Draw, Topic};
use oco_agent::host::WmiRow;
use serde_json::{Value, json};
use std::io;
use std::time::SystemTime;

const CIMV2: &str = r"root\cimv2";
const WMI: &str = r"root\wmi";
const ENCRYPTION: &str = r"root\cimv2\security\microsoftvolumeencryption";

/// Application id of Windows itself in `SoftwareLicensingProduct`.
const WINDOWS_ID: &str = "55c92734-d682-4d71-983e-d6ec3f16059f";
const OFFICE_ID: &str = "0ff1ce15-a989-479d-af46-f275c6370663";

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
    let query = Query::parse(query)?;
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
        (CIMV2, "win32_logicaldisk") => volumes::logical_disks(profile, now),
        (CIMV2, "win32_volume") => volumes::volumes(profile, now),
        (CIMV2, "win32_useraccount") => user_accounts(profile),
        (CIMV2, "win32_quickfixengineering") => hotfixes(profile, now),
        (CIMV2, "win32_battery") => peripherals::batteries(profile, now),
        (CIMV2, "win32_printer") => peripherals::printers(profile),
        (CIMV2, "win32_printerconfiguration") => peripherals::printer_settings(profile),
        (CIMV2, "win32_usbcontrollerdevice") => peripherals::usb_references(profile),
        (CIMV2, "win32_pnpentity") => peripherals::usb_entities(profile),
        // WBEM_E_NOT_SUPPORTED
        (WMI, "wmimonitorid") if profile.screens().is_empty() => {
            return Err(io::ErrorKind::Unsupported.into());
        }
        (WMI, "wmimonitorid") => peripherals::monitors(profile),
        (CIMV2, "softwarelicensingproduct") => licences(profile),
        (ENCRYPTION, "win32_encryptablevolume") if !profile.defects.no_bitlocker => {
            volumes::encryptable(profile, now)
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
    Query::parse(query).ok().map(|query| query.class)
}

/// SIDs of the accounts that Windows makes itself, with their names and whether they are disabled.
pub(in crate::generate) const BUILT_IN: [(u32, &str, bool); 4] = [
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
        // Updates that were bought in addition say nothing about Windows itself.
        row([
            ("ApplicationID", WINDOWS_ID.into()),
            ("LicenseIsAddon", true.into()),
            ("LicenseStatus", json!(1)),
            ("PartialProductKey", "2YYYY".into()),
        ]),
        // Neither does an activated Office.
        product(OFFICE_ID, 1, "7GXXX".into()),
    ]
}

pub(super) fn row<const N: usize>(pairs: [(&str, Value); N]) -> WmiRow {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
