//! The registry: release, programs, profiles of users.

use super::peripherals;
use crate::generate::profile::{Profile, Release};
use crate::generate::software::windows::{self as programs, Program};
use crate::generate::{Draw, Topic, release};
use oco_agent::host::{Hive, RegistryKey, RegistryValue};
use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

/// Keys below `HKEY_LOCAL_MACHINE`, in lower case.
const VERSION: &str = r"software\microsoft\windows nt\currentversion";
const ENVIRONMENT: &str = r"system\currentcontrolset\control\session manager\environment";
const SECURE_BOOT: &str = r"system\currentcontrolset\control\secureboot\state";
const DEVICES: &str = r"system\currentcontrolset\enum\";
const UNINSTALL: &str = r"software\microsoft\windows\currentversion\uninstall";
const PROFILES: &str = r"software\microsoft\windows nt\currentversion\profilelist";

const STORE: &str = r"software\microsoft\windows\currentversion\appx\appxalluserstore";
const FOR_EVERYBODY: &str = r"software\microsoft\windows\currentversion\appx\appxalluserstore\applications";

/// Keys in which nothing is that an agent reads, but which are on every machine.
const OTHERS: [&str; 3] = [
    r"software\policies\microsoft\windows",
    r"software\wow6432node\microsoft",
    r"system\currentcontrolset\services",
];
/// Keys in the hive of a user.
const OF_USERS: [&str; 4] = [
    "control panel",
    "environment",
    r"software\microsoft\windows\currentversion",
    r"software\policies",
];

/// Stream of draws.
const HIDDEN_NAME: u64 = 17;

type Values = BTreeMap<String, RegistryValue>;

/// Values of a registry key.
pub(crate) fn registry_values(profile: &Profile, key: &RegistryKey, now: SystemTime) -> io::Result<Values> {
    let Release::Windows(release) = profile.release else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let path = key.path.to_lowercase();
    if key.hive == Hive::Users {
        return names_below(in_hive(&path), &OF_USERS).map(|_| Values::new());
    }
    match path.as_str() {
        VERSION => Ok(version_values(profile, release)),
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
            if let Some(device) = path.strip_prefix(DEVICES) {
                return peripherals::screen_parameters(profile, device)
                    .ok_or_else(|| io::ErrorKind::NotFound.into());
            }
            if let Some(name) = below(&path, UNINSTALL) {
                let program =
                    programs::program_at(profile, key.view, name, now).ok_or(io::ErrorKind::NotFound)?;
                return Ok(program_values(&program));
            }
            match below(&path, PROFILES) {
                Some(sid) => profile_values(profile, sid),
                None => names_below(&path, &on_the_way()).map(|_| Values::new()),
            }
        }
    }
}

/// Names of the keys below one.
pub(crate) fn registry_subkeys(profile: &Profile, key: &RegistryKey) -> io::Result<Vec<String>> {
    let path = key.path.to_lowercase();
    if key.hive == Hive::Users {
        return names_below(in_hive(&path), &OF_USERS);
    }
    match path.as_str() {
        // Which programs there are doesn't change with time, only their versions do.
        UNINSTALL => {
            let programs = programs::programs(profile, key.view, SystemTime::UNIX_EPOCH);
            Ok(programs.into_iter().map(|program| program.key).collect())
        }
        PROFILES => Ok(profile_sids(profile)),
        STORE if programs::store_packages(profile).is_empty() => Err(io::ErrorKind::NotFound.into()),
        STORE => Ok(["Applications", "EndOfLife", "S-1-5-18"]
            .map(str::to_owned)
            .into_iter()
            .chain(people(profile))
            .collect()),
        FOR_EVERYBODY => {
            let packages = programs::store_packages(profile).into_iter();
            let provisioned = packages.filter_map(|package| package.provisioned());
            Ok(provisioned.chain(["Broken".to_owned()]).collect())
        }
        _ => match below(&path, STORE) {
            Some(sid)
                if people(profile)
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(sid)) =>
            {
                let packages = programs::store_packages(profile).into_iter();
                Ok(packages.map(|package| package.full_name()).collect())
            }
            _ => names_below(&path, &on_the_way()),
        },
    }
}

