//! How the machine was started.

use crate::host::Host;
use crate::inventory::field::{Result, optional};
use std::path::Path;

/// State of Secure Boot; the GUID is that of the EFI global variables.
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

pub(super) fn boot_type(host: &dyn Host) -> Result<String> {
    let efi = host.exists(Path::new("/sys/firmware/efi"));
    Ok(if efi { "UEFI" } else { "Legacy" }.to_owned())
}

/// `1` if Secure Boot is on; firmware without it has no such variable.
pub(super) fn secure_boot(host: &dyn Host) -> Result<String> {
    let variable = optional(host.read_file(Path::new(SECURE_BOOT)))?;
    Ok(if variable.is_some_and(|variable| is_on(&variable)) {
        "1"
    } else {
        "0"
    }
    .to_owned())
}

/// Four bytes of attributes, then one byte.
fn is_on(variable: &[u8]) -> bool {
    matches!(variable, [_, _, _, _, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_one_means_on() {
        assert!(is_on(&[6, 0, 0, 0, 1]));
        assert!(!is_on(&[6, 0, 0, 0, 0]));
        assert!(!is_on(&[1]));
        assert!(!is_on(&[]));
    }
}
