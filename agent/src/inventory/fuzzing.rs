//! Entrances for the fuzz targets in `fuzz/`, which may not reach the parsers otherwise.

use super::{cups, edid, linux};

/// A monitor's EDID.
pub fn edid(bytes: &[u8]) {
    let _ = edid::parse(bytes);
    edid::checksum_is_right(bytes);
}

/// CUPS's `printers.conf`, and the PPD files beside it.
pub fn printers(text: &str) {
    cups::parse_printers(text);
    cups::parse_ppd(text);
}

/// dpkg's `status`.
pub fn dpkg_status(text: &str) {
    linux::software::dpkg::parse_status(text);
}

/// `/var/log/wtmp`, in both layouts.
pub fn wtmp(bytes: &[u8]) {
    for machine in ["x86_64", "aarch64"] {
        linux::logins::parse_wtmp(bytes, linux::logins::Layout::of(machine)).for_each(drop);
    }
}

/// `/etc/os-release`.
pub fn os_release(text: &str) {
    linux::release::parse(text);
}

/// `/proc/self/mountinfo`.
pub fn mountinfo(text: &str) {
    linux::partitions::parse_mountinfo(text);
}
