//! Applications of a Mac.

use super::{Updates, revised};
use crate::generate::traits::Program;
use crate::generate::{Draw, Profile, Topic};
use std::borrow::Cow;
use std::time::SystemTime;

/// An application bundle in `/Applications`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Folder, without `.app`.
    pub folder: Cow<'static, str>,
    /// `CFBundleName`; some have none.
    pub name: Option<Cow<'static, str>>,
    /// `CFBundleShortVersionString`; some have none.
    pub version: Option<String>,
    /// `CFBundleGetInfoString`; most have none.
    pub info: Option<Cow<'static, str>>,
    /// The property list is a binary one.
    pub binary: bool,
}

/// The applications of a machine.
pub fn bundles(profile: &Profile, now: SystemTime) -> Vec<Bundle> {
    let updates = Updates::of(profile, APPS.len() as u64, now);
    (0..APPS.len())
        .filter_map(|place| bundle(profile, place, &updates))
        .chain(
            profile
                .own_programs()
                .map(|(place, program)| own(place, program, &updates)),
        )
        .collect()
}

/// The application in that folder, if it is installed.
pub fn bundle_in(profile: &Profile, folder: &str, now: SystemTime) -> Option<Bundle> {
    let updates = Updates::of(profile, APPS.len() as u64, now);
    match APPS.iter().position(|(_, name, ..)| *name == folder) {
        Some(place) => bundle(profile, place, &updates),
        None => profile
            .own_programs()
            .find(|(_, program)| program.name == folder)
            .map(|(place, program)| own(place, program, &updates)),
    }
}

/// The bundle of a program of the fleet's own catalogue.
fn own(place: u64, program: &Program, updates: &Updates) -> Bundle {
    let revision = updates.revision(APPS.len() as u64 + place);
    Bundle {
        folder: program.name.clone().into(),
        name: Some(program.name.clone().into()),
        version: Some(revised(&program.version, revision)),
        info: Some(program.publisher.clone())
            .filter(|publisher| !publisher.is_empty())
            .map(Cow::from),
        binary: false,
    }
}

fn bundle(profile: &Profile, place: usize, updates: &Updates) -> Option<Bundle> {
    let (share, folder, version, info) = APPS.get(place)?;
    let mut draw = Draw::new(profile.machine, Topic::Software, 1 + place as u64);
    if !draw.permille(profile.popularity(*share)) {
        return None;
    }
    let version = revised(version, updates.revision(place as u64));
    Some(Bundle {
        folder: Cow::Borrowed(folder),
        name: draw.permille(960).then_some(Cow::Borrowed(*folder)),
        version: draw.permille(980).then_some(version),
        info: (!info.is_empty()).then_some(Cow::Borrowed(*info)),
        binary: draw.permille(500),
    })
}

