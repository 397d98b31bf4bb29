//! Installed programs, from the keys that their uninstallers leave in the registry; packages of the store; hotfixes.

use super::{registry, wmi};
use crate::host::{Hive, Host, RegistryKey, RegistryView};
use crate::inventory::field::{Result, field, optional};
use crate::inventory::packages::tidy;
use oco_protocol::inventory::Software;

const UNINSTALL: &str = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall";

const STORE: &str = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Appx\AppxAllUserStore";

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Software>> {
    let mut software = programs(host, RegistryView::Native)?;
    software.extend(programs(host, RegistryView::Wow32)?);
    software.extend(field("software", store_packages(host)).unwrap_or_default());
    software.extend(field("software", hotfixes(host)).unwrap_or_default());
    Ok(tidy(software))
}

/// The programs on one side of the registry; a 32-bit system has no other side.
fn programs(host: &dyn Host, view: RegistryView) -> Result<Vec<Software>> {
    let uninstall = RegistryKey {
        hive: Hive::LocalMachine,
        view,
        path: UNINSTALL.to_owned(),
    };
    let names = match view {
        RegistryView::Native => host.registry_subkeys(&uninstall)?,
        RegistryView::Wow32 => optional(host.registry_subkeys(&uninstall))?.unwrap_or_default(),
    };
    // A key may vanish while it is looked at: somebody uninstalls.
    let keys = names
        .iter()
        .filter_map(|name| field("software", host.registry_values(&uninstall.subkey(name))));
    Ok(keys.filter_map(|values| program(&values)).collect())
}

/// None for keys without a name, which belong to updates and parts of programs.
fn program(values: &registry::Values) -> Option<Software> {
    let name = registry::text(values, "DisplayName")?;
    let system = registry::dword(values, "SystemComponent") == Some(1);
    let publisher = registry::text(values, "Publisher");
    Some(Software {
        name: if system { format!("[System] {name}") } else { name },
        version: registry::text(values, "DisplayVersion").unwrap_or_default(),
        description: publisher
            .or_else(|| registry::text(values, "Comments"))
            .unwrap_or_default(),
    })
}

/// How the security ids of people begin: accounts of the machine or of a domain, and those of Entra ID.
const PEOPLE: [&str; 2] = ["S-1-5-21-", "S-1-12-1-"];

/// Packages that are installed for somebody, which Windows keeps in a key for all users and one for each. Before Windows 8
/// there is no such key.
fn store_packages(host: &dyn Host) -> Result<Vec<Software>> {
    let store = RegistryKey::machine(STORE);
    let folders = optional(host.registry_subkeys(&store))?.unwrap_or_default();
    let wanted = folders.iter().filter(|name| {
        name.eq_ignore_ascii_case("Applications") || PEOPLE.iter().any(|start| name.starts_with(start))
    });
    let mut names = Vec::new();
    for folder in wanted {
        names.extend(optional(host.registry_subkeys(&store.subkey(folder)))?.unwrap_or_default());
    }
    Ok(installed(&names))
}

/// The packages with these full names. A bundle only repeats a package that came in it, with a version of its own; of many
/// provisioned ones, there is nothing but the bundle.
fn installed(full_names: &[String]) -> Vec<Software> {
    let (bundles, packages): (Vec<_>, Vec<_>) = full_names
        .iter()
        .filter_map(|full_name| StorePackage::parse(full_name))
        .partition(StorePackage::is_bundle);
    let alone = bundles
        .iter()
        .filter(|bundle| !packages.iter().any(|package| package.is_of(bundle)));
    alone.chain(&packages).map(StorePackage::software).collect()
}

/// A package of the store, by its full name: name, version, architecture, resource, publisher, with underscores between.
struct StorePackage<'a> {
    name: &'a str,
    version: &'a str,
    resource: &'a str,
    publisher: &'a str,
}

impl<'a> StorePackage<'a> {
    fn parse(full_name: &'a str) -> Option<Self> {
        let parts: Vec<_> = full_name.split('_').collect();
        let [name, version, _, resource, publisher] = parts[..] else {
            return None;
        };
        let usable =
            !name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()) && !publisher.is_empty();
        usable.then_some(Self {
            name,
            version,
            resource,
            publisher,
        })
    }

    fn is_bundle(&self) -> bool {
        self.resource == "~"
    }

    /// Whether both are of one family, which is told by name and publisher.
    fn is_of(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(other.name) && self.publisher.eq_ignore_ascii_case(other.publisher)
    }

    fn software(&self) -> Software {
        Software {
            name: format!("[AppX] {}", self.name),
            version: self.version.to_owned(),
            description: String::new(),
        }
    }
}

fn hotfixes(host: &dyn Host) -> Result<Vec<Software>> {
    let rows = wmi::rows(
        host,
        "SELECT HotFixID, Description FROM Win32_QuickFixEngineering",
    )?;
    let hotfixes = rows
        .iter()
        .map(|row| (wmi::text(row, "HotFixID"), wmi::text(row, "Description")));
    let named = hotfixes.filter(|(id, _)| !id.is_empty());
    Ok(named
        .map(|(id, description)| Software {
            name: format!("[Update] {id}"),
            version: String::new(),
            description,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(full_names: &[&str]) -> Vec<String> {
        let full_names: Vec<String> = full_names.iter().map(|name| (*name).to_owned()).collect();
        let found = installed(&full_names).into_iter();
        found
            .map(|item| format!("{} {}", item.name, item.version))
            .collect()
    }

    #[test]
    fn a_package_is_named_and_versioned_by_its_key() {
        assert_eq!(
            names(&[
                "Microsoft.WindowsCalculator_11.2210.0.0_x64__8wekyb3d8bbwe",
                "windows.immersivecontrolpanel_10.0.2.1000_neutral_neutral_cw5n1h2txyewy",
            ]),
            [
                "[AppX] Microsoft.WindowsCalculator 11.2210.0.0",
                "[AppX] windows.immersivecontrolpanel 10.0.2.1000"
            ]
        );
        let none: [&str; 6] = [
            "",
            "S-1-5-18",
            "____",
            "Name_x_y__z",
            "Name_1.0_x64__",
            "a_1_b_c_d_e",
        ];
        assert_eq!(names(&none), [""; 0]);
    }

    #[test]
    fn a_bundle_counts_where_no_package_of_it_is_there() {
        let bundle = "Microsoft.WindowsCalculator_2022.2210.0.0_neutral_~_8wekyb3d8bbwe";
        assert_eq!(
            names(&[bundle]),
            ["[AppX] Microsoft.WindowsCalculator 2022.2210.0.0"]
        );
        assert_eq!(
            names(&[
                bundle,
                "Microsoft.WindowsCalculator_11.2210.0.0_x64__8wekyb3d8bbwe"
            ]),
            ["[AppX] Microsoft.WindowsCalculator 11.2210.0.0"]
        );
        // Of the same name, but another's.
        assert_eq!(
            names(&[bundle, "Microsoft.WindowsCalculator_1.0.0.0_x64__abcdefghjkmnp"]).len(),
            2
        );
    }

    proptest! {
        #[test]
        fn no_key_panics(keys in proptest::collection::vec("(_|~|[0-9.]{1,4}|\\PC)*", 0..4)) {
            prop_assert!(installed(&keys).len() <= keys.len());
        }
    }
}
