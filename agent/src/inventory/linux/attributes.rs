//! Attributes of devices: the small files in `/sys`.

use crate::host::{Host, HostError};
use crate::inventory::field::{Result, optional, read_text};
use std::path::Path;

/// Names in a folder; none where it does not exist.
pub(super) fn names(host: &dyn Host, folder: &str) -> Result<Vec<String>, HostError> {
    match host.list_folder(Path::new(folder)) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        names => names,
    }
}

/// An attribute without the line end. A device that is just being removed, or does not answer its driver, has none.
pub(super) fn attribute(host: &dyn Host, folder: &str, name: &str) -> Option<String> {
    let text = read_text(host, format!("{folder}/{name}")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A number in hexadecimal digits, with or without `0x`.
pub(super) fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// The first of these files that exists, as bytes.
pub(super) fn first_file(host: &dyn Host, paths: &[&str]) -> Result<Option<Vec<u8>>> {
    for path in paths {
        if let Some(content) = optional(host.read_file(Path::new(path)))? {
            return Ok(Some(content));
        }
    }
    Ok(None)
}
