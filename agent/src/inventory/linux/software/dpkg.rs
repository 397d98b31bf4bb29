//! Packages of Debian and its derivatives, from dpkg's status file (deb822 paragraphs, see dpkg(1)).

use crate::host::Host;
use crate::inventory::field::{Result, optional, read_text};
use oco_protocol::inventory::Software;

pub(super) fn collect(host: &dyn Host) -> Result<Option<Vec<Software>>> {
    let status = optional(read_text(host, "/var/lib/dpkg/status"))?;
    Ok(status.map(|status| parse_status(&status)))
}

/// The fields of one paragraph that matter.
#[derive(Default)]
struct Paragraph<'a> {
    package: &'a str,
    status: &'a str,
    version: &'a str,
    description: &'a str,
}

fn parse_status(status: &str) -> Vec<Software> {
    let mut software = Vec::new();
    let mut paragraph = Paragraph::default();
    for line in status.lines() {
        if line.is_empty() {
            software.extend(std::mem::take(&mut paragraph).installed());
        } else if !line.starts_with([' ', '\t']) {
            paragraph.add(line);
        }
    }
    software.extend(paragraph.installed());
    software
}

impl<'a> Paragraph<'a> {
    fn add(&mut self, line: &'a str) {
        let Some((key, value)) = line.split_once(':') else {
            return;
        };
        match key {
            "Package" => self.package = value.trim(),
            "Status" => self.status = value.trim(),
            "Version" => self.version = value.trim(),
            "Description" => self.description = value.trim(),
            _ => {}
        }
    }

    /// The package, unless only its configuration is left or its installation never ended.
    fn installed(self) -> Option<Software> {
        // Desired action, error flag, state.
        let installed = self.status.split_whitespace().nth(2) == Some("installed");
        (installed && !self.package.is_empty()).then(|| Software {
            name: self.package.to_owned(),
            version: self.version.to_owned(),
            description: self.description.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn software(name: &str, version: &str, description: &str) -> Software {
        Software {
            name: name.to_owned(),
            version: version.to_owned(),
            description: description.to_owned(),
        }
    }

    #[test]
    fn only_installed_packages_count() {
        let status = "\
Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b8\nDescription: GNU Bourne Again SHell\n Bash is\n .\n an sh
\n\
Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nDescription: gone\n
Package: held\nVersion: 1:2\nStatus: hold ok installed\n
Package: half\nStatus: install reinstreq half-installed\nVersion: 3\n";
        let expected = [
            software("bash", "5.2.15-2+b8", "GNU Bourne Again SHell"),
            software("held", "1:2", ""),
        ];
        assert_eq!(parse_status(status), expected);
    }

    #[test]
    fn a_truncated_file_costs_only_what_is_missing() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVers";
        assert_eq!(
            parse_status(status),
            [software("a", "1", ""), software("b", "", "")]
        );
        assert_eq!(parse_status("Package: a\nStatus: install o"), []);
    }

    #[test]
    fn line_ends_of_another_system_are_understood() {
        let status =
            "Package: a\r\nStatus: install ok installed\r\nVersion: 1\r\n\r\nPackage: b\r\nStatus: x";
        assert_eq!(parse_status(status), [software("a", "1", "")]);
    }

    fn word() -> impl Strategy<Value = String> {
        "[a-z0-9][a-z0-9+.äß-]{0,12}"
    }

    proptest! {
        #[test]
        fn every_installed_package_is_found_again(packages in proptest::collection::vec((word(), word(), word()), 0..8)) {
            let packages: Vec<_> = packages.iter().map(|(n, v, d)| software(n, v, d)).collect();
            let status: String = packages
                .iter()
                .map(|p| format!(
                    "Package: {}\nStatus: install ok installed\nConffiles:\n /etc/x 1\nVersion: {}\nDescription: {}\n more\n\n",
                    p.name, p.version, p.description
                ))
                .collect();
            prop_assert_eq!(parse_status(&status), packages);
        }

        #[test]
        fn no_file_panics(status in "((Package|Status|Version): |install ok installed|\n|\\PC)*") {
            parse_status(&status);
        }
    }
}
