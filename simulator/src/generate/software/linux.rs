//! Packages of distributions without dpkg (rpm, pacman, apk), and applications beside any distribution (snap, flatpak).
//!
//! The packages are Debian's, named and numbered as those distributions would, without what only Debian has.

use super::debian;
use crate::generate::hardware::Form;
use crate::generate::release::{self, Packages};
use crate::generate::{Draw, Profile, Topic};
use std::time::SystemTime;

/// What only Debian and its derivatives have begins so.
const OF_DEBIAN: [&str; 12] = [
    "adduser",
    "apt",
    "base-",
    "deb",
    "dpkg",
    "init-system-",
    "libapt",
    "libdebconf",
    "python3-apt",
    "software-properties-",
    "unattended-",
    "usr-is-merged",
];

/// An installed package or application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version; applications may have none.
    pub version: String,
    /// In one line; some have none.
    pub description: Option<String>,
}

/// The packages of a distribution without dpkg, in the order of its database; none where it has dpkg.
pub fn packages(profile: &Profile, release: &release::Linux, now: SystemTime) -> Vec<Package> {
    let mut packages = Vec::new();
    if release.packages == Packages::Dpkg {
        return packages;
    }
    debian::each_package(profile, release.suffix, now, |package| {
        if !package.status.is_installed() || OF_DEBIAN.iter().any(|start| package.name.starts_with(start)) {
            return;
        }
        let description = match release.packages {
            // A folder a package: what is in one has to follow from its name.
            Packages::Pacman => debian::description(profile, package.name),
            _ => package.description.map(str::to_owned),
        };
        packages.push(Package {
            name: name(package.name, release.packages),
            version: version(package.version, release),
            description,
        });
    });
    packages
}

fn name(debian: &str, packages: Packages) -> String {
    match (packages, debian.strip_suffix("-dev")) {
        (Packages::Rpm(_), Some(library)) => format!("{library}-devel"),
        _ => debian.to_owned(),
    }
}

/// `epoch:upstream-revision` as other distributions write it.
fn version(debian: &str, release: &release::Linux) -> String {
    let (epoch, rest) = match debian.split_once(':') {
        Some((epoch, rest)) => (format!("{epoch}:"), rest),
        None => (String::new(), debian),
    };
    // Debian's own packages have no revision.
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "1"));
    let upstream = upstream.replace(['-', '~'], "_");
    match release.packages {
        Packages::Rpm(_) => format!("{epoch}{upstream}-{revision}{}", release.package_tag),
        Packages::Pacman => format!("{epoch}{upstream}-{revision}"),
        Packages::Apk => format!("{upstream}-r{revision}"),
        Packages::Dpkg => debian.to_owned(),
    }
}

/// A snap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snap {
    /// Name.
    pub name: &'static str,
    /// Version as it is in its description.
    pub version: &'static str,
    /// As it is in its description: quoted, or of several lines.
    pub summary: &'static str,
    /// What that means.
    pub description: &'static str,
}

#[rustfmt::skip]
static SNAPS: [Snap; 6] = [
    Snap { name: "core22", version: "'20240904'", summary: "Runtime environment based on Ubuntu 22.04", description: "Runtime environment based on Ubuntu 22.04" },
    Snap { name: "firefox", version: "133.0-1", summary: "\"Mozilla \\\"Firefox\\\" web browser\"", description: "Mozilla \"Firefox\" web browser" },
    Snap { name: "gtk-common-themes", version: "0.1-81-g442e511", summary: "'All the (common) themes, the browser''s too'", description: "All the (common) themes, the browser's too" },
    Snap { name: "hello-world", version: "6.4", summary: ">-\n  The 'hello-world' of snaps\n  in two lines", description: "" },
    Snap { name: "snap-store", version: "'41.3-77-g7dc86c8'", summary: "App Store für Ubuntu", description: "App Store für Ubuntu" },
    Snap { name: "snapd", version: "2.63", summary: "Daemon and tooling that enable snap packages", description: "Daemon and tooling that enable snap packages" },
];

/// A flatpak application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flatpak {
    /// Its id.
    pub id: &'static str,
    /// Version; some name none.
    pub version: &'static str,
    /// Branch.
    pub branch: &'static str,
    /// What it is; some do not say.
    pub description: &'static str,
}

#[rustfmt::skip]
static FLATPAKS: [Flatpak; 4] = [
    Flatpak { id: "com.example.Notes", version: "", branch: "stable", description: "" },
    Flatpak { id: "org.gimp.GIMP", version: "2.10.38", branch: "stable", description: "Create images and edit photographs" },
    Flatpak { id: "org.inkscape.Inkscape", version: "1.4", branch: "stable", description: "Éditeur de graphismes vectoriels" },
    Flatpak { id: "org.videolan.VLC", version: "3.0.21", branch: "stable", description: "VLC media player, the open-source multimedia player" },
];

/// Streams of draws.
const SNAP: u64 = 0;
const FLATPAK: u64 = 1;

impl Profile {
    /// The snaps in use; none where there is no daemon for them. One more may be there that is switched off.
    pub fn snaps(&self, release: &release::Linux) -> Vec<&'static Snap> {
        let mut draw = Draw::new(self.machine, Topic::Applications, SNAP);
        let share = match release.id {
            "ubuntu" => 800,
            "alpine" => 0,
            _ => 60,
        };
        if !draw.permille(share) {
            return Vec::new();
        }
        SNAPS
            .iter()
            .filter(|snap| snap.name == "snapd" || draw.permille(500))
            .collect()
    }

    /// The flatpak applications that everybody can use.
    pub fn flatpaks(&self) -> Vec<&'static Flatpak> {
        let mut draw = Draw::new(self.machine, Topic::Applications, FLATPAK);
        let at_a_desk = matches!(self.model.form, Form::Laptop | Form::Desktop);
        if !at_a_desk || !draw.permille(200) {
            return Vec::new();
        }
        FLATPAKS.iter().filter(|_| draw.permille(500)).collect()
    }
}

/// All that the package managers of a machine have, but for dpkg's, as the agent reports it: without descriptions of
/// several lines, and with the branch where there is no version.
pub(in crate::generate) fn beside_dpkg(
    profile: &Profile,
    release: &release::Linux,
    now: SystemTime,
) -> Vec<Package> {
    let package = |name: &str, version: &str, description: &str| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        description: Some(description.to_owned()),
    };
    let snaps = profile.snaps(release).into_iter();
    let snaps = snaps.map(|snap| package(snap.name, snap.version.trim_matches('\''), snap.description));
    let flatpaks = profile.flatpaks().into_iter().map(|application| {
        let version = if application.version.is_empty() {
            application.branch
        } else {
            application.version
        };
        package(application.id, version, application.description)
    });
    let older_kernel = older_kernel(release).into_iter();
    let distribution = packages(profile, release, now).into_iter().chain(older_kernel);
    distribution.chain(snaps).chain(flatpaks).collect()
}

/// rpm keeps several versions of a kernel side by side.
pub(in crate::generate) fn older_kernel(release: &release::Linux) -> Vec<Package> {
    let kernel = |version: &str| Package {
        name: "kernel".to_owned(),
        version: format!("{version}{}", release.package_tag),
        description: Some("The Linux kernel".to_owned()),
    };
    match release.packages {
        Packages::Rpm(_) => vec![kernel("5.14.0-427.31.1"), kernel("5.14.0-427.40.1")],
        _ => Vec::new(),
    }
}
