//! The package database of Debian and its derivatives.
//!
//! Every machine has the base set, well-known packages are there by their popularity, and libraries with made-up names
//! bring the count to that of a real machine: 400 to 1,900.

use super::{Updates, push_number};
use crate::generate::draw::hash;
use crate::generate::{Draw, Profile, Topic};
use std::time::SystemTime;

/// What dpkg thinks of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Installed.
    Installed,
    /// Installed, and not to be upgraded.
    Held,
    /// Removed, with its configuration left.
    ConfigFiles,
    /// Its installation was interrupted.
    HalfConfigured,
}

impl Status {
    /// Whether it counts as installed.
    pub fn is_installed(self) -> bool {
        matches!(self, Self::Installed | Self::Held)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Installed => "install ok installed",
            Self::Held => "hold ok installed",
            Self::ConfigFiles => "deinstall ok config-files",
            Self::HalfConfigured => "install ok half-configured",
        }
    }
}

/// One entry of the database.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// Name.
    pub name: &'a str,
    /// Version with everything that updates have added.
    pub version: &'a str,
    /// First line of its description; some have none.
    pub description: Option<&'a str>,
    /// Architecture; none: that of the machine.
    pub architecture: Option<&'static str>,
    /// State.
    pub status: Status,
}

/// Calls `visit` with each entry of the machine's database, in its order.
pub fn each_package(profile: &Profile, suffix: &str, now: SystemTime, mut visit: impl FnMut(&Package<'_>)) {
    let mut draw = Draw::new(profile.machine, Topic::Software, 0);
    let total = profile.popularity_of(draw.between(400, 1900));
    let updates = Updates::of(profile, total, now);
    let mut version = String::with_capacity(48);
    let mut item = 0;
    for (share, name, base_version, description) in KNOWN {
        item += 1;
        if *share < 1000 && !draw.permille(profile.popularity(*share)) {
            continue;
        }
        version.clear();
        version.push_str(base_version);
        push_update(&mut version, suffix, updates.revision(item));
        let description = Some(*description);
        visit(&Package {
            name,
            version: &version,
            description,
            architecture: None,
            status: Status::Installed,
        });
    }
    let share = libraries_share(total);
    let (mut name, mut description) = (String::with_capacity(48), String::with_capacity(96));
    for form in FORMS {
        for stem in STEMS {
            item += 1;
            let bits = draw.next_u64();
            if bits >> 40 >= share * popularity(item) {
                continue;
            }
            fill(&mut name, &[form.before, stem, form.after]);
            fill(&mut description, &[stem, " - ", form.what]);
            library_version(&mut version, item);
            push_update(&mut version, suffix, updates.revision(item));
            // The low bits are independent of those that decided above.
            let oddity = bits & 0xff;
            let status = match oddity {
                0 | 1 => Status::ConfigFiles,
                2 => Status::Held,
                3 if bits & 0x100 == 0 => Status::HalfConfigured,
                _ => Status::Installed,
            };
            let description = (oddity != 4).then_some(description.as_str());
            let architecture = form.all.then_some("all");
            let package = Package {
                name: &name,
                version: &version,
                description,
                architecture,
                status,
            };
            visit(&package);
            if oddity == 5 && !form.all {
                visit(&Package {
                    architecture: Some("i386"),
                    ..package
                });
            }
        }
    }
    for (place, program) in profile.own_programs() {
        version.clear();
        version.push_str(&program.version);
        push_update(&mut version, suffix, updates.revision(item + 1 + place));
        visit(&Package {
            name: &package_name(&program.name),
            version: &version,
            description: Some(program.publisher.as_str()).filter(|publisher| !publisher.is_empty()),
            architecture: None,
            status: Status::Installed,
        });
    }
}

/// The first line of the description that a package of that name has, if it has any oddity or not.
pub fn description(profile: &Profile, name: &str) -> Option<String> {
    let known = KNOWN.iter().find(|(_, known, ..)| *known == name);
    if let Some((.., description)) = known {
        return Some((*description).to_owned());
    }
    let library = FORMS.iter().find_map(|form| {
        let stem = name.strip_prefix(form.before)?.strip_suffix(form.after)?;
        let stem = STEMS.binary_search(&stem).ok().map(|place| STEMS[place])?;
        Some(format!("{stem} - {}", form.what))
    });
    library.or_else(|| {
        let mut own = profile.own_programs();
        let (_, program) = own.find(|(_, program)| package_name(&program.name) == name)?;
        Some(program.publisher.clone()).filter(|publisher| !publisher.is_empty())
    })
}

/// A name as dpkg allows it: lower case, with dashes for what it does not know.
fn package_name(name: &str) -> String {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    name.chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if known(c) { c } else { '-' })
        .collect()
}

