//! Packages of Red Hat, SUSE and their derivatives. rpm has had three formats of its database, so it is asked itself.

use crate::host::Host;
use crate::inventory::field::{Result, command_output, lossy};
use oco_protocol::inventory::Software;
use std::path::Path;

/// The database in each of its formats, in both of its places. On other systems that have the program, the folder is
/// there, but nothing is in it.
const DATABASES: &[&str] = &[
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/var/lib/rpm/Packages.db",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages",
    "/usr/lib/sysimage/rpm/Packages.db",
];

/// Epochs only where there is one, as every tool writes versions.
const FORMAT: &str = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{SUMMARY}\n";

pub(super) fn collect(host: &dyn Host) -> Result<Option<Vec<Software>>> {
    if !DATABASES.iter().any(|path| host.exists(Path::new(path))) {
        return Ok(None);
    }
    let output = command_output(host, "rpm", &["-qa", "--queryformat", FORMAT])?;
    Ok(Some(parse(&lossy(output))))
}

fn parse(output: &str) -> Vec<Software> {
    let packages = output.lines().filter_map(|line| {
        let mut fields = line.splitn(3, '\t').map(str::trim);
        let (name, version, summary) = (fields.next()?, fields.next()?, fields.next()?);
        // Keys of repositories are kept as if they were packages.
        (!name.is_empty() && name != "gpg-pubkey").then(|| Software {
            name: name.to_owned(),
            version: version.to_owned(),
            description: summary.to_owned(),
        })
    });
    packages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_of_repositories_are_no_packages() {
        let output = "bash\t5.1.8-9.el9\tThe GNU Bourne Again shell\ngpg-pubkey\tfd431d51-4ae0493b\tRed Hat key\n\
                      dbus\t1:1.12.20-8.el9\tD-BUS message bus\nno tabulator\n";
        let software = parse(output);
        assert_eq!(software.len(), 2);
        assert_eq!(
            (software[1].name.as_str(), software[1].version.as_str()),
            ("dbus", "1:1.12.20-8.el9")
        );
        assert_eq!(software[0].description, "The GNU Bourne Again shell");
    }

    proptest! {
        #[test]
        fn no_output_panics(output in "([a-z]{0,3}\t|\n|\\PC)*") {
            parse(&output);
        }
    }
}
