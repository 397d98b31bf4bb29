//! What the system knows about block devices: labels and UUIDs from udev's links, encryption from the device mapper.

use crate::host::{Host, HostError};
use crate::inventory::field::read_text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The block devices, by kernel name (`sda1`, `dm-0`).
pub(super) struct BlockDevices<'a> {
    host: &'a dyn Host,
    labels: BTreeMap<String, String>,
    uuids: BTreeMap<String, String>,
    /// Kernel name by name of the mapping.
    mappings: BTreeMap<String, String>,
}

impl<'a> BlockDevices<'a> {
    pub(super) fn read(host: &'a dyn Host) -> Self {
        Self {
            host,
            labels: links(host, "/dev/disk/by-label"),
            uuids: links(host, "/dev/disk/by-uuid"),
            mappings: mappings(host),
        }
    }

    /// The kernel's names of the devices that a file system is on. None where its source is no device of this machine.
    pub(super) fn members(&self, source: &str, filesystem: &str) -> Vec<String> {
        // bcachefs names all of its devices.
        let mut members: Vec<_> = source
            .split(':')
            .filter(|source| source.starts_with("/dev/"))
            .map(|source| self.resolve(source))
            .collect();
        if filesystem == "btrfs"
            && let [only] = members.as_slice()
        {
            let others = self.members_of_btrfs(only);
            members.extend(others);
        }
        members
    }

    /// A device is mounted as `/dev/sda1`, `/dev/mapper/NAME` or a link to one of these.
    fn resolve(&self, source: &str) -> String {
        if let Some(kernel_name) = source
            .strip_prefix("/dev/mapper/")
            .and_then(|name| self.mappings.get(name))
        {
            return kernel_name.clone();
        }
        match self.host.read_link(Path::new(source)) {
            Ok(target) => base_name(&target.to_string_lossy()).to_owned(),
            Err(_) => base_name(source).to_owned(),
        }
    }

    /// The other devices of a file system, of which mountinfo names one only.
    fn members_of_btrfs(&self, device: &str) -> Vec<String> {
        let folder = "/sys/fs/btrfs";
        let file_systems = self.host.list_folder(Path::new(folder)).unwrap_or_default();
        let devices = file_systems.iter().map(|uuid| format!("{folder}/{uuid}/devices"));
        let members = devices.filter_map(|devices| self.host.list_folder(Path::new(&devices)).ok());
        let mut members = members.filter(|members| members.iter().any(|member| member == device));
        let members = members.next().unwrap_or_default();
        members.into_iter().filter(|member| member != device).collect()
    }

    pub(super) fn label(&self, device: &str) -> String {
        self.labels.get(device).cloned().unwrap_or_default()
    }

    pub(super) fn uuid(&self, device: &str) -> String {
        self.uuids.get(device).cloned().unwrap_or_default()
    }

    /// Whether the device, or one that it is made of, is a mapping of an encrypted one.
    pub(super) fn is_encrypted(&self, device: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![device.to_owned()];
        while let Some(device) = open.pop() {
            let folder = format!("/sys/class/block/{device}");
            let mapping = read_text(self.host, format!("{folder}/dm/uuid")).unwrap_or_default();
            if mapping.starts_with("CRYPT-") {
                return true;
            }
            if seen.insert(device) {
                open.extend(
                    self.host
                        .list_folder(Path::new(&format!("{folder}/slaves")))
                        .unwrap_or_default(),
                );
            }
        }
        false
    }
}

/// The links in one of udev's folders: kernel name -> name of the link.
fn links(host: &dyn Host, folder: &str) -> BTreeMap<String, String> {
    // There is no such folder where no device has a label.
    let names = listed(host.list_folder(Path::new(folder)));
    let links = names.into_iter().filter_map(|name| {
        let target = host.read_link(Path::new(&format!("{folder}/{name}"))).ok()?;
        Some((
            base_name(&target.to_string_lossy()).to_owned(),
            unescape_hex(&name),
        ))
    });
    links.collect()
}

fn mappings(host: &dyn Host) -> BTreeMap<String, String> {
    let devices = listed(host.list_folder(Path::new("/sys/class/block")));
    let mappings = devices
        .into_iter()
        .filter(|device| device.starts_with("dm-"))
        .filter_map(|device| {
            let name = read_text(host, format!("/sys/class/block/{device}/dm/name")).ok()?;
            Some((name.trim_end_matches('\n').to_owned(), device))
        });
    mappings.collect()
}

fn listed(names: Result<Vec<String>, HostError>) -> Vec<String> {
    names
        .inspect_err(|error| {
            if !error.is_not_found() {
                tracing::warn!(error = %error, cause = %error.source, "cannot name partitions");
            }
        })
        .unwrap_or_default()
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// udev writes unsafe bytes of a label as `\xHH`.
fn unescape_hex(text: &str) -> String {
    unescape(text, |rest| {
        let digits = rest
            .strip_prefix('x')?
            .get(..2)
            .filter(|d| d.bytes().all(|d| d.is_ascii_hexdigit()))?;
        Some((u8::from_str_radix(digits, 16).ok()?, 3))
    })
}

/// Undoes escapes: `decode` sees what follows a backslash and says which byte it means and how long it is.
pub(super) fn unescape(text: &str, decode: impl Fn(&str) -> Option<(u8, usize)>) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let decoded = decode(escaped).and_then(|(byte, length)| Some((byte, escaped.get(length..)?)));
        let (byte, after) = decoded.unwrap_or((b'\\', escaped));
        bytes.push(byte);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    crate::inventory::field::lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_unescaped() {
        assert_eq!(unescape_hex(r"My\x20Disk"), "My Disk");
        assert_eq!(unescape_hex(r"\xc3\xa4\x5c"), "ä\\");
        assert_eq!(unescape_hex(r"\x2"), r"\x2");
        assert_eq!(unescape_hex(r"\x+1"), r"\x+1");
    }

    proptest! {
        #[test]
        fn no_label_panics(text in "(\\\\x?|[0-9a-f]|\\PC)*") {
            unescape_hex(&text);
        }

        #[test]
        fn an_escaped_label_is_found_again(label in "\\PC*") {
            let escaped: String = label.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            prop_assert_eq!(unescape_hex(&escaped), label);
        }
    }
}
