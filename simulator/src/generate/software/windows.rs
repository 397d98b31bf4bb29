//! Programs of a Windows machine as its Uninstall keys list them, and its hotfixes.

use super::{Updates, revised};
use crate::generate::draw::hash;
use crate::generate::profile::Release;
use crate::generate::{Draw, Profile, Topic, traits};
use oco_agent::host::RegistryView;
use std::borrow::Cow;
use std::time::SystemTime;

/// An entry below an Uninstall key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name of its registry key.
    pub key: String,
    /// Side of the registry it is on.
    pub view: RegistryView,
    /// `DisplayName`; none and empty ones occur.
    pub name: Option<Cow<'static, str>>,
    /// `DisplayVersion`; some have none.
    pub version: Option<String>,
    /// `Publisher`.
    pub publisher: Option<Cow<'static, str>>,
    /// `Comments`; few have any.
    pub comments: Option<&'static str>,
    /// `SystemComponent` is 1: not shown to users.
    pub system: bool,
}

/// A hotfix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hotfix {
    /// `KB5034441`.
    pub id: String,
    /// `Security Update`, `Update`, `Hotfix`.
    pub description: &'static str,
}

/// What a registry value has where the catalogue says nothing.
const NO_NAME: &str = "";
/// Days between two patch days.
const MONTH: u64 = 30 * 24 * 3600;

/// The programs of a machine in one view of its registry, by key.
pub fn programs(profile: &Profile, view: RegistryView, now: SystemTime) -> Vec<Program> {
    let updates = Updates::of(profile, PROGRAMS.len() as u64, now);
    let places = (0..PROGRAMS.len()).filter(|place| PROGRAMS[*place].view == view);
    let mut programs: Vec<Program> = places
        .filter_map(|place| program(profile, place, &updates))
        .collect();
    if view == RegistryView::Native {
        let own = profile
            .own_programs()
            .map(|(place, program)| own(place, program, &updates));
        programs.extend(own);
    }
    programs.sort_by(|a, b| a.key.cmp(&b.key));
    programs
}

/// The program behind a registry key, if it is installed.
pub fn program_at(profile: &Profile, view: RegistryView, key: &str, now: SystemTime) -> Option<Program> {
    let updates = Updates::of(profile, PROGRAMS.len() as u64, now);
    let place = PROGRAMS
        .iter()
        .enumerate()
        .position(|(place, entry)| entry.view == view && key_of(place, entry).eq_ignore_ascii_case(key));
    if let Some(place) = place {
        return program(profile, place, &updates);
    }
    let mut own_programs = profile.own_programs();
    let found = own_programs
        .find(|(_, program)| view == RegistryView::Native && program.name.eq_ignore_ascii_case(key));
    found.map(|(place, program)| own(place, program, &updates))
}

/// The entry of a program of the fleet's own catalogue.
fn own(place: u64, program: &traits::Program, updates: &Updates) -> Program {
    let publisher = Some(program.publisher.clone()).filter(|publisher| !publisher.is_empty());
    Program {
        // A backslash would make a key below the key.
        key: program.name.replace('\\', "-"),
        view: RegistryView::Native,
        name: Some(program.name.clone().into()),
        version: Some(revised(
            &program.version,
            updates.revision(PROGRAMS.len() as u64 + place),
        )),
        publisher: publisher.map(Cow::from),
        comments: None,
        system: false,
    }
}

/// A package of the store, which everybody has who has logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorePackage {
    /// Name.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
    /// In which way the machine has it for those who log in one day.
    pub provision: Provision,
}

/// How a package is kept for users to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// As itself.
    Plain,
    /// As a bundle, which has this version.
    Bundle(&'static str),
    /// Not at all: whoever wants it gets it from the store.
    None,
}

impl StorePackage {
    /// The name under which a user has it.
    pub fn full_name(&self) -> String {
        format!("{}_{}_x64__8wekyb3d8bbwe", self.name, self.version)
    }

    /// The name under which it is there for everybody.
    pub fn provisioned(&self) -> Option<String> {
        match self.provision {
            Provision::Plain => Some(self.full_name()),
            Provision::Bundle(version) => Some(format!("{}_{version}_neutral_~_8wekyb3d8bbwe", self.name)),
            Provision::None => None,
        }
    }
}

/// The store's packages; before Windows 8 and on servers there is no store.
pub fn store_packages(profile: &Profile) -> Vec<StorePackage> {
    let has_store = match profile.release {
        Release::Windows(release) => release.major.is_some() && release.installation == "Client",
        Release::Linux(_) | Release::MacOs(_) => false,
    };
    let mut draw = Draw::new(profile.machine, Topic::Software, u64::MAX - 1);
    let packages = STORE_PACKAGES.iter().filter(|_| draw.permille(800));
    packages.copied().filter(|_| has_store).collect()
}

