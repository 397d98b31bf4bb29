//! Processors and display adapters.

use super::{registry, wmi};
use crate::host::{Host, RegistryKey};
use crate::inventory::field::{CollectError, Result};

/// `AMD64` or `ARM64`.
pub(super) fn architecture(host: &dyn Host) -> Result<String> {
    let key = RegistryKey::machine(r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment");
    let environment = host.registry_values(&key)?;
    registry::text(&environment, "PROCESSOR_ARCHITECTURE")
        .ok_or_else(|| CollectError::malformed(key, "no PROCESSOR_ARCHITECTURE"))
}

/// Names of the processors, one line for each socket.
pub(super) fn cpu(host: &dyn Host) -> Result<String> {
    Ok(wmi::lines(
        &wmi::rows(host, "SELECT Name FROM Win32_Processor")?,
        "Name",
    ))
}

/// Names of the display adapters, one line each.
pub(super) fn gpu(host: &dyn Host) -> Result<String> {
    Ok(wmi::lines(
        &wmi::rows(host, "SELECT Name FROM Win32_VideoController")?,
        "Name",
    ))
}
