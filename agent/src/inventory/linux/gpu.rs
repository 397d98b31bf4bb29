//! Display adapters, from the PCI bus.

use super::attributes::{attribute, first_file, hexadecimal, names};
use super::hardware_ids::{Names, look_up};
use crate::host::Host;
use crate::inventory::field::Result;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Where distributions put the list of names.
const NAMES: &[&str] = &["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];

/// Base class of display controllers; the class has two more bytes.
const DISPLAY: u32 = 0x03;

/// One line for each display controller (VGA, 3D and others), in the order of the bus. Where the machine has no list of
/// names, it is `vendor:device` in hexadecimal.
pub(super) fn collect(host: &dyn Host) -> Result<String> {
    let devices = names(host, DEVICES)?;
    let adapters: Vec<_> = devices
        .iter()
        .filter_map(|device| display_adapter(host, &format!("{DEVICES}/{device}")))
        .collect();
    if adapters.is_empty() {
        return Ok(String::new());
    }
    let list = first_file(host, NAMES)?.unwrap_or_default();
    let lines: Vec<_> = adapters
        .iter()
        .map(|(vendor, device)| line(*vendor, *device, look_up(&list, *vendor, *device)))
        .collect();
    Ok(lines.join("\n"))
}

/// Vendor and device number.
fn display_adapter(host: &dyn Host, folder: &str) -> Option<(u32, u32)> {
    let number = |name| hexadecimal(&attribute(host, folder, name)?);
    (number("class")? >> 16 == DISPLAY).then(|| Some((number("vendor")?, number("device")?)))?
}

fn line(vendor: u32, device: u32, names: Names) -> String {
    match names {
        Names {
            vendor: Some(vendor),
            product: Some(product),
        } => format!("{vendor} {product}"),
        Names {
            vendor: Some(name),
            product: None,
        } => format!("{name} {vendor:04x}:{device:04x}"),
        _ => format!("{vendor:04x}:{device:04x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_without_names_keep_their_numbers() {
        let names = |vendor: Option<&str>, product: Option<&str>| Names {
            vendor: vendor.map(str::to_owned),
            product: product.map(str::to_owned),
        };
        assert_eq!(line(0x10de, 0x1c03, names(None, None)), "10de:1c03");
        assert_eq!(
            line(0x10de, 0x1c03, names(Some("NVIDIA"), None)),
            "NVIDIA 10de:1c03"
        );
        assert_eq!(
            line(0x10de, 0x1c03, names(Some("NVIDIA"), Some("GP106"))),
            "NVIDIA GP106"
        );
    }
}
