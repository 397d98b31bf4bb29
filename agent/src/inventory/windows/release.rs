//! Edition, version, activation and language of Windows.

use super::registry::{self, Values};
use super::wmi;
use crate::host::{Host, RegistryKey};
use crate::inventory::field::{CollectError, Result};

/// What `SoftwareLicensingProduct` calls Windows itself, as opposed to Office and others.
const WINDOWS_APPLICATION: &str = "55c92734-d682-4d71-983e-d6ec3f16059f";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// `Windows 11 Pro`.
    pub(super) name: String,
    /// `10.0.22631`.
    pub(super) version: String,
}

pub(super) fn read(host: &dyn Host) -> Result<Release> {
    let key = RegistryKey::machine(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion");
    let values = host.registry_values(&key)?;
    parse(&values).ok_or_else(|| CollectError::malformed(key, "no build number or version"))
}

/// `1` if Windows is activated. Only products with a key are of interest, and asking for all takes seconds. What is bought in
/// addition, such as updates for longer, has a key of its own, and may stay licensed where Windows does not.
pub(super) fn license(host: &dyn Host) -> Result<String> {
    let query = format!(
        "SELECT ApplicationID, LicenseIsAddon, LicenseStatus FROM SoftwareLicensingProduct \
         WHERE ApplicationID = '{WINDOWS_APPLICATION}' AND PartialProductKey IS NOT NULL"
    );
    let activated = wmi::rows(host, &query)?.iter().any(|row| {
        wmi::text(row, "ApplicationID").eq_ignore_ascii_case(WINDOWS_APPLICATION)
            && wmi::flag(row, "LicenseIsAddon") != Some(true)
            && wmi::number(row, "LicenseStatus") == Some(1)
    });
    Ok(if activated { "1" } else { "0" }.to_owned())
}

/// Language id, four hexadecimal digits.
pub(super) fn language(host: &dyn Host) -> Result<String> {
    Ok(wmi::text(
        &wmi::row(host, "SELECT Locale FROM Win32_OperatingSystem")?,
        "Locale",
    ))
}

fn parse(values: &Values) -> Option<Release> {
    let build = registry::text(values, "CurrentBuildNumber")?;
    let number: u32 = build.parse().ok()?;
    let version = match registry::dword(values, "CurrentMajorVersionNumber") {
        Some(major) => {
            let minor = registry::dword(values, "CurrentMinorVersionNumber").unwrap_or_default();
            format!("{major}.{minor}")
        }
        // Before Windows 10; since then it is stuck at 6.3.
        None => registry::text(values, "CurrentVersion")?,
    };
    let server = registry::text(values, "InstallationType").is_some_and(|kind| kind.starts_with("Server"));
    let edition = registry::text(values, "EditionID").unwrap_or_default();
    let product = registry::text(values, "ProductName");
    Some(Release {
        name: name(product, server, number, &edition),
        version: format!("{version}.{build}"),
    })
}

/// The product's name, as the edition and the build tell it where the registry is wrong (Windows 11 calls itself
/// Windows 10 there) or silent.
fn name(product: Option<String>, server: bool, build: u32, edition: &str) -> String {
    let Some(product) = product else {
        let edition = EDITIONS
            .iter()
            .find(|(id, _)| *id == edition)
            .map_or(edition, |(_, name)| name);
        return format!("{} {edition}", family(server, build))
            .trim_end()
            .to_owned();
    };
    match product.strip_prefix("Windows 10") {
        Some(rest) if !server && build >= 22_000 => format!("Windows 11{rest}"),
        _ => product,
    }
}

fn family(server: bool, build: u32) -> &'static str {
    let families = if server { &SERVERS[..] } else { &CLIENTS[..] };
    let known = families.iter().find(|(first_build, _)| build >= *first_build);
    known.map_or(if server { "Windows Server" } else { "Windows" }, |(_, name)| {
        name
    })
}

/// First builds of the clients, newest first.
const CLIENTS: [(u32, &str); 5] = [
    (22_000, "Windows 11"),
    (10_240, "Windows 10"),
    (9_600, "Windows 8.1"),
    (9_200, "Windows 8"),
    (7_600, "Windows 7"),
];

/// First builds of the servers, newest first.
const SERVERS: [(u32, &str); 7] = [
    (26_100, "Windows Server 2025"),
    (20_348, "Windows Server 2022"),
    (17_763, "Windows Server 2019"),
    (14_393, "Windows Server 2016"),
    (9_600, "Windows Server 2012 R2"),
    (9_200, "Windows Server 2012"),
    (7_600, "Windows Server 2008 R2"),
];

