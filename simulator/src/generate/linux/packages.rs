//! Databases of package managers: dpkg's status, rpm's list, the folders of pacman, apk's database, snap's images and
//! flatpak's list.

use crate::generate::Profile;
use crate::generate::release::{self, Packages};
use crate::generate::software::debian;
use crate::generate::software::linux::{Package, older_kernel, packages};
use oco_agent::host::CommandOutput;
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

const DPKG: &str = "/var/lib/dpkg/status";
const PACMAN: &str = "/var/lib/pacman/local";
const APK: &str = "/lib/apk/db/installed";
const FLATPAKS: &str = "/var/lib/flatpak/app";

/// A package that pacman replaces at this moment: its folder has nothing in it yet.
const BEING_REPLACED: &str = "tzdata-2026a-1";

/// Content of a file; none if it belongs to no package manager.
pub(super) fn read_file(
    profile: &Profile,
    release: &release::Linux,
    path: &str,
    now: SystemTime,
) -> Option<io::Result<Vec<u8>>> {
    let content = match (release.packages, path) {
        (Packages::Dpkg, DPKG) => Some(debian::status(profile, release.suffix, now)),
        (Packages::Rpm(database), _) if path == database => Some(b"SQLite format 3\0".to_vec()),
        (Packages::Apk, APK) => Some(apk(&packages(profile, release, now))),
        (Packages::Pacman, _) if path.starts_with(PACMAN) => path
            .strip_prefix(PACMAN)
            .and_then(|path| path.strip_prefix('/')?.strip_suffix("/desc"))
            .filter(|folder| *folder != BEING_REPLACED)
            .and_then(|folder| pacman(profile, folder)),
        _ => {
            let name = path
                .strip_prefix(snap_folder(release))?
                .strip_prefix('/')?
                .strip_suffix("/current/meta/snap.yaml")?;
            let snaps = profile.snaps(release);
            let snap = snaps.iter().find(|snap| snap.name == name);
            snap.map(|snap| {
                format!(
                    "name: {}\nversion: {}\nsummary: {}\ndescription: |\n  version: no\nconfinement: strict\n",
                    snap.name, snap.version, snap.summary
                )
                .into_bytes()
            })
        }
    };
    Some(content.ok_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Names in a folder; none if it belongs to no package manager that is there.
pub(super) fn list_folder(
    profile: &Profile,
    release: &release::Linux,
    path: &str,
    now: SystemTime,
) -> Option<Vec<String>> {
    let mut names: Vec<String> = match path {
        PACMAN if release.packages == Packages::Pacman => packages(profile, release, now)
            .into_iter()
            .map(|package| format!("{}-{}", package.name, package.version))
            .chain(["ALPM_DB_VERSION".to_owned(), BEING_REPLACED.to_owned()])
            .collect(),
        FLATPAKS => profile
            .flatpaks()
            .iter()
            .map(|application| application.id.to_owned())
            .collect(),
        _ if path == snap_folder(release) => {
            let snaps = profile.snaps(release);
            // One that is switched off, and what else is there.
            let others = ["README", "bin", "switched-off"].map(str::to_owned);
            snaps
                .iter()
                .map(|snap| snap.name.to_owned())
                .chain(others)
                .collect()
        }
        _ => return None,
    };
    if path != PACMAN
        && names
            .iter()
            .all(|name| ["README", "bin", "switched-off"].contains(&name.as_str()))
    {
        return None;
    }
    names.sort();
    Some(names)
}

/// Output of a command; none if it is of no package manager that is there.
pub(super) fn run(
    profile: &Profile,
    release: &release::Linux,
    program: &str,
    now: SystemTime,
) -> Option<CommandOutput> {
    let stdout = match (program, release.packages) {
        ("rpm", Packages::Rpm(_)) => rpm(profile, release, now),
        ("flatpak", _) => profile
            .flatpaks()
            .iter()
            .fold(String::new(), |mut text, application| {
                let fields = [
                    application.id,
                    application.version,
                    application.branch,
                    application.description,
                ];
                text.push_str(&fields.join("\t"));
                text.push('\n');
                text
            }),
        _ => return None,
    };
    Some(CommandOutput {
        code: Some(0),
        stdout: stdout.into_bytes(),
    })
}

/// Fedora and Arch have them elsewhere than Debian.
fn snap_folder(release: &release::Linux) -> &'static str {
    match release.packages {
        Packages::Dpkg => "/snap",
        _ => "/var/lib/snapd/snap",
    }
}

/// What the query prints that the agent makes: name, version and summary. Keys of repositories are in between.
fn rpm(profile: &Profile, release: &release::Linux, now: SystemTime) -> String {
    let mut text = String::from("gpg-pubkey\tfd431d51-4ae0493b\tRed Hat, Inc. (release key 2) public key\n");
    for package in packages(profile, release, now)
        .iter()
        .chain(&older_kernel(release))
    {
        let summary = package.description.as_deref().unwrap_or_default();
        writeln!(text, "{}\t{}\t{summary}", package.name, package.version).ok();
    }
    text.push_str("gpg-pubkey\t5a6340b3-6229229e\tRed Hat, Inc. (auxiliary key 3) public key\n");
    text
}

fn apk(packages: &[Package]) -> Vec<u8> {
    let mut text = String::new();
    for package in packages {
        writeln!(
            text,
            "C:Q1pSMzWYaMHqAcJBSGEZ0qJn9PWkM=\nP:{}\nV:{}\nA:x86_64\nS:4096\nI:8192",
            package.name, package.version
        )
        .ok();
        if let Some(description) = &package.description {
            writeln!(text, "T:{description}").ok();
        }
        text.push_str("U:https://alpine.example/\nL:MIT\nF:usr\nF:usr/lib\nR:libx.so.1\na:0:0:755\nZ:Q1gOdwTbrTEpB1lwH7HvlHb1Ml8fQ=\n\n");
    }
    text.into_bytes()
}

/// A package's own description, from the name of its folder: `name-version-release`.
fn pacman(profile: &Profile, folder: &str) -> Option<Vec<u8>> {
    let (rest, release) = folder.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let mut text = format!("%NAME%\n{name}\n\n%VERSION%\n{version}-{release}\n\n%BASE%\n{name}\n\n");
    if let Some(description) = debian::description(profile, name) {
        write!(text, "%DESC%\n{description}\n\n").ok();
    }
    text.push_str("%ARCH%\nx86_64\n\n%BUILDDATE%\n1718000000\n\n%VALIDATION%\npgp\n");
    Some(text.into_bytes())
}
