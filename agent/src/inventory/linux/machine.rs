//! The machine itself: what its firmware says through the kernel's DMI files or, on boards, the device tree.

use crate::host::Host;
use crate::inventory::field::{Result, optional, read_text};
use crate::inventory::{is_assigned_uuid, is_uuid};

/// UUID of the system; none on machines without DMI.
pub(super) fn uid(host: &dyn Host) -> Result<Option<String>> {
    let uuid = dmi(host, "product_uuid")?;
    Ok(uuid.filter(|uuid| is_uuid(uuid) && is_assigned_uuid(uuid)))
}

pub(super) fn serial(host: &dyn Host) -> Result<String> {
    dmi_or_device_tree(host, "product_serial", "serial-number")
}

pub(super) fn manufacturer(host: &dyn Host) -> Result<String> {
    Ok(dmi(host, "sys_vendor")?.unwrap_or_default())
}

pub(super) fn model(host: &dyn Host) -> Result<String> {
    dmi_or_device_tree(host, "product_name", "model")
}

pub(super) fn bios_version(host: &dyn Host) -> Result<String> {
    Ok(dmi(host, "bios_version")?.unwrap_or_default())
}

/// The fully qualified name: the host name if it has a domain, else what `/etc/hosts` makes of it.
pub(super) fn domain(host: &dyn Host) -> Result<Option<String>> {
    let hostname = host.hostname()?;
    if hostname.contains('.') {
        return Ok(Some(hostname));
    }
    let hosts = optional(read_text(host, "/etc/hosts"))?;
    Ok(hosts
        .as_deref()
        .and_then(|hosts| canonical_name(hosts, &hostname))
        .map(str::to_owned))
}

fn dmi_or_device_tree(host: &dyn Host, dmi_name: &str, property: &str) -> Result<String> {
    match dmi(host, dmi_name)? {
        Some(value) => Ok(value),
        None => Ok(device_tree(host, property)?.unwrap_or_default()),
    }
}

fn dmi(host: &dyn Host, name: &str) -> Result<Option<String>> {
    let text = optional(read_text(host, format!("/sys/class/dmi/id/{name}")))?;
    Ok(text.map(|text| text.trim().to_owned()))
}

/// A text of the device tree ends with a NUL byte.
fn device_tree(host: &dyn Host, property: &str) -> Result<Option<String>> {
    let text = optional(read_text(
        host,
        format!("/sys/firmware/devicetree/base/{property}"),
    ))?;
    Ok(text.map(|text| {
        text.trim_matches(|c: char| c == '\0' || c.is_whitespace())
            .to_owned()
    }))
}

/// The first name of the line that knows `hostname`, if it has a domain.
fn canonical_name<'a>(hosts: &'a str, hostname: &str) -> Option<&'a str> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut names = lines.map(|line| line.split_whitespace().skip(1));
    names
        .find_map(|mut names| {
            let first = names.next()?;
            (first == hostname || names.any(|name| name == hostname)).then_some(first)
        })
        .filter(|name| name.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hosts_file_names_the_domain() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.1 x.wrong.example x\n127.0.1.1\tpc.example.org pc # me\n";
        assert_eq!(canonical_name(hosts, "pc"), Some("pc.example.org"));
        assert_eq!(canonical_name(hosts, "localhost"), None);
        assert_eq!(canonical_name(hosts, "other"), None);
    }

    proptest! {
        #[test]
        fn no_hosts_file_panics(hosts: String, name: String) {
            canonical_name(&hosts, &name);
        }
    }
}
