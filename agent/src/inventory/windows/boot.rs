//! How the machine was started.

use super::registry;
use crate::host::{Host, RegistryKey};
use crate::inventory::field::{Result, command_output, field, optional};

/// `UEFI` if the boot loader is an EFI program.
pub(super) fn boot_type(host: &dyn Host) -> String {
    let output = field("boot_type", command_output(host, "bcdedit", &[]));
    output
        .map_or("?", |output| if names_efi(&output) { "UEFI" } else { "Legacy" })
        .to_owned()
}

/// `1` if Secure Boot is on; firmware without it has no such key.
pub(super) fn secure_boot(host: &dyn Host) -> Result<String> {
    let key = RegistryKey::machine(r"SYSTEM\CurrentControlSet\Control\SecureBoot\State");
    let values = optional(host.registry_values(&key))?.unwrap_or_default();
    let on = registry::dword(&values, "UEFISecureBootEnabled") == Some(1);
    Ok(if on { "1" } else { "0" }.to_owned())
}

/// Texts in it are in the system's language and code page, but paths are not: `\Windows\system32\winload.efi`.
fn names_efi(output: &[u8]) -> bool {
    output.windows(4).any(|bytes| bytes.eq_ignore_ascii_case(b".efi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_loaders_path_tells() {
        assert!(names_efi(
            b"path                    \\EFI\\Microsoft\\Boot\\bootmgfw.efi\r\n"
        ));
        assert!(names_efi(b"path  \\WINDOWS\\system32\\WINLOAD.EFI"));
        assert!(!names_efi(
            b"Windows-Startladeprogramm f\x81r \\Windows\\system32\\winload.exe"
        ));
        assert!(!names_efi(b""));
    }
}
