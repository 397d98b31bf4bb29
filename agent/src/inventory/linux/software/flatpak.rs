//! Flatpak applications that are installed for all users. Their versions are in a binary format of flatpak's own, so it
//! is asked itself, and only where there is something to be asked for.

use crate::host::Host;
use crate::inventory::field::{Result, command_output, lossy, optional};
use oco_protocol::inventory::Software;
use std::path::Path;

const APPLICATIONS: &str = "/var/lib/flatpak/app";
const ARGUMENTS: &[&str] = &[
    "list",
    "--system",
    "--app",
    "--columns=application,version,branch,description",
];

pub(super) fn collect(host: &dyn Host) -> Result<Option<Vec<Software>>> {
    let installed = optional(host.list_folder(Path::new(APPLICATIONS)))?.unwrap_or_default();
    if installed.is_empty() {
        return Ok(None);
    }
    Ok(Some(parse(&lossy(command_output(host, "flatpak", ARGUMENTS)?))))
}

/// Fields are separated by tabulators. Where the application names no version, its branch tells most.
fn parse(output: &str) -> Vec<Software> {
    let applications = output.lines().filter_map(|line| {
        let mut fields = line.splitn(4, '\t').map(str::trim);
        let (name, version, branch) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty()).then(|| Software {
            name: name.to_owned(),
            version: if version.is_empty() { branch } else { version }.to_owned(),
            description: fields.next().unwrap_or_default().to_owned(),
        })
    });
    applications.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_application_without_a_version_has_its_branch() {
        let output = "org.gimp.GIMP\t2.10.38\tstable\tCreate images and edit photographs\ncom.example.App\t\tstable\t\nshort\n";
        let software = parse(output);
        assert_eq!(software.len(), 2);
        assert_eq!(
            (software[0].version.as_str(), software[1].version.as_str()),
            ("2.10.38", "stable")
        );
        assert_eq!(software[0].description, "Create images and edit photographs");
    }

    proptest! {
        #[test]
        fn no_output_panics(output in "([a-z]{0,3}\t|\n|\\PC)*") {
            parse(&output);
        }
    }
}