/// `/var/lib/dpkg/status`.
pub fn status(profile: &Profile, suffix: &str, now: SystemTime) -> Vec<u8> {
    let own = if profile.is_arm() { "arm64" } else { "amd64" };
    let mut text = String::with_capacity(720 << 10);
    each_package(profile, suffix, now, |package| {
        let parts = [
            "Package: ",
            package.name,
            "\nStatus: ",
            package.status.text(),
            "\nPriority: optional\nSection: misc\nInstalled-Size: 512\nMaintainer: Debian QA Group \
             <packages@qa.debian.example>\nArchitecture: ",
            package.architecture.unwrap_or(own),
            "\nMulti-Arch: same\nVersion: ",
            package.version,
            "\nDepends: libc6 (>= 2.34)\n",
        ];
        parts.into_iter().for_each(|part| text.push_str(part));
        if package.status == Status::ConfigFiles || package.name.ends_with("-common") {
            let parts = [
                "Conffiles:\n /etc/",
                package.name,
                ".conf 0123456789abcdef0123456789abcdef\n",
            ];
            parts.into_iter().for_each(|part| text.push_str(part));
        }
        if let Some(description) = package.description {
            let parts = [
                "Description: ",
                description,
                "\n This is one of the packages that a machine needs.\n .\n Version: no field, but text.\n",
            ];
            parts.into_iter().for_each(|part| text.push_str(part));
        }
        text.push('\n');
    });
    text.into_bytes()
}

/// What an update adds to a version: nothing on the first one.
fn push_update(version: &mut String, suffix: &str, revision: u64) {
    if revision > 0 {
        version.push_str(suffix);
        push_number(version, revision);
    }
}

/// The same library has the same version everywhere, as far as updates are not concerned.
fn library_version(version: &mut String, item: u64) {
    let bits = hash(&item.to_le_bytes());
    version.clear();
    if bits & 15 == 0 {
        version.push_str("1:");
    }
    push_number(version, bits >> 8 & 7);
    version.push('.');
    push_number(version, (bits >> 16 & 63) % 40);
    if bits & 16 != 0 {
        version.push('.');
        push_number(version, bits >> 24 & 15);
    }
    version.push_str(
        ["", "+dfsg", "~rc2", "+git20240311"]
            [usize::try_from(bits >> 32 & 31).map_or(0, |form| if form < 4 { form } else { 0 })],
    );
    version.push('-');
    push_number(version, 1 + (bits >> 40 & 7));
}

/// From 2 to 14, eight on average: how much more likely a library is than another.
fn popularity(item: u64) -> u64 {
    2 + hash(&item.to_be_bytes()) % 13
}

/// The factor for popularity that makes a machine have about `total` packages; 24 bits are certainty.
fn libraries_share(total: u64) -> u64 {
    let known: u64 = KNOWN.iter().map(|(share, ..)| u64::from(*share)).sum::<u64>() / 1000;
    let candidates = (FORMS.len() * STEMS.len()) as u64;
    (total.saturating_sub(known) << 24) / candidates / 8
}

fn fill(text: &mut String, parts: &[&str]) {
    text.clear();
    parts.iter().for_each(|part| text.push_str(part));
}

/// How packages around a library are named.
struct Form {
    before: &'static str,
    after: &'static str,
    what: &'static str,
    all: bool,
}

const fn form(before: &'static str, after: &'static str, what: &'static str, all: bool) -> Form {
    Form {
        before,
        after,
        what,
        all,
    }
}