#[rustfmt::skip]
static STORE_PACKAGES: [StorePackage; 5] = [
    StorePackage { name: "Microsoft.WindowsCalculator", version: "11.2405.2.0", provision: Provision::Bundle("2024.2405.2.0") },
    StorePackage { name: "Microsoft.WindowsNotepad", version: "11.2410.20.0", provision: Provision::Bundle("2024.2410.20.0") },
    StorePackage { name: "Microsoft.WindowsStore", version: "22409.1401.5.0", provision: Provision::Plain },
    StorePackage { name: "Clipchamp.Clipchamp", version: "3.1.11720.0", provision: Provision::Plain },
    StorePackage { name: "Microsoft.PowerToys", version: "0.86.0.0", provision: Provision::None },
];

/// The hotfixes of a machine: old ones, and one for each of the last few months.
pub fn hotfixes(profile: &Profile, now: SystemTime) -> Vec<Hotfix> {
    let mut draw = Draw::new(profile.machine, Topic::Software, 0);
    let months = Profile::seconds(now) / MONTH;
    let old = (0..draw.between(1, 12))
        .map(|_| 3_100_000 + draw.between(0, 1_900_000))
        .collect::<Vec<_>>();
    let recent = months.saturating_sub(draw.between(1, 6))..=months;
    let mut numbers: Vec<u64> = old
        .into_iter()
        .chain(recent.map(|month| 5_000_000 + month * 61))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let describe = |number: u64| {
        ["Security Update", "Security Update", "Update", "Hotfix"][usize::try_from(number % 4).unwrap_or(0)]
    };
    numbers
        .into_iter()
        .map(|number| Hotfix {
            id: format!("KB{number}"),
            description: describe(number),
        })
        .collect()
}

fn program(profile: &Profile, place: usize, updates: &Updates) -> Option<Program> {
    let entry = PROGRAMS.get(place)?;
    let mut draw = Draw::new(profile.machine, Topic::Software, 1 + place as u64);
    if !draw.permille(profile.popularity(entry.share)) {
        return None;
    }
    let version = Some(entry.version)
        .filter(|version| !version.is_empty())
        .map(|version| revised(version, updates.revision(place as u64)));
    Some(Program {
        key: key_of(place, entry),
        view: entry.view,
        name: (entry.name != NO_NAME || entry.empty_name).then_some(Cow::Borrowed(entry.name)),
        version: version.filter(|_| !draw.permille(15)),
        publisher: (!entry.publisher.is_empty()).then_some(Cow::Borrowed(entry.publisher)),
        comments: draw.permille(60).then_some("Installed by IT (Größe: 1 GB)"),
        system: entry.system,
    })
}

/// Name of the registry key: a product code for what Windows Installer installed, else a name.
fn key_of(place: usize, entry: &Entry) -> String {
    if !entry.key.is_empty() {
        return entry.key.to_owned();
    }
    let bits = hash(entry.name.as_bytes());
    let more = hash(&bits.to_le_bytes());
    format!(
        "{{{:08X}-{:04X}-{:04X}-{:04X}-{:08X}{place:04X}}}",
        bits >> 32,
        bits >> 16 & 0xffff,
        bits & 0xffff,
        more >> 48,
        more & 0xffff_ffff
    )
}

#[derive(Clone, Copy)]
struct Entry {
    share: u32,
    key: &'static str,
    name: &'static str,
    version: &'static str,
    publisher: &'static str,
    view: RegistryView,
    system: bool,
    empty_name: bool,
}

const fn native(share: u32, name: &'static str, version: &'static str, publisher: &'static str) -> Entry {
    Entry {
        share,
        key: "",
        name,
        version,
        publisher,
        view: RegistryView::Native,
        system: false,
        empty_name: false,
    }
}

const fn wow32(share: u32, name: &'static str, version: &'static str, publisher: &'static str) -> Entry {
    Entry {
        view: RegistryView::Wow32,
        ..native(share, name, version, publisher)
    }
}

const fn keyed(key: &'static str, entry: Entry) -> Entry {
    Entry { key, ..entry }
}

const fn component(entry: Entry) -> Entry {
    Entry {
        system: true,
        ..entry
    }
}

const MICROSOFT: &str = "Microsoft Corporation";

