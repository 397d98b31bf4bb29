//! Packages of Alpine Linux, from apk's database (see apk-v2(5)): a paragraph a package, a letter and a colon a field.

use crate::host::Host;
use crate::inventory::field::{Result, lossy};
use crate::inventory::linux::attributes::first_file;
use oco_protocol::inventory::Software;

/// Where it is, from version 3 on and before.
const DATABASES: &[&str] = &["/usr/lib/apk/db/installed", "/lib/apk/db/installed"];

pub(super) fn collect(host: &dyn Host) -> Result<Option<Vec<Software>>> {
    let database = first_file(host, DATABASES)?;
    Ok(database.map(|database| parse(&lossy(database))))
}

fn parse(database: &str) -> Vec<Software> {
    let packages = database.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| {
            paragraph
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        Some(Software {
            name: field("P:")?.to_owned(),
            version: field("V:").unwrap_or_default().to_owned(),
            description: field("T:").unwrap_or_default().to_owned(),
        })
    });
    packages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packages_are_paragraphs() {
        let database = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:407278\nT:the musl c library (libc) implementation\n\
                        F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\nP:busybox\nV:1.36.1-r5\n\nF:etc\n\n";
        let software = parse(database);
        assert_eq!(software.len(), 2);
        assert_eq!(
            (software[0].name.as_str(), software[0].version.as_str()),
            ("musl", "1.2.4-r2")
        );
        assert_eq!(
            software[0].description,
            "the musl c library (libc) implementation"
        );
        assert_eq!(
            (software[1].name.as_str(), software[1].description.as_str()),
            ("busybox", "")
        );
    }

    proptest! {
        #[test]
        fn no_database_panics(database in "([PVT]:\\PC{0,5}\n|\n|\\PC)*") {
            parse(&database);
        }
    }
}
