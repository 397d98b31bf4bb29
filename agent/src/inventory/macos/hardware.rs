//! Processor and memory, from sysctl(8).

use crate::host::Host;
use crate::inventory::field::{CollectError, Result, command_output, lossy};

pub(super) fn cpu(host: &dyn Host) -> Result<String> {
    sysctl(host, "machdep.cpu.brand_string")
}

/// Memory, bytes.
pub(super) fn ram(host: &dyn Host) -> Result<u64> {
    let text = sysctl(host, "hw.memsize")?;
    text.parse()
        .map_err(|error| CollectError::malformed(format_args!("hw.memsize {text:?}"), error))
}

fn sysctl(host: &dyn Host, name: &str) -> Result<String> {
    Ok(lossy(command_output(host, "sysctl", &["-n", name])?)
        .trim()
        .to_owned())
}