static FORMS: &[Form] = &[
    form("", "-common", "files that all its packages share", true),
    form("", "-data", "data that does not depend on the architecture", true),
    form("", "-doc", "documentation", true),
    form("", "-plugins", "plug-ins", false),
    form("", "-tools", "command line tools", false),
    form("fonts-", "", "typeface for screens (äöü, ñ, ł)", true),
    form("gir1.2-", "-1.0", "introspection data", false),
    form("golang-", "-dev", "library for Go", true),
    form("gstreamer1.0-", "", "media plug-in", false),
    form("kde-config-", "", "settings module", false),
    form("lib", "-dev", "headers", false),
    form("lib", "-java", "library for Java", true),
    form("lib", "-perl", "Perl module", true),
    form("lib", "0", "shared library", false),
    form("lib", "1", "shared library", false),
    form("lib", "2t64", "shared library with 64-bit time", false),
    form("librust-", "-dev", "crate for Rust", false),
    form("lua-", "", "module for Lua", false),
    form("node-", "", "module for Node.js", true),
    form("php-", "", "extension for PHP", false),
    form("python3-", "", "module for Python 3", true),
    form("r-cran-", "", "package for GNU R", false),
    form("ruby-", "", "gem for Ruby", true),
    form("texlive-", "", "macros for TeX", true),
    form("xfce4-", "-plugin", "panel plug-in", false),
];

static STEMS: &[&str] = &[
    "aalto", "abacus", "accord", "acorn", "agave", "airfoil", "alder", "amber", "anvil", "apex", "aria",
    "aspen", "atlas", "aurora", "badge", "balsa", "basalt", "beacon", "birch", "bison", "bolt", "bramble",
    "breeze", "brook", "cairn", "canopy", "carbon", "cedar", "cinder", "cobalt", "comet", "copper", "coral",
    "crest", "delta", "dune", "ember", "fjord", "flint", "garnet", "glade", "granite", "grove", "harbor",
    "hazel", "heron", "indigo", "iris", "ivory", "jasper", "juniper", "kelp", "kestrel", "lagoon", "larch",
    "laurel", "lichen", "linden", "lumen", "maple", "marble", "meadow", "mica", "nectar", "nimbus", "oasis",
    "onyx", "opal", "orchid", "osprey", "pebble", "petrel", "pine", "plume", "quartz", "quill", "raven",
    "reed", "ridge", "river", "saffron", "sage", "sienna", "slate", "spruce", "summit", "tern", "thistle",
    "timber", "topaz", "tundra", "umber", "vale", "velvet", "willow", "zephyr",
];