fn on_the_way() -> [&'static str; 10] {
    let [policies, wow, services] = OTHERS;
    [
        VERSION,
        ENVIRONMENT,
        SECURE_BOOT,
        UNINSTALL,
        PROFILES,
        STORE,
        DEVICES.trim_end_matches('\\'),
        policies,
        wow,
        services,
    ]
}

/// The path of a key below its user's.
fn in_hive(path: &str) -> &str {
    path.split_once('\\').map_or("", |(_, rest)| rest)
}

/// Names directly below a key, which is one of `keys` or on the way to some.
fn names_below(path: &str, keys: &[&str]) -> io::Result<Vec<String>> {
    let is_one = path.is_empty() || keys.contains(&path);
    let rest = |key: &&str| match path {
        "" => Some((*key).to_owned()),
        _ => key.strip_prefix(path)?.strip_prefix('\\').map(str::to_owned),
    };
    let below = keys.iter().filter_map(rest);
    let mut names: Vec<String> = below
        .filter_map(|rest| Some(rest.split('\\').next()?.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() && !is_one {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(names)
}

fn version_values(profile: &Profile, release: &release::Windows) -> Values {
    let mut values = values([
        ("ProductName", sz(release.product_name)),
        ("EditionID", sz(release.edition)),
        ("InstallationType", sz(release.installation)),
        ("CurrentVersion", sz(release.current_version)),
        ("CurrentBuildNumber", sz(release.build)),
        ("CurrentBuild", sz(release.build)),
    ]);
    if profile.hides_product_name(release) {
        values.remove("ProductName");
    }
    if let Some(major) = release.major {
        values.insert("CurrentMajorVersionNumber".into(), RegistryValue::Dword(major));
        values.insert("CurrentMinorVersionNumber".into(), RegistryValue::Dword(0));
        values.insert("UBR".into(), RegistryValue::Dword(4317));
    }
    values
}

impl Profile {
    /// Whether somebody has removed the product's name, which the edition tells as well.
    fn hides_product_name(&self, release: &release::Windows) -> bool {
        let told = release.major.is_some() && release.edition == "Professional";
        told && Draw::new(self.machine, Topic::Identity, HIDDEN_NAME).permille(40)
    }
}

fn program_values(program: &Program) -> Values {
    let texts = [
        ("DisplayName", program.name.as_deref()),
        ("Publisher", program.publisher.as_deref()),
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
    ["S-1-5-18", "S-1-5-19", "S-1-5-20"]
        .into_iter()
        .map(str::to_owned)
        .chain(people(profile))
        .collect()
}

/// Security ids of those who have logged in once, and so have a profile.
fn people(profile: &Profile) -> Vec<String> {
    let machine = profile.machine_sid();
    let accounts = profile.accounts().into_iter();
    let local = accounts
        .filter(|person| person.home.is_some())
        .map(|person| format!("{machine}-{}", person.number));
    let directory = profile.directory_users().into_iter();
    local.chain(directory.map(|user| user.entra_sid())).collect()
}

fn profile_values(profile: &Profile, sid: &str) -> io::Result<Values> {
    let image = |path: String| values([("ProfileImagePath", RegistryValue::ExpandText(path))]);
    match sid {
        "s-1-5-18" => Ok(image(r"%systemroot%\system32\config\systemprofile".into())),
        "s-1-5-19" => Ok(image(r"%systemroot%\ServiceProfiles\LocalService".into())),
        "s-1-5-20" => Ok(image(r"%systemroot%\ServiceProfiles\NetworkService".into())),
        _ => {
            let mut directory = profile.directory_users().into_iter();
            if let Some(user) = directory.find(|user| user.entra_sid().eq_ignore_ascii_case(sid)) {
                return Ok(image(user.windows_home()));
            }
            let machine = profile.machine_sid().to_lowercase();
            let is_it = |number: u32| format!("{machine}-{number}") == sid;
            let person = profile.accounts().into_iter().find(|person| is_it(person.number));
            let person = person.ok_or(io::ErrorKind::NotFound)?;
            let guid = profile.profile_guid(&person);
            let mut values = person.home.map(image).ok_or(io::ErrorKind::NotFound)?;
            values.extend(guid.map(|guid| ("Guid".to_owned(), sz(&format!("{{{}}}", guid.to_uppercase())))));
            Ok(values)
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
