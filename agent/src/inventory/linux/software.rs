//! Installed software: what the package managers of the machine have in their databases.

use crate::host::Host;
use crate::inventory::field::{CollectError, Result, field};
use crate::inventory::packages::tidy;
use oco_protocol::inventory::Software;

mod apk;
mod dpkg;
mod flatpak;
mod pacman;
mod rpm;
mod snap;

/// Asks one package manager; none where the machine does not have it.
type PackageManager = fn(&dyn Host) -> Result<Option<Vec<Software>>>;

/// Package managers that a system is made of. If one of them fails, there is no list at all: one without most of what is
/// installed would look as if all of that had been removed.
const OF_THE_SYSTEM: &[PackageManager] = &[dpkg::collect, rpm::collect, pacman::collect, apk::collect];

/// Package managers for applications beside the system; one that fails costs its own part only.
const OF_APPLICATIONS: &[(&str, PackageManager)] = &[
    ("software of snap", snap::collect),
    ("software of flatpak", flatpak::collect),
];

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Software>> {
    let mut software = None;
    for package_manager in OF_THE_SYSTEM {
        add(&mut software, package_manager(host)?);
    }
    for (name, package_manager) in OF_APPLICATIONS {
        add(&mut software, field(name, package_manager(host)).flatten());
    }
    let software = software.ok_or_else(|| {
        CollectError::malformed(
            "the installed software",
            "none of the known package managers has a database here",
        )
    })?;
    Ok(tidy(software))
}

fn add(software: &mut Option<Vec<Software>>, found: Option<Vec<Software>>) {
    if let Some(found) = found {
        software.get_or_insert_default().extend(found);
    }
}
