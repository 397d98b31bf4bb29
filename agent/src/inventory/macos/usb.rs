//! Attached USB devices, from the I/O registry's plane of them. Hubs are part of the wiring and left out.

use super::property_list::{dictionary, text};
use crate::host::Host;
use crate::inventory::field::{Result, command_output};
use oco_protocol::inventory::Device;
use plist::{Dictionary, Value};

/// `bDeviceClass` of hubs.
const HUB: u32 = 0x09;

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Device>> {
    let output = command_output(host, "ioreg", &["-a", "-l", "-p", "IOUSB"])?;
    let mut devices = Vec::new();
    let root = dictionary(&output, "the I/O registry's plane IOUSB")?;
    // Not recursive: nothing says how deep the tree is.
    let mut open = vec![&root];
    while let Some(entry) = open.pop() {
        devices.extend(device(entry));
        let children = entry.get("IORegistryEntryChildren").and_then(Value::as_array);
        // Reversed, so that they come off the stack in their order.
        open.extend(
            children
                .into_iter()
                .flatten()
                .rev()
                .filter_map(Value::as_dictionary),
        );
    }
    Ok(devices)
}

/// None for the root, for controllers and for hubs.
fn device(entry: &Dictionary) -> Option<Device> {
    let number = |key| {
        let number = entry.get(key)?.as_unsigned_integer()?;
        u32::try_from(number).ok()
    };
    let (vendor, product) = (number("idVendor")?, number("idProduct")?);
    // Before macOS 10.15, and since.
    let either = |older, newer| {
        let text = text(entry, older).filter(|text| !text.is_empty());
        text.or_else(|| self::text(entry, newer)).unwrap_or_default()
    };
    (number("bDeviceClass") != Some(HUB)).then(|| Device {
        subsystem: "usb".to_owned(),
        vendor,
        product,
        serial: either("USB Serial Number", "kUSBSerialNumberString"),
        name: either("USB Product Name", "kUSBProductString"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(pairs: &[(&str, Value)]) -> Dictionary {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn devices_are_told_from_controllers_and_hubs() {
        let stick = entry(&[
            ("idVendor", 0x0781.into()),
            ("idProduct", 0x5581.into()),
            ("bDeviceClass", 0.into()),
            ("kUSBSerialNumberString", "4C53".into()),
            ("USB Product Name", " Ultra ".into()),
        ]);
        let found = device(&stick).unwrap();
        assert_eq!((found.vendor, found.product), (0x0781, 0x5581));
        assert_eq!([&found.serial, &found.name], ["4C53", "Ultra"]);
        let hub = entry(&[
            ("idVendor", 1.into()),
            ("idProduct", 2.into()),
            ("bDeviceClass", 9.into()),
        ]);
        assert_eq!(device(&hub), None);
        assert_eq!(device(&entry(&[("idVendor", (-1).into())])), None);
        assert_eq!(device(&Dictionary::new()), None);
    }

    proptest! {
        #[test]
        fn no_numbers_panic(vendor: i64, product: i64, class in any::<Option<i64>>()) {
            let mut entry = entry(&[("idVendor", vendor.into()), ("idProduct", product.into())]);
            if let Some(class) = class {
                entry.insert("bDeviceClass".to_owned(), class.into());
            }
            let fits = |number: i64| u32::try_from(number).is_ok();
            prop_assert_eq!(device(&entry).is_some(), fits(vendor) && fits(product) && class != Some(9));
        }
    }
}
