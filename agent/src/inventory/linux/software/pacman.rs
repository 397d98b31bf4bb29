//! Packages of Arch Linux and its derivatives, from pacman's database: a folder a package with a file `desc`, in which
//! `%NAME%` and the like stand above their values.

use crate::host::Host;
use crate::inventory::field::{Result, optional, read_text};
use oco_protocol::inventory::Software;
use std::path::Path;

const DATABASE: &str = "/var/lib/pacman/local";

pub(super) fn collect(host: &dyn Host) -> Result<Option<Vec<Software>>> {
    let Some(folders) = optional(host.list_folder(Path::new(DATABASE)))? else {
        return Ok(None);
    };
    let mut software = Vec::with_capacity(folders.len());
    // Beside the packages there is a file that says which version the database has.
    for folder in folders.iter().filter(|folder| *folder != "ALPM_DB_VERSION") {
        // A package that is being replaced at this moment has none.
        let description = optional(read_text(host, format!("{DATABASE}/{folder}/desc")))?;
        software.extend(description.as_deref().and_then(parse));
    }
    Ok(Some(software))
}

fn parse(description: &str) -> Option<Software> {
    let value = |key: &str| {
        let mut lines = description.lines().map(str::trim);
        lines.find(|line| *line == key)?;
        lines.next().map(str::to_owned)
    };
    Some(Software {
        name: value("%NAME%")?,
        version: value("%VERSION%").unwrap_or_default(),
        description: value("%DESC%").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_package_describes_itself() {
        let description = "%NAME%\nbash\n\n%VERSION%\n5.2.037-1\n\n%BASE%\nbash\n\n%DESC%\nThe GNU Bourne Again shell\n\n%SIZE%\n9\n";
        let software = parse(description).unwrap();
        assert_eq!(
            (software.name.as_str(), software.version.as_str()),
            ("bash", "5.2.037-1")
        );
        assert_eq!(software.description, "The GNU Bourne Again shell");
        assert_eq!(parse("%VERSION%\n1\n"), None);
    }

    proptest! {
        #[test]
        fn no_description_panics(description in "(%(NAME|VERSION|DESC)%\n|\\PC|\n)*") {
            parse(&description);
        }
    }
}
