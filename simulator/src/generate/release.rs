//! Releases of operating systems, with what each of them says about itself.

/// A Linux distribution's release.
#[derive(Debug, PartialEq, Eq)]
pub struct Linux {
    /// How common it is.
    pub weight: u32,
    /// `NAME` in os-release.
    pub name: &'static str,
    /// `VERSION_ID`; rolling distributions have none.
    pub version_id: Option<&'static str>,
    /// `ID`.
    pub id: &'static str,
    /// Kernel release, without the architecture that Debian puts at its end.
    pub kernel: &'static str,
    /// What Debian's kernels have at their end.
    pub kernel_has_arch: bool,
    /// How it keeps its packages.
    pub packages: Packages,
    /// What it puts behind a package's version when it updates one, before a number.
    pub suffix: &'static str,
    /// What is at the end of every version of its packages.
    pub package_tag: &'static str,
    /// Whether os-release is only below `/usr/lib`, as in minimal images.
    pub only_usr_lib: bool,
}

impl Linux {
    /// Whether its system programs are as old as Red Hat 7.
    pub fn is_of_2014(&self) -> bool {
        self.package_tag == ".el7"
    }
}

/// A package manager with its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// dpkg: `/var/lib/dpkg/status`.
    Dpkg,
    /// rpm, with its database at that path.
    Rpm(&'static str),
    /// pacman: `/var/lib/pacman/local`.
    Pacman,
    /// apk: `/lib/apk/db/installed`.
    Apk,
}

/// Linux distributions.
#[rustfmt::skip]
pub static LINUX: &[Linux] = &[
    Linux { weight: 30, name: "Debian GNU/Linux", version_id: Some("12"), id: "debian", kernel: "6.1.0-27-", kernel_has_arch: true, packages: Packages::Dpkg, suffix: "+deb12u", package_tag: "", only_usr_lib: false },
    Linux { weight: 8, name: "Debian GNU/Linux", version_id: Some("11"), id: "debian", kernel: "5.10.0-33-", kernel_has_arch: true, packages: Packages::Dpkg, suffix: "+deb11u", package_tag: "", only_usr_lib: false },
    Linux { weight: 10, name: "Debian GNU/Linux", version_id: Some("13"), id: "debian", kernel: "6.12.48+deb13-", kernel_has_arch: true, packages: Packages::Dpkg, suffix: "+deb13u", package_tag: "", only_usr_lib: true },
    Linux { weight: 22, name: "Ubuntu", version_id: Some("22.04"), id: "ubuntu", kernel: "5.15.0-125-generic", kernel_has_arch: false, packages: Packages::Dpkg, suffix: "ubuntu0.22.04.", package_tag: "", only_usr_lib: false },
    Linux { weight: 18, name: "Ubuntu", version_id: Some("24.04"), id: "ubuntu", kernel: "6.8.0-48-generic", kernel_has_arch: false, packages: Packages::Dpkg, suffix: "ubuntu0.24.04.", package_tag: "", only_usr_lib: false },
    Linux { weight: 4, name: "Linux Mint", version_id: Some("21.3"), id: "linuxmint", kernel: "5.15.0-125-generic", kernel_has_arch: false, packages: Packages::Dpkg, suffix: "ubuntu0.22.04.", package_tag: "", only_usr_lib: false },
    Linux { weight: 4, name: "Red Hat Enterprise Linux", version_id: Some("9.4"), id: "rhel", kernel: "5.14.0-427.40.1.el9_4.", kernel_has_arch: true, packages: Packages::Rpm("/var/lib/rpm/rpmdb.sqlite"), suffix: "_", package_tag: ".el9", only_usr_lib: false },
    Linux { weight: 2, name: "Red Hat Enterprise Linux Server", version_id: Some("7.9"), id: "rhel", kernel: "3.10.0-1160.119.1.el7.", kernel_has_arch: true, packages: Packages::Rpm("/var/lib/rpm/Packages"), suffix: "_", package_tag: ".el7", only_usr_lib: false },
    Linux { weight: 2, name: "openSUSE Leap", version_id: Some("15.6"), id: "opensuse-leap", kernel: "6.4.0-150600.23.25-default", kernel_has_arch: false, packages: Packages::Rpm("/usr/lib/sysimage/rpm/Packages.db"), suffix: ".", package_tag: ".150600", only_usr_lib: false },
    Linux { weight: 2, name: "Arch Linux", version_id: None, id: "arch", kernel: "6.11.6-arch1-1", kernel_has_arch: false, packages: Packages::Pacman, suffix: ".", package_tag: "", only_usr_lib: false },
    Linux { weight: 2, name: "Alpine Linux", version_id: Some("3.20.3"), id: "alpine", kernel: "6.6.58-0-lts", kernel_has_arch: false, packages: Packages::Apk, suffix: "0", package_tag: "", only_usr_lib: false },
];

