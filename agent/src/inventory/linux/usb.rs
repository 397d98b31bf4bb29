//! Attached USB devices, from the kernel's list. Hubs, root hubs among them, are part of the wiring and left out.

use super::attributes::{attribute, first_file, hexadecimal, names};
use super::hardware_ids::look_up;
use crate::host::Host;
use crate::inventory::field::Result;
use oco_protocol::inventory::Device;

const DEVICES: &str = "/sys/bus/usb/devices";

/// Where distributions put the list of names, for devices that do not know their own.
const NAMES: &[&str] = &["/usr/share/misc/usb.ids", "/usr/share/hwdata/usb.ids"];

/// `bDeviceClass` of hubs.
const HUB: u32 = 0x09;

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Device>> {
    let mut devices: Vec<_> = names(host, DEVICES)?
        .iter()
        // The others, such as `1-4:1.0`, are interfaces of devices.
        .filter(|name| !name.contains(':'))
        .filter_map(|name| device(host, &format!("{DEVICES}/{name}")))
        .collect();
    if devices.iter().any(|device| device.name.is_empty()) {
        let list = first_file(host, NAMES)?.unwrap_or_default();
        for device in devices.iter_mut().filter(|device| device.name.is_empty()) {
            device.name = look_up(&list, device.vendor, device.product)
                .product
                .unwrap_or_default();
        }
    }
    Ok(devices)
}

fn device(host: &dyn Host, folder: &str) -> Option<Device> {
    let number = |name| hexadecimal(&attribute(host, folder, name)?);
    let (vendor, product) = (number("idVendor")?, number("idProduct")?);
    (number("bDeviceClass") != Some(HUB)).then(|| Device {
        subsystem: "usb".to_owned(),
        vendor,
        product,
        serial: attribute(host, folder, "serial").unwrap_or_default(),
        name: attribute(host, folder, "product").unwrap_or_default(),
    })
}
