//! The machine itself, as its firmware told WMI.

use super::wmi;
use crate::host::{Host, HostError};
use crate::inventory::field::{CollectError, Result};
use crate::inventory::is_assigned_uuid;
use std::io;

pub(super) struct Bios {
    pub(super) serial: String,
    pub(super) version: String,
}

pub(super) fn bios(host: &dyn Host) -> Result<Bios> {
    let row = wmi::row(host, "SELECT SerialNumber, SMBIOSBIOSVersion FROM Win32_BIOS")?;
    Ok(Bios {
        serial: wmi::text(&row, "SerialNumber"),
        version: wmi::text(&row, "SMBIOSBIOSVersion"),
    })
}

pub(super) struct ComputerSystem {
    pub(super) manufacturer: String,
    pub(super) model: String,
    /// Bytes.
    pub(super) ram: Option<u64>,
    /// With the domain, if the computer is a member of one.
    pub(super) qualified_name: String,
}

pub(super) fn computer_system(host: &dyn Host) -> Result<ComputerSystem> {
    let query = "SELECT Manufacturer, Model, TotalPhysicalMemory, DNSHostName, PartOfDomain, Domain \
                 FROM Win32_ComputerSystem";
    let row = wmi::row(host, query)?;
    let (name, domain) = (wmi::text(&row, "DNSHostName"), wmi::text(&row, "Domain"));
    // Elsewhere, `Domain` is the name of a workgroup.
    let in_domain = wmi::flag(&row, "PartOfDomain") == Some(true) && !domain.is_empty();
    Ok(ComputerSystem {
        manufacturer: wmi::text(&row, "Manufacturer"),
        model: wmi::text(&row, "Model"),
        ram: wmi::number(&row, "TotalPhysicalMemory"),
        qualified_name: if in_domain {
            format!("{name}.{domain}")
        } else {
            name
        },
    })
}

/// The UUID of the hardware; none if the firmware has none. Each Windows has this class: that it is missing means that WMI is not
/// ready, or is being repaired, and says nothing of the hardware.
pub(super) fn uid(host: &dyn Host) -> Result<Option<String>> {
    let question = "SELECT UUID FROM Win32_ComputerSystemProduct";
    let row = match wmi::row(host, question) {
        Err(CollectError::Host(error)) if error.is_not_found() => {
            let reason = format!("WMI does not know its own classes now: {}", error.source);
            return Err(HostError::new("query WMI", question, io::Error::other(reason)).into());
        }
        row => row?,
    };
    Ok(Some(wmi::text(&row, "UUID")).filter(|uuid| is_assigned_uuid(uuid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::recorded::{RecordedHost, Recording};

    #[test]
    fn a_computer_whose_wmi_is_not_ready_has_no_other_uid() {
        let machine = serde_json::json!({
            "os": "windows", "hostname": "PC", "kernel": {"release": "10.0.26100", "machine": "AMD64"},
            "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
        });
        let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
        let error = uid(&host).unwrap_err();
        assert!(!error.is_lasting(), "{error}");
    }
}
