//! Installed programs, from the keys that their uninstallers leave in the registry, and hotfixes.

use super::{registry, wmi};
use crate::host::{Hive, Host, RegistryKey, RegistryView};
use crate::inventory::field::{Result, field, optional};
use crate::inventory::packages::tidy;
use oco_protocol::inventory::Software;

const UNINSTALL: &str = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall";

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Software>> {
    let mut software = programs(host, RegistryView::Native)?;
    software.extend(programs(host, RegistryView::Wow32)?);
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