/// Permille of machines, name, version, description. The first part is on every machine.
static KNOWN: &[(u32, &str, &str, &str)] = &[
    (1000, "adduser", "3.134", "adduser, packaged"),
    (1000, "apt", "2.6.1", "programs of apt"),
    (1000, "base-files", "12.4", "base-files, packaged"),
    (1000, "base-passwd", "3.6.1", "programs of base-passwd"),
    (1000, "bash", "5.2.15-2+b8", "programs of bash"),
    (1000, "bsdutils", "1:2.38.1-5", "bsdutils for this system"),
    (1000, "coreutils", "9.1-1", "coreutils for this system"),
    (1000, "dash", "0.5.12-2", "dash, packaged"),
    (1000, "debconf", "1.5.82", "debconf, packaged"),
    (
        1000,
        "debian-archive-keyring",
        "2023.3",
        "debian-archive-keyring, packaged",
    ),
    (1000, "debianutils", "5.7-0.5", "programs of debianutils"),
    (1000, "diffutils", "1:3.8-4", "diffutils, packaged"),
    (1000, "dpkg", "1.21.22", "dpkg for this system"),
    (1000, "e2fsprogs", "1.47.0-2", "programs of e2fsprogs"),
    (1000, "findutils", "4.9.0-4", "findutils for this system"),
    (1000, "gcc-12-base", "12.2.0-14", "gcc-12-base, packaged"),
    (1000, "gpgv", "2.2.40-1.1", "gpgv for this system"),
    (1000, "grep", "3.8-5", "grep for this system"),
    (1000, "gzip", "1.12-1", "programs of gzip"),
    (1000, "hostname", "3.23+nmu1", "hostname for this system"),
    (
        1000,
        "init-system-helpers",
        "1.65.2",
        "init-system-helpers, packaged",
    ),
    (1000, "libacl1", "2.3.1-3", "shared library acl1"),
    (1000, "libapt-pkg6.0", "2.6.1", "shared library apt-pkg6.0"),
    (1000, "libattr1", "1:2.5.1-4", "shared library attr1"),
    (
        1000,
        "libaudit-common",
        "1:3.0.9-1",
        "shared library audit-common",
    ),
    (1000, "libaudit1", "1:3.0.9-1", "shared library audit1"),
    (1000, "libblkid1", "2.38.1-5", "shared library blkid1"),
    (1000, "libbz2-1.0", "1.0.8-5+b1", "shared library bz2-1.0"),
    (1000, "libc-bin", "2.36-9", "shared library c-bin"),
    (1000, "libc6", "2.36-9", "shared library c6"),
    (1000, "libcap-ng0", "0.8.3-1+b3", "shared library cap-ng0"),
    (1000, "libcap2", "1:2.66-4", "shared library cap2"),
    (1000, "libcom-err2", "1.47.0-2", "shared library com-err2"),
    (1000, "libcrypt1", "1:4.4.33-2", "shared library crypt1"),
    (1000, "libdb5.3", "5.3.28+dfsg2-1", "shared library db5.3"),
    (
        1000,
        "libdebconfclient0",
        "0.270",
        "shared library debconfclient0",
    ),
    (1000, "libext2fs2", "1.47.0-2", "shared library ext2fs2"),
    (1000, "libffi8", "3.4.4-1", "shared library ffi8"),
    (1000, "libgcc-s1", "12.2.0-14", "shared library gcc-s1"),
    (1000, "libgcrypt20", "1.10.1-3", "shared library gcrypt20"),
    (1000, "libgmp10", "2:6.2.1+dfsg1-1.1", "shared library gmp10"),
    (1000, "libgnutls30", "3.7.9-2", "shared library gnutls30"),
    (1000, "libgpg-error0", "1.46-1", "shared library gpg-error0"),
    (1000, "libhogweed6", "3.8.1-2", "shared library hogweed6"),
    (1000, "libidn2-0", "2.3.3-1+b1", "shared library idn2-0"),
    (1000, "liblz4-1", "1.9.4-1", "shared library lz4-1"),
    (1000, "liblzma5", "5.4.1-1", "shared library lzma5"),
    (1000, "libmd0", "1.0.4-2", "shared library md0"),
    (1000, "libmount1", "2.38.1-5", "shared library mount1"),
    (1000, "libnettle8", "3.8.1-2", "shared library nettle8"),
    (1000, "libp11-kit0", "0.24.1-2", "shared library p11-kit0"),
    (1000, "libpam-modules", "1.5.2-6", "shared library pam-modules"),
    (
        1000,
        "libpam-modules-bin",
        "1.5.2-6",
        "shared library pam-modules-bin",
    ),
    (1000, "libpam-runtime", "1.5.2-6", "shared library pam-runtime"),
    (1000, "libpam0g", "1.5.2-6", "shared library pam0g"),
    (1000, "libpcre2-8-0", "10.42-1", "shared library pcre2-8-0"),
    (1000, "libseccomp2", "2.5.4-1", "shared library seccomp2"),
    (1000, "libselinux1", "3.4-1+b6", "shared library selinux1"),
    (
        1000,
        "libsemanage-common",
        "3.4-1",
        "shared library semanage-common",
    ),
    (1000, "libsemanage2", "3.4-1+b5", "shared library semanage2"),
    (1000, "libsepol2", "3.4-2.1", "shared library sepol2"),
    (1000, "libsmartcols1", "2.38.1-5", "shared library smartcols1"),
    (1000, "libss2", "1.47.0-2", "shared library ss2"),
    (1000, "libstdc++6", "12.2.0-14", "shared library stdc++6"),
    (1000, "libsystemd0", "252.39-1", "shared library systemd0"),
    (1000, "libtasn1-6", "4.19.0-2", "shared library tasn1-6"),
    (1000, "libtinfo6", "6.4-4", "shared library tinfo6"),
    (1000, "libudev1", "252.39-1", "shared library udev1"),
    (1000, "libunistring2", "1.0-2", "shared library unistring2"),
    (1000, "libuuid1", "2.38.1-5", "shared library uuid1"),
    (1000, "libxxhash0", "0.8.1-1", "shared library xxhash0"),
    (1000, "libzstd1", "1.5.4+dfsg2-5", "shared library zstd1"),
    (1000, "login", "1:4.13+dfsg1-1", "login for this system"),
    (1000, "logsave", "1.47.0-2", "logsave, packaged"),
    (1000, "mawk", "1.3.4.20200120-3.1", "mawk for this system"),
    (1000, "mount", "2.38.1-5", "mount for this system"),
    (1000, "ncurses-base", "6.4-4", "programs of ncurses-base"),
    (1000, "ncurses-bin", "6.4-4", "programs of ncurses-bin"),
    (1000, "passwd", "1:4.13+dfsg1-1", "programs of passwd"),
    (1000, "perl-base", "5.36.0-7", "programs of perl-base"),
    (1000, "sed", "4.9-1", "sed, packaged"),
    (1000, "sysvinit-utils", "3.06-4", "sysvinit-utils, packaged"),
    (1000, "tar", "1.34+dfsg-1.2", "tar for this system"),
    (1000, "tzdata", "2025b-0", "tzdata, packaged"),
    (1000, "usr-is-merged", "37", "programs of usr-is-merged"),
    (1000, "util-linux", "2.38.1-5", "util-linux for this system"),
    (1000, "util-linux-extra", "2.38.1-5", "util-linux-extra, packaged"),
    (1000, "zlib1g", "1:1.2.13.dfsg-1", "zlib1g, packaged"),
    (120, "apache2", "8.14.5-1", "programs of apache2"),
    (700, "apparmor", "5.29.4-2", "programs of apparmor"),
    (350, "avahi-daemon", "0.8-10", "avahi-daemon for this system"),
    (800, "bash-completion", "8.6.6-1", "programs of bash-completion"),
    (500, "bind9-dnsutils", "9.22.5-2", "bind9-dnsutils, packaged"),
    (300, "bluez", "1.29.3-2", "bluez for this system"),
    (60, "borgbackup", "3.0.1-3", "borgbackup, packaged"),
    (350, "build-essential", "12.9", "programs of build-essential"),
    (500, "busybox", "7.19.2-5", "busybox for this system"),
    (
        970,
        "ca-certificates",
        "20230311",
        "ca-certificates for this system",
    ),
    (120, "chromium", "156.0.8078.79-1", "chromium for this system"),
    (250, "chrony", "6.21.2-5", "chrony, packaged"),
    (250, "cifs-utils", "5.14.1-2", "programs of cifs-utils"),
    (60, "clamav", "4.27.1-3", "clamav for this system"),
    (250, "cloud-init", "7.0.5-2", "cloud-init for this system"),
    (200, "containerd", "1.6.20~ds1-1", "programs of containerd"),
    (900, "cron", "3.5.5-3", "cron, packaged"),
    (350, "cryptsetup", "7.10.3-4", "cryptsetup for this system"),
    (400, "cups", "7.24.7-5", "cups for this system"),
    (850, "curl", "7.88.1-10", "curl for this system"),
    (950, "dbus", "1.14.10-1", "programs of dbus"),
    (200, "default-jre", "2.8.5-3", "programs of default-jre"),
    (700, "dmidecode", "2.11.3-5", "programs of dmidecode"),
    (200, "docker.io", "20.10.24+dfsg1-1", "programs of docker.io"),
    (40, "dovecot-core", "7.17.1-5", "dovecot-core for this system"),
    (80, "emacs", "4.7.5-1", "emacs for this system"),
    (500, "ethtool", "7.16.3-3", "ethtool for this system"),
    (350, "evince", "2.19.4-3", "programs of evince"),
    (300, "exim4-base", "9.21.3-1", "exim4-base, packaged"),
    (150, "fail2ban", "7.22.1-3", "fail2ban for this system"),
    (250, "ffmpeg", "5.22.7-4", "programs of ffmpeg"),
    (850, "file", "1:5.44-3", "file, packaged"),
    (450, "firefox-esr", "8.26.1-3", "programs of firefox-esr"),
    (600, "fontconfig", "2.14.1-4", "fontconfig, packaged"),
    (300, "gdm3", "1.25.8-5", "gdm3 for this system"),
    (400, "ghostscript", "6.8.7-3", "ghostscript, packaged"),
    (200, "gimp", "1.5.2-2", "gimp for this system"),
    (600, "git", "1:2.39.5-0", "programs of git"),
    (350, "gnome-shell", "9.22.3-1", "gnome-shell, packaged"),
    (850, "gnupg", "2.2.40-1.1", "programs of gnupg"),
    (40, "grafana", "2.24.5-3", "programs of grafana"),
    (500, "grub-efi-amd64", "2.28.5-3", "programs of grub-efi-amd64"),
    (
        100,
        "gstreamer1.0-tools",
        "1.0.5-5",
        "gstreamer1.0-tools for this system",
    ),
    (60, "haproxy", "9.29.2-5", "haproxy, packaged"),
    (550, "htop", "3.25.1-4", "htop, packaged"),
    (500, "ifupdown", "6.11.2-3", "ifupdown, packaged"),
    (250, "imagemagick", "7.1.3-4", "imagemagick for this system"),
    (120, "inkscape", "7.23.7-4", "inkscape for this system"),
    (400, "intel-microcode", "6.13.0-5", "intel-microcode, packaged"),
    (970, "iproute2", "6.1.0-3", "programs of iproute2"),
    (700, "iptables", "1.8.9-2", "iptables for this system"),
    (950, "iputils-ping", "1.18.5-2", "iputils-ping for this system"),
    (350, "jq", "1.6-2.1", "jq, packaged"),
    (950, "kmod", "4.22.7-5", "kmod for this system"),
    (120, "krb5-user", "4.8.2-5", "krb5-user for this system"),
    (950, "less", "590-2.1", "less for this system"),
    (850, "libcurl4", "7.88.1-10", "shared library curl4"),
    (
        350,
        "libreoffice-writer",
        "9.0.6-5",
        "shared library reoffice-writer",
    ),
    (
        350,
        "libreoffice-calc",
        "1.14.4-3",
        "shared library reoffice-calc",
    ),
    (960, "libssl3", "3.0.19-1", "shared library ssl3"),
    (120, "libvirt-daemon", "3.27.7-4", "shared library virt-daemon"),
    (600, "libx11-6", "2:1.8.4-2", "shared library x11-6"),
    (
        800,
        "linux-image-amd64",
        "3.28.8-2",
        "linux-image-amd64, packaged",
    ),
    (850, "locales", "2.36-9", "programs of locales"),
    (900, "logrotate", "9.4.1-2", "logrotate, packaged"),
    (800, "lsb-release", "12.0-1", "lsb-release, packaged"),
    (550, "lsof", "4.95.0-1", "lsof for this system"),
    (450, "lvm2", "2.7.5-4", "programs of lvm2"),
    (150, "mailutils", "3.15.2-1", "mailutils, packaged"),
    (850, "man-db", "2.11.2-2", "man-db for this system"),
    (120, "mariadb-server", "9.15.5-4", "mariadb-server, packaged"),
    (200, "mc", "6.23.1-4", "mc, packaged"),
    (150, "mesa-utils", "3.8.5-4", "mesa-utils, packaged"),
    (300, "mokutil", "7.3.1-1", "mokutil for this system"),
    (50, "mosh", "4.22.6-2", "mosh for this system"),
    (60, "mutt", "3.24.0-4", "mutt, packaged"),
    (850, "nano", "2.3.0-1", "programs of nano"),
    (150, "needrestart", "2.11.3-2", "programs of needrestart"),
    (100, "neovim", "3.26.8-3", "neovim, packaged"),
    (450, "net-tools", "2.10-0.1", "net-tools, packaged"),
    (450, "network-manager", "3.7.2-5", "network-manager, packaged"),
    (250, "nfs-common", "4.20.4-5", "nfs-common for this system"),
    (450, "nftables", "1.0.6-2", "programs of nftables"),
    (200, "nginx", "9.11.1-1", "nginx, packaged"),
    (120, "nmap", "2.9.2-3", "programs of nmap"),
    (
        200,
        "nodejs",
        "20.20.2-1nodesource1+repack1",
        "programs of nodejs",
    ),
    (200, "openjdk-17-jre", "17.0.15+6-1", "openjdk-17-jre, packaged"),
    (
        950,
        "openssh-client",
        "1:9.2p1-2",
        "openssh-client for this system",
    ),
    (850, "openssh-server", "6.7.8-3", "openssh-server, packaged"),
    (930, "openssl", "3.0.19-1", "openssl, packaged"),
    (150, "openvpn", "3.4.4-4", "openvpn, packaged"),
    (150, "p7zip-full", "1.17.4-2", "p7zip-full for this system"),
    (400, "parted", "1.2.7-1", "parted for this system"),
    (700, "pciutils", "8.18.3-2", "programs of pciutils"),
    (120, "php8.2-cli", "1.3.0-4", "php8.2-cli for this system"),
    (350, "pipewire", "5.15.4-5", "programs of pipewire"),
    (400, "plymouth", "8.22.5-5", "programs of plymouth"),
    (100, "podman", "7.5.2-2", "podman for this system"),
    (500, "policykit-1", "3.18.0-5", "policykit-1, packaged"),
    (150, "postfix", "6.10.7-3", "postfix, packaged"),
    (130, "postgresql-15", "15.18-0", "programs of postgresql-15"),
    (950, "procps", "2:4.0.2-3", "procps for this system"),
    (
        100,
        "prometheus-node-exporter",
        "2.3.7-5",
        "programs of prometheus-node-exporter",
    ),
    (250, "pulseaudio", "5.11.3-5", "programs of pulseaudio"),
    (80, "puppet-agent", "9.14.3-2", "puppet-agent, packaged"),
    (930, "python3", "3.11.2-1+b1", "python3, packaged"),
    (500, "python3-apt", "2.6.0", "Python 3 module apt"),
    (250, "python3-pip", "23.0.1+dfsg-1", "Python 3 module pip"),
    (
        400,
        "python3-requests",
        "2.28.1+dfsg-1",
        "Python 3 module requests",
    ),
    (250, "qemu-guest-agent", "3.11.2-2", "qemu-guest-agent, packaged"),
    (
        100,
        "qemu-system-x86",
        "7.9.3-1",
        "qemu-system-x86 for this system",
    ),
    (
        30,
        "rabbitmq-server",
        "1.15.7-3",
        "rabbitmq-server for this system",
    ),
    (90, "redis-server", "1.17.4-5", "redis-server for this system"),
    (60, "restic", "4.7.0-5", "restic for this system"),
    (700, "rsync", "2.12.3-3", "programs of rsync"),
    (650, "rsyslog", "4.10.5-1", "rsyslog for this system"),
    (120, "ruby", "4.29.7-1", "ruby for this system"),
    (120, "samba", "8.9.1-2", "programs of samba"),
    (300, "screen", "1.14.6-3", "screen for this system"),
    (300, "smartmontools", "5.28.0-3", "programs of smartmontools"),
    (250, "snapd", "8.5.3-3", "programs of snapd"),
    (120, "snmpd", "5.26.3-5", "programs of snmpd"),
    (
        350,
        "software-properties-common",
        "0.99.30-4.1",
        "programs of software-properties-common",
    ),
    (250, "sqlite3", "3.40.1-2", "sqlite3 for this system"),
    (40, "squid", "9.12.4-3", "squid, packaged"),
    (150, "sssd", "9.9.1-3", "sssd, packaged"),
    (250, "strace", "6.1-0.1", "strace, packaged"),
    (900, "sudo", "6.11.0-2", "sudo, packaged"),
    (40, "syslog-ng", "8.17.4-4", "programs of syslog-ng"),
    (960, "systemd", "252.39-1", "programs of systemd"),
    (
        600,
        "systemd-timesyncd",
        "252.39-1",
        "programs of systemd-timesyncd",
    ),
    (300, "tcpdump", "9.9.4-1", "tcpdump, packaged"),
    (200, "telnet", "8.2.3-3", "programs of telnet"),
    (250, "thunderbird", "7.29.3-5", "thunderbird for this system"),
    (400, "tmux", "3.3a-3", "programs of tmux"),
    (40, "tomcat10", "4.4.1-3", "tomcat10 for this system"),
    (350, "traceroute", "7.9.1-4", "traceroute for this system"),
    (350, "tree", "9.18.2-2", "tree, packaged"),
    (300, "ufw", "5.11.5-2", "programs of ufw"),
    (
        500,
        "unattended-upgrades",
        "8.4.5-2",
        "programs of unattended-upgrades",
    ),
    (650, "unzip", "6.0-28", "programs of unzip"),
    (550, "usbutils", "8.6.5-4", "programs of usbutils"),
    (20, "varnish", "9.27.2-5", "varnish, packaged"),
    (550, "vim", "2:9.0.1378-2", "vim, packaged"),
    (250, "vlc", "7.0.6-2", "vlc for this system"),
    (850, "wget", "1.21.3-1", "wget for this system"),
    (120, "wireguard-tools", "8.14.5-1", "programs of wireguard-tools"),
    (90, "wireshark", "5.28.8-5", "programs of wireshark"),
    (400, "wpasupplicant", "9.19.2-3", "wpasupplicant, packaged"),
    (200, "xfsprogs", "7.23.2-5", "xfsprogs for this system"),
    (350, "xorg", "3.4.1-2", "xorg, packaged"),
    (300, "xterm", "9.11.3-4", "xterm, packaged"),
    (900, "xz-utils", "5.4.1-1", "xz-utils, packaged"),
    (
        40,
        "yubikey-manager",
        "7.18.5-2",
        "yubikey-manager for this system",
    ),
    (120, "zabbix-agent", "6.21.1-1", "zabbix-agent, packaged"),
    (500, "zip", "3.0-13", "programs of zip"),
    (200, "zsh", "2.13.5-3", "programs of zsh"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Machine;
    use oco_agent::host::Os;
    use std::collections::BTreeMap;
    use std::time::UNIX_EPOCH;

    fn packages(index: u64) -> BTreeMap<(String, Option<&'static str>), bool> {
        let profile = Profile::draw(Machine {
            seed: 5,
            index,
            os: Os::Linux,
        });
        let mut packages = BTreeMap::new();
        each_package(&profile, "+deb12u", UNIX_EPOCH, |package| {
            assert!(!package.version.is_empty());
            let key = (package.name.to_owned(), package.architecture);
            assert!(
                packages.insert(key, package.status.is_installed()).is_none(),
                "{} twice",
                package.name
            );
        });
        packages
    }

    #[test]
    fn machines_have_as_many_packages_as_real_ones_and_each_only_once() {
        let counts: Vec<usize> = (0..60).map(|index| packages(index).len()).collect();
        assert!(
            counts.iter().all(|count| (350..2100).contains(count)),
            "{counts:?}"
        );
        assert!(
            counts.iter().any(|count| *count < 600) && counts.iter().any(|count| *count > 1600),
            "{counts:?}"
        );
    }

    #[test]
    fn base_set_is_everywhere_and_oddities_occur() {
        let all: Vec<_> = (0..40).map(packages).collect();
        assert!(all.iter().all(|packages| packages[&("libc6".to_owned(), None)]));
        assert!(
            all.iter()
                .any(|packages| packages.values().any(|installed| !installed))
        );
        assert!(all.iter().any(|packages| {
            packages
                .keys()
                .any(|(_, architecture)| *architecture == Some("i386"))
        }));
    }
}
