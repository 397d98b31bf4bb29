//! The machine itself, as its firmware told WMI.

use super::wmi;
use crate::host::Host;
use crate::inventory::field::Result;
use crate::inventory::is_assigned_uuid;

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

pub(super) fn uid(host: &dyn Host) -> Result<Option<String>> {
    let row = wmi::row(host, "SELECT UUID FROM Win32_ComputerSystemProduct")?;
    Ok(Some(wmi::text(&row, "UUID")).filter(|uuid| is_assigned_uuid(uuid)))
}