/// Names of editions that differ from their ids.
const EDITIONS: [(&str, &str); 23] = [
    ("Professional", "Pro"),
    ("ProfessionalN", "Pro N"),
    ("ProfessionalWorkstation", "Pro for Workstations"),
    ("ProfessionalWorkstationN", "Pro N for Workstations"),
    ("ProfessionalEducation", "Pro Education"),
    ("ProfessionalEducationN", "Pro Education N"),
    ("Core", "Home"),
    ("CoreN", "Home N"),
    ("CoreSingleLanguage", "Home Single Language"),
    ("CoreCountrySpecific", "Home China"),
    ("EducationN", "Education N"),
    ("EnterpriseN", "Enterprise N"),
    ("EnterpriseS", "Enterprise LTSC"),
    ("EnterpriseSN", "Enterprise N LTSC"),
    ("EnterpriseEval", "Enterprise Evaluation"),
    ("IoTEnterprise", "IoT Enterprise"),
    ("IoTEnterpriseS", "IoT Enterprise LTSC"),
    ("ServerRdsh", "Enterprise multi-session"),
    ("ServerStandard", "Standard"),
    ("ServerStandardEval", "Standard Evaluation"),
    ("ServerDatacenter", "Datacenter"),
    ("ServerDatacenterEval", "Datacenter Evaluation"),
    ("ServerTurbine", "Datacenter: Azure Edition"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RegistryValue;

    const VERSION_10: [(&str, u32); 2] = [
        ("CurrentMajorVersionNumber", 10),
        ("CurrentMinorVersionNumber", 0),
    ];

    fn values(texts: &[(&str, &str)], dwords: &[(&str, u32)]) -> Values {
        let text =
            |(name, text): &(&str, &str)| ((*name).to_owned(), RegistryValue::Text((*text).to_owned()));
        let dword = |(name, number): &(&str, u32)| ((*name).to_owned(), RegistryValue::Dword(*number));
        texts.iter().map(text).chain(dwords.iter().map(dword)).collect()
    }

    fn name_of(texts: &[(&str, &str)]) -> String {
        parse(&values(texts, &VERSION_10)).unwrap().name
    }

    #[test]
    fn windows_11_is_recognised_by_its_build() {
        let texts = [
            ("ProductName", "Windows 10 Pro"),
            ("CurrentBuildNumber", "22631"),
            ("InstallationType", "Client"),
            ("CurrentVersion", "6.3"),
        ];
        let expected = Release {
            name: "Windows 11 Pro".to_owned(),
            version: "10.0.22631".to_owned(),
        };
        assert_eq!(parse(&values(&texts, &VERSION_10)), Some(expected));
        assert_eq!(
            name_of(&[("ProductName", "Windows 10 Pro"), ("CurrentBuildNumber", "19045")]),
            "Windows 10 Pro"
        );
    }

    #[test]
    fn a_server_of_the_same_build_stays_one() {
        let texts = [
            ("ProductName", "Windows Server 2025 Datacenter"),
            ("CurrentBuildNumber", "26100"),
            ("InstallationType", "Server Core"),
        ];
        assert_eq!(name_of(&texts), "Windows Server 2025 Datacenter");
    }

    #[test]
    fn windows_7_has_its_version_in_one_text() {
        let texts = [
            ("ProductName", "Windows 7 Professional"),
            ("CurrentBuildNumber", "7601"),
            ("CurrentVersion", "6.1"),
        ];
        let expected = Release {
            name: "Windows 7 Professional".to_owned(),
            version: "6.1.7601".to_owned(),
        };
        assert_eq!(parse(&values(&texts, &[])), Some(expected));
    }

    #[test]
    fn without_a_product_name_edition_and_build_tell() {
        let client = [
            ("EditionID", "Professional"),
            ("CurrentBuildNumber", "22631"),
            ("InstallationType", "Client"),
        ];
        assert_eq!(name_of(&client), "Windows 11 Pro");
        let server = [
            ("EditionID", "ServerStandard"),
            ("CurrentBuildNumber", "20348"),
            ("InstallationType", "Server"),
        ];
        assert_eq!(name_of(&server), "Windows Server 2022 Standard");
        assert_eq!(
            name_of(&[("EditionID", "Education"), ("CurrentBuildNumber", "10586")]),
            "Windows 10 Education"
        );
        let home = [
            ("EditionID", "CoreSingleLanguage"),
            ("CurrentBuildNumber", "26100"),
            ("InstallationType", "Client"),
        ];
        assert_eq!(name_of(&home), "Windows 11 Home Single Language");
        assert_eq!(name_of(&[("CurrentBuildNumber", "1")]), "Windows");
    }

    #[test]
    fn without_a_build_there_is_no_answer() {
        assert_eq!(
            parse(&values(&[("ProductName", "Windows 10 Pro")], &VERSION_10)),
            None
        );
        assert_eq!(
            parse(&values(&[("CurrentBuildNumber", "new")], &VERSION_10)),
            None
        );
    }
}