/// A macOS release.
#[derive(Debug, PartialEq, Eq)]
pub struct MacOs {
    /// How common it is.
    pub weight: u32,
    /// Product version.
    pub version: &'static str,
    /// Build.
    pub build: &'static str,
    /// Darwin's release.
    pub kernel: &'static str,
}

/// macOS releases.
#[rustfmt::skip]
pub static MACOS: &[MacOs] = &[
    MacOs { weight: 4, version: "11.7.10", build: "20G1427", kernel: "20.6.0" },
    MacOs { weight: 8, version: "12.7.6", build: "21H1320", kernel: "21.6.0" },
    MacOs { weight: 15, version: "13.7.1", build: "22H221", kernel: "22.6.0" },
    MacOs { weight: 35, version: "14.7.1", build: "23H222", kernel: "23.6.0" },
    MacOs { weight: 38, version: "15.1", build: "24B83", kernel: "24.1.0" },
];

/// A Windows release.
#[derive(Debug, PartialEq, Eq)]
pub struct Windows {
    /// How common it is.
    pub weight: u32,
    /// `ProductName` in the registry, which says 10 on Windows 11 too.
    pub product_name: &'static str,
    /// What it really is.
    pub name: &'static str,
    /// `EditionID`.
    pub edition: &'static str,
    /// `InstallationType`.
    pub installation: &'static str,
    /// `CurrentVersion`, frozen at 6.3 since Windows 8.1.
    pub current_version: &'static str,
    /// `CurrentMajorVersionNumber`, only since Windows 10.
    pub major: Option<u32>,
    /// `CurrentBuildNumber`.
    pub build: &'static str,
}

impl Windows {
    /// `10.0.22631`.
    pub fn version(&self) -> String {
        match self.major {
            Some(major) => format!("{major}.0.{}", self.build),
            None => format!("{}.{}", self.current_version, self.build),
        }
    }

    /// Whether it is a server.
    pub fn is_server(&self) -> bool {
        self.installation.starts_with("Server")
    }
}

/// Windows releases.
#[rustfmt::skip]
pub static WINDOWS: &[Windows] = &[
    Windows { weight: 30, product_name: "Windows 10 Pro", name: "Windows 11 Pro", edition: "Professional", installation: "Client", current_version: "6.3", major: Some(10), build: "22631" },
    Windows { weight: 14, product_name: "Windows 10 Enterprise", name: "Windows 11 Enterprise", edition: "Enterprise", installation: "Client", current_version: "6.3", major: Some(10), build: "26100" },
    Windows { weight: 3, product_name: "Windows 10 Home", name: "Windows 11 Home", edition: "Core", installation: "Client", current_version: "6.3", major: Some(10), build: "22621" },
    Windows { weight: 22, product_name: "Windows 10 Pro", name: "Windows 10 Pro", edition: "Professional", installation: "Client", current_version: "6.3", major: Some(10), build: "19045" },
    Windows { weight: 4, product_name: "Windows 10 Enterprise LTSC 2019", name: "Windows 10 Enterprise LTSC 2019", edition: "EnterpriseS", installation: "Client", current_version: "6.3", major: Some(10), build: "17763" },
    Windows { weight: 2, product_name: "Windows 7 Professional", name: "Windows 7 Professional", edition: "Professional", installation: "Client", current_version: "6.1", major: None, build: "7601" },
    Windows { weight: 2, product_name: "Windows Server 2012 R2 Standard", name: "Windows Server 2012 R2 Standard", edition: "ServerStandard", installation: "Server", current_version: "6.3", major: None, build: "9600" },
    Windows { weight: 4, product_name: "Windows Server 2016 Standard", name: "Windows Server 2016 Standard", edition: "ServerStandard", installation: "Server", current_version: "6.3", major: Some(10), build: "14393" },
    Windows { weight: 7, product_name: "Windows Server 2019 Standard", name: "Windows Server 2019 Standard", edition: "ServerStandard", installation: "Server", current_version: "6.3", major: Some(10), build: "17763" },
    Windows { weight: 8, product_name: "Windows Server 2022 Datacenter", name: "Windows Server 2022 Datacenter", edition: "ServerDatacenter", installation: "Server Core", current_version: "6.3", major: Some(10), build: "20348" },
    Windows { weight: 4, product_name: "Windows Server 2025 Standard", name: "Windows Server 2025 Standard", edition: "ServerStandard", installation: "Server", current_version: "6.3", major: Some(10), build: "26100" },
];