/// Permille of machines, folder, version, info string.
static APPS: &[(u32, &str, &str, &str)] = &[
    (1000, "Safari", "17.6", ""),
    (120, "1Password", "8.10.48", ""),
    (
        300,
        "Adobe Acrobat Reader",
        "24.003.20180",
        "Adobe Acrobat Reader, ©2020-2024 Adobe Inc.",
    ),
    (
        80,
        "Adobe Photoshop 2024",
        "25.12",
        "Adobe Photoshop 2024 25.12, Copyright ©1990-2024 Adobe",
    ),
    (60, "Affinity Designer 2", "2.5.5", ""),
    (90, "AnyDesk", "8.1.0", ""),
    (60, "Arc", "1.67.0", ""),
    (70, "Bitwarden", "2024.10.2", ""),
    (60, "Blender", "4.2.3", "4.2.3, Copyright Blender Foundation"),
    (80, "Cisco Secure Client", "5.1.6.103", ""),
    (70, "Company Portal", "5.2409.1", ""),
    (60, "CrowdStrike Falcon", "7.19", ""),
    (90, "Cyberduck", "9.0.3", "Cyberduck 9.0.3, Copyright (c) 2024"),
    (60, "DBeaver", "24.2.4", "DBeaver Community"),
    (60, "DeepL", "24.11", ""),
    (150, "Docker", "4.35.1", ""),
    (120, "Dropbox", "211.4", "Dropbox 211.4"),
    (60, "Eclipse", "4.33", ""),
    (350, "Firefox", "132.0", "Firefox 132.0"),
    (300, "GarageBand", "10.4.11", ""),
    (60, "GIMP", "2.10.38", "2.10.38"),
    (60, "GitHub Desktop", "3.4.8", ""),
    (550, "Google Chrome", "130.0.6723.92", ""),
    (100, "Google Drive", "98.0", ""),
    (350, "iMovie", "10.4.3", ""),
    (60, "Inkscape", "1.3.2", ""),
    (
        80,
        "IntelliJ IDEA",
        "2024.2.4",
        "IntelliJ IDEA 2024.2.4, build IU-242",
    ),
    (200, "iTerm", "3.5.9", ""),
    (120, "KeePassXC", "2.7.9", "KeePassXC 2.7.9"),
    (400, "Keynote", "14.2", ""),
    (150, "LibreOffice", "24.2.7", "LibreOffice 24.2.7.2 (Quelltext)"),
    (50, "Logi Options+", "1.84", ""),
    (
        400,
        "Microsoft Edge",
        "130.0.2849.68",
        "Microsoft Edge 130.0.2849.68",
    ),
    (
        400,
        "Microsoft Excel",
        "16.90",
        "16.90 (24110321), © 2024 Microsoft Corporation. All rights reserved.",
    ),
    (300, "Microsoft OneNote", "16.90", ""),
    (
        380,
        "Microsoft Outlook",
        "16.90",
        "16.90 (24110321), © 2024 Microsoft Corporation. All rights reserved.",
    ),
    (400, "Microsoft PowerPoint", "16.90", ""),
    (450, "Microsoft Teams", "24277.3507.3200.4747", ""),
    (400, "Microsoft Word", "16.90", ""),
    (60, "Miro", "0.9.2", ""),
    (70, "Nextcloud", "3.14.3", "Nextcloud 3.14.3"),
    (100, "Notion", "4.0.0", ""),
    (400, "Numbers", "14.2", ""),
    (200, "OneDrive", "24.201.1006", ""),
    (400, "Pages", "14.2", ""),
    (60, "Parallels Desktop", "20.1.1", ""),
    (60, "Postman", "11.18.0", ""),
    (50, "PyCharm CE", "2024.2.4", ""),
    (60, "Signal", "7.31.0", ""),
    (250, "Slack", "4.41.96", ""),
    (
        120,
        "Spotify",
        "1.2.50.335",
        "1.2.50.335, Copyright © 2024, Spotify AB",
    ),
    (60, "Sublime Text", "Build 4180", "Sublime Text Build 4180"),
    (60, "Tailscale", "1.76.1", ""),
    (120, "TeamViewer", "15.59.5", ""),
    (70, "Telegram", "11.2", ""),
    (150, "The Unarchiver", "4.3.9", ""),
    (120, "Thunderbird", "128.4.0esr", "Thunderbird 128.4.0esr"),
    (60, "Tunnelblick", "4.0.1", "Tunnelblick 4.0.1 (build 5971)"),
    (60, "UTM", "4.5.4", ""),
    (250, "Visual Studio Code", "1.95.1", ""),
    (250, "VLC", "3.0.21", "VLC media player"),
    (90, "WhatsApp", "24.21.79", ""),
    (
        60,
        "Wireshark",
        "4.4.1",
        "4.4.1, Copyright 1998-2024 Gerald Combs and contributors",
    ),
    (150, "Xcode", "16.1", ""),
    (
        350,
        "zoom.us",
        "6.2.5",
        "Copyright © 2024 Zoom Video Communications",
    ),
];
