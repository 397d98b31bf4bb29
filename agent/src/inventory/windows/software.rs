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

/// Packages that are installed for somebody, which Windows keeps in a key for all users and one for each. Before Windows 8
/// there is no such key.
fn store_packages(host: &dyn Host) -> Result<Vec<Software>> {
    let store = RegistryKey::machine(STORE);
    let folders = optional(host.registry_subkeys(&store))?.unwrap_or_default();
    let wanted = folders
        .iter()
        .filter(|name| name.eq_ignore_ascii_case("Applications") || name.starts_with("S-1-5-21-"));
    let mut software = Vec::new();
    for folder in wanted {
        let names = optional(host.registry_subkeys(&store.subkey(folder)))?.unwrap_or_default();
        software.extend(names.iter().filter_map(|name| store_package(name)));
    }
    Ok(software)
}

/// A package by its full name: name, version, architecture, resource, publisher, with underscores between.
fn store_package(full_name: &str) -> Option<Software> {
    let parts: Vec<_> = full_name.split('_').collect();
    let [name, version, _, _, publisher] = parts[..] else {
        return None;
    };
    let usable =
        !name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()) && !publisher.is_empty();
    usable.then(|| Software {
        name: format!("[AppX] {name}"),
        version: version.to_owned(),
        description: String::new(),
    })
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

    #[test]
    fn a_package_is_named_and_versioned_by_its_key() {
        let found = store_package("Microsoft.WindowsCalculator_11.2210.0.0_x64__8wekyb3d8bbwe").unwrap();
        assert_eq!(
            [&found.name, &found.version],
            ["[AppX] Microsoft.WindowsCalculator", "11.2210.0.0"]
        );
        assert!(store_package("Microsoft.WindowsCalculator_2022.2210.0.0_neutral_~_8wekyb3d8bbwe").is_some());
        for key in [
            "",
            "S-1-5-18",
            "____",
            "Name_x_y__z",
            "Name_1.0_x64__",
            "a_1_b_c_d_e",
        ] {
            assert_eq!(store_package(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_key_panics(key in "(_|[0-9.]{1,4}|\\PC)*") {
            store_package(&key);
        }
    }
}