static PROGRAMS: &[Entry] = &[
    // Left-overs of Windows itself, with nothing in them.
    keyed("AddressBook", native(950, NO_NAME, "", "")),
    component(keyed("Connection Manager", native(950, NO_NAME, "", ""))),
    keyed("Fontcore", wow32(900, NO_NAME, "", "")),
    keyed("IE40", wow32(900, NO_NAME, "", "")),
    Entry {
        empty_name: true,
        ..keyed("SchedulingAgent", wow32(500, NO_NAME, "1.0", ""))
    },
    component(native(
        700,
        "Microsoft Update Health Tools",
        "5.72.0.0",
        MICROSOFT,
    )),
    component(native(
        500,
        "Office 16 Click-to-Run Extensibility Component",
        "16.0.18129.20116",
        MICROSOFT,
    )),
    component(native(
        500,
        "Office 16 Click-to-Run Localization Component",
        "16.0.18129.20116",
        MICROSOFT,
    )),
    component(native(
        500,
        "Office 16 Click-to-Run Licensing Component",
        "16.0.18129.20116",
        MICROSOFT,
    )),
    component(native(
        600,
        "Microsoft Visual C++ 2022 X64 Minimum Runtime - 14.38.33135",
        "14.38.33135",
        MICROSOFT,
    )),
    component(native(
        600,
        "Microsoft Visual C++ 2022 X64 Additional Runtime - 14.38.33135",
        "14.38.33135",
        MICROSOFT,
    )),
    component(wow32(
        550,
        "Microsoft Visual C++ 2022 X86 Minimum Runtime - 14.38.33135",
        "14.38.33135",
        MICROSOFT,
    )),
    component(wow32(
        550,
        "Microsoft Visual C++ 2022 X86 Additional Runtime - 14.38.33135",
        "14.38.33135",
        MICROSOFT,
    )),
    wow32(
        700,
        "Microsoft Visual C++ 2015-2022 Redistributable (x64) - 14.38.33135",
        "14.38.33135.0",
        MICROSOFT,
    ),
    wow32(
        650,
        "Microsoft Visual C++ 2015-2022 Redistributable (x86) - 14.38.33135",
        "14.38.33135.0",
        MICROSOFT,
    ),
    wow32(
        300,
        "Microsoft Visual C++ 2013 Redistributable (x64) - 12.0.40664",
        "12.0.40664.0",
        MICROSOFT,
    ),
    wow32(
        300,
        "Microsoft Visual C++ 2013 Redistributable (x86) - 12.0.40664",
        "12.0.40664.0",
        MICROSOFT,
    ),
    wow32(
        250,
        "Microsoft Visual C++ 2012 Redistributable (x64) - 11.0.61030",
        "11.0.61030.0",
        MICROSOFT,
    ),
    native(
        250,
        "Microsoft Visual C++ 2010  x64 Redistributable - 10.0.40219",
        "10.0.40219",
        MICROSOFT,
    ),
    wow32(
        250,
        "Microsoft Visual C++ 2010  x86 Redistributable - 10.0.40219",
        "10.0.40219",
        MICROSOFT,
    ),
    native(
        200,
        "Microsoft Visual C++ 2008 Redistributable - x64 9.0.30729.6161",
        "9.0.30729.6161",
        MICROSOFT,
    ),
    wow32(
        200,
        "Microsoft Visual C++ 2008 Redistributable - x86 9.0.30729.6161",
        "9.0.30729.6161",
        MICROSOFT,
    ),
    wow32(
        300,
        "Microsoft Windows Desktop Runtime - 8.0.10 (x64)",
        "8.0.10.34118",
        MICROSOFT,
    ),
    wow32(
        250,
        "Microsoft Windows Desktop Runtime - 6.0.35 (x64)",
        "6.0.35.34113",
        MICROSOFT,
    ),
    component(native(
        300,
        "Microsoft .NET Host - 8.0.10 (x64)",
        "64.40.21503",
        MICROSOFT,
    )),
    component(native(
        300,
        "Microsoft .NET Host FX Resolver - 8.0.10 (x64)",
        "64.40.21503",
        MICROSOFT,
    )),
    component(native(
        300,
        "Microsoft .NET Runtime - 8.0.10 (x64)",
        "64.40.21503",
        MICROSOFT,
    )),
    keyed(
        "O365ProPlusRetail - de-de",
        native(
            400,
            "Microsoft 365 Apps for Enterprise - de-de",
            "16.0.18129.20116",
            MICROSOFT,
        ),
    ),
    keyed(
        "O365ProPlusRetail - en-us",
        native(
            200,
            "Microsoft 365 Apps for Enterprise - en-us",
            "16.0.18129.20116",
            MICROSOFT,
        ),
    ),
    keyed(
        "ProPlus2019Volume - fr-fr",
        native(
            60,
            "Microsoft Office Professionnel Plus 2019 - fr-fr",
            "16.0.10415.20025",
            MICROSOFT,
        ),
    ),
    keyed(
        "Microsoft Edge",
        wow32(900, "Microsoft Edge", "130.0.2849.68", MICROSOFT),
    ),
    keyed(
        "Microsoft EdgeWebView",
        wow32(
            850,
            "Microsoft Edge WebView2-Laufzeit",
            "130.0.2849.68",
            MICROSOFT,
        ),
    ),
    keyed(
        "OneDriveSetup.exe",
        native(500, "Microsoft OneDrive", "24.201.1006.0005", MICROSOFT),
    ),
    wow32(400, "Teams Machine-Wide Installer", "1.7.0.26062", MICROSOFT),
    keyed(
        "Mozilla Firefox 132.0 (x64 de)",
        native(350, "Mozilla Firefox (x64 de)", "132.0", "Mozilla"),
    ),
    keyed(
        "Mozilla Firefox 128.4.0 ESR (x64 en-US)",
        native(100, "Mozilla Firefox ESR (x64 en-US)", "128.4.0", "Mozilla"),
    ),
    keyed(
        "MozillaMaintenanceService",
        native(420, "Mozilla Maintenance Service", "132.0", "Mozilla"),
    ),
    keyed(
        "Mozilla Thunderbird 128.4.0 (x64 de)",
        native(150, "Mozilla Thunderbird (x64 de)", "128.4.0", "Mozilla"),
    ),
    native(550, "Google Chrome", "130.0.6723.92", "Google LLC"),
    keyed("7-Zip", native(500, "7-Zip 24.08 (x64)", "24.08", "Igor Pavlov")),
    keyed(
        "Notepad++",
        native(300, "Notepad++ (64-bit x64)", "8.7.1", "Notepad++ Team"),
    ),
    keyed(
        "VLC media player",
        native(300, "VLC media player", "3.0.21", "VideoLAN"),
    ),
    wow32(
        400,
        "Adobe Acrobat Reader - Deutsch",
        "24.004.20220",
        "Adobe Systems Incorporated",
    ),
    native(150, "Adobe Acrobat (64-bit)", "24.004.20220", "Adobe"),
    keyed(
        "Git_is1",
        native(120, "Git", "2.47.0.2", "The Git Development Community"),
    ),
    keyed(
        "{771FD6B0-FA20-440A-A002-3B3BAC16DC50}_is1",
        native(90, "Microsoft Visual Studio Code (User)", "1.95.1", MICROSOFT),
    ),
    native(
        80,
        "Python 3.12.7 Standard Library (64-bit)",
        "3.12.7150.0",
        "Python Software Foundation",
    ),
    native(60, "Node.js", "22.11.0", "Node.js Foundation"),
    native(
        150,
        "Java 8 Update 431 (64-bit)",
        "8.0.4310.10",
        "Oracle Corporation",
    ),
    wow32(100, "Java 8 Update 431", "8.0.4310.10", "Oracle Corporation"),
    native(
        80,
        "Eclipse Temurin JRE mit Hotspot 17.0.13+11 (x64)",
        "17.0.13.11",
        "Eclipse Adoptium",
    ),
    native(120, "LibreOffice 24.2.7.2", "24.2.7.2", "The Document Foundation"),
    keyed(
        "PDFCreator_is1",
        native(60, "PDFCreator", "5.3.2", "Avanquest pdfforge GmbH"),
    ),
    native(120, "PDF24 Creator", "11.21.0", "Geek Software GmbH"),
    native(120, "KeePassXC", "2.7.9", "KeePassXC Team"),
    keyed(
        "KeePassPasswordSafe2_is1",
        wow32(120, "KeePass Password Safe 2.57.1", "2.57.1", "Dominik Reichl"),
    ),
    native(90, "PuTTY release 0.81 (64-bit)", "0.81.0.0", "Simon Tatham"),
    keyed(
        "winscp3_is1",
        wow32(120, "WinSCP 6.3.5", "6.3.5", "Martin Prikryl"),
    ),
    keyed(
        "FileZilla Client",
        wow32(100, "FileZilla 3.67.1", "3.67.1", "Tim Kosse"),
    ),
    keyed(
        "Wireshark",
        wow32(
            50,
            "Wireshark 4.4.1 x64",
            "4.4.1",
            "The Wireshark developer community, https://www.wireshark.org",
        ),
    ),
    keyed("TeamViewer", wow32(150, "TeamViewer", "15.59.5", "TeamViewer")),
    keyed(
        "AnyDesk",
        wow32(80, "AnyDesk", "ad 8.1.0", "AnyDesk Software GmbH"),
    ),
    native(200, "Zoom Workplace (64-bit)", "6.2.49583", "Zoom"),
    keyed("Webex", wow32(60, "Webex", "44.10.0.30906", "Cisco Systems, Inc")),
    native(
        120,
        "Cisco Secure Client - AnyConnect VPN",
        "5.1.6.103",
        "Cisco Systems, Inc.",
    ),
    keyed(
        "OpenVPN",
        native(80, "OpenVPN 2.6.12-I001 amd64", "2.6.1201", "OpenVPN, Inc."),
    ),
    native(70, "FortiClient VPN", "7.2.4.0972", "Fortinet Technologies Inc"),
    keyed(
        "Citrix Workspace",
        wow32(100, "Citrix Workspace 2409", "24.9.0.225", "Citrix Systems, Inc."),
    ),
    native(80, "VMware Tools", "12.4.5.23787635", "VMware, Inc."),
    native(60, "QEMU guest agent", "107.0.1", "RedHat"),
    native(
        60,
        "Oracle VirtualBox 7.1.4",
        "7.1.4",
        "Oracle and/or its affiliates",
    ),
    native(60, "Docker Desktop", "4.35.1", "Docker Inc."),
    keyed(
        "GIMP-2_is1",
        native(80, "GIMP 2.10.38-1", "2.10.38", "The GIMP Team"),
    ),
    keyed("Inkscape", native(60, "Inkscape", "1.3.2", "Inkscape Team")),
    native(
        80,
        "Intel(R) Management Engine Components",
        "2406.5.5.0",
        "Intel Corporation",
    ),
    component(native(80, "Intel(R) Icls", "1.72.229.0", "Intel Corporation")),
    native(
        60,
        "Realtek Audio Driver",
        "6.0.9715.1",
        "Realtek Semiconductor Corp.",
    ),
    wow32(
        100,
        "Dell Command | Update for Windows Universal",
        "5.4.0",
        "Dell, Inc.",
    ),
    native(80, "Lenovo System Update", "5.08.03.59", "Lenovo"),
    wow32(60, "HP Support Assistant", "9.41.12.0", "HP Inc."),
    native(60, "Sophos Endpoint Agent", "2024.2.2.1", "Sophos Limited"),
    native(
        60,
        "CrowdStrike Windows Sensor",
        "7.19.18913.0",
        "CrowdStrike, Inc.",
    ),
    keyed(
        "ESET Endpoint Security",
        native(60, "ESET Endpoint Security", "11.1.2052.0", "ESET, spol. s r.o."),
    ),
    wow32(40, "SAP GUI for Windows 8.00", "8.00", "SAP SE"),
    wow32(50, "DATEV Arbeitsplatz pro", "V.17.3", "DATEV eG"),
    wow32(
        40,
        "ELSTER-Authentifikator Prüfung",
        "",
        "Bayerisches Landesamt für Steuern",
    ),
    native(40, "AutoCAD 2025 - Français (French)", "25.0.58.0", "Autodesk"),
    keyed(
        "NVIDIA Display.Driver",
        native(120, "NVIDIA Grafiktreiber 566.03", "566.03", "NVIDIA Corporation"),
    ),
    keyed(
        "Greenshot_is1",
        native(120, "Greenshot 1.3.277", "1.3.277", "Greenshot"),
    ),
    keyed(
        "IrfanView64",
        native(90, "IrfanView 4.67 (64-bit)", "4.67", "Irfan Skiljan"),
    ),
    keyed(
        "Audacity_is1",
        native(50, "Audacity 3.7.0", "3.7.0", "Audacity Team"),
    ),
    wow32(
        50,
        "Brother MFL-Pro Suite DCP-L2530DW",
        "1.0.1.0",
        "Brother Industries, Ltd.",
    ),
    native(60, "Nextcloud", "3.14.3.20241028", "Nextcloud GmbH"),
    native(
        50,
        "Microsoft SQL Server Management Studio - 20.2",
        "20.2.30.0",
        MICROSOFT,
    ),
    native(
        60,
        "Microsoft ODBC Driver 18 for SQL Server",
        "18.4.1.1",
        MICROSOFT,
    ),
    native(900, "OCO Agent", "1.2.0", "Sieber Systems"),
];
