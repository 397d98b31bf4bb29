//! Attached USB devices, as their controllers list them. Hubs are part of the wiring and left out, and so are the
//! interfaces of devices that have several.

use super::wmi;
use crate::host::{Host, WmiRow};
use crate::inventory::field::{Result, field};
use oco_protocol::inventory::Device;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Device>> {
    let rows = wmi::rows(host, "SELECT Dependent FROM Win32_USBControllerDevice")?;
    let mut ids: Vec<_> = rows
        .iter()
        .filter_map(|row| device_id(&wmi::text(row, "Dependent")))
        .filter(|id| parse(id).is_some())
        .collect();
    // A device behind two controllers of one chip is listed twice.
    ids.sort_unstable();
    ids.dedup();
    let entities = if ids.is_empty() {
        BTreeMap::new()
    } else {
        field("devices.name", entities(host)).unwrap_or_default()
    };
    let devices = ids.iter().filter_map(|id| {
        let entity = entities.get(&id.to_ascii_uppercase());
        let (vendor, product, serial) = parse(id).filter(|_| entity.is_none_or(|entity| !entity.hub))?;
        Some(Device {
            subsystem: "usb".to_owned(),
            vendor,
            product,
            serial: serial.to_owned(),
            name: entity.map(|entity| entity.name.clone()).unwrap_or_default(),
        })
    });
    Ok(devices.collect())
}

/// What Windows knows of a device.
struct Entity {
    name: String,
    hub: bool,
}

/// By the id in upper case.
fn entities(host: &dyn Host) -> Result<BTreeMap<String, Entity>> {
    let rows = wmi::rows(
        host,
        "SELECT CompatibleID, DeviceID, Name, Service FROM Win32_PnPEntity",
    )?;
    let entities = rows.iter().map(|row| {
        let service = wmi::text(row, "Service").to_ascii_lowercase();
        let entity = Entity {
            name: wmi::text(row, "Name"),
            // `usbhub`, `USBHUB3`; those of other makers have other names.
            hub: service.starts_with("usbhub") || of_hub_class(row),
        };
        (wmi::text(row, "DeviceID").to_ascii_uppercase(), entity)
    });
    Ok(entities.collect())
}

/// Whether the device says itself that it is of the class of hubs: `USB\Class_09`, which the system makes of its descriptor.
fn of_hub_class(row: &WmiRow) -> bool {
    let ids = wmi::value(row, "CompatibleID").and_then(Value::as_array);
    let mut ids = ids.into_iter().flatten().filter_map(Value::as_str);
    ids.any(|id| id.eq_ignore_ascii_case(r"USB\Class_09"))
}

/// The id in a reference: `\\PC\root\cimv2:Win32_PnPEntity.DeviceID="USB\\VID_046D&PID_C52B\\5&2F6B6C5&0&1"`.
fn device_id(reference: &str) -> Option<String> {
    let (_, quoted) = reference.split_once("DeviceID=\"")?;
    let quoted = quoted.strip_suffix('"')?;
    let mut id = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        id.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    // Some bridges escape it as in XML.
    Some(id.replace("&amp;", "&"))
}

/// Vendor, product and serial number of `USB\VID_0781&PID_5581\4C530001230101115220`; none for interfaces (`&MI_00`),
/// root hubs and what other drivers made of a device.
fn parse(id: &str) -> Option<(u32, u32, &str)> {
    let mut parts = id.splitn(3, '\\');
    if !parts.next()?.eq_ignore_ascii_case("USB") {
        return None;
    }
    let (numbers, instance) = (parts.next()?, parts.next()?);
    let mut numbers = numbers.split('&');
    let mut number = |prefix: &str| {
        let text = numbers.next()?;
        let (start, digits) = text.split_at_checked(prefix.len())?;
        let digits = (start.eq_ignore_ascii_case(prefix) && digits.len() == 4).then_some(digits)?;
        u16::from_str_radix(digits, 16).ok().map(u32::from)
    };
    let (vendor, product) = (number("VID_")?, number("PID_")?);
    let interface = numbers.any(|part| {
        part.get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case("MI_"))
    });
    // Windows makes up an instance with an ampersand where a device has no serial number.
    let serial = if instance.contains('&') { "" } else { instance };
    (!interface).then_some((vendor, product, serial))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_serial_number_are_in_the_id() {
        assert_eq!(
            parse(r"USB\VID_0781&PID_5581\4C530001230101115220"),
            Some((0x0781, 0x5581, "4C530001230101115220"))
        );
        assert_eq!(
            parse(r"USB\VID_046D&PID_C52B\5&2f6b6c5&0&1"),
            Some((0x046d, 0xc52b, ""))
        );
        for id in [
            r"USB\VID_046D&PID_C52B&MI_00\6&1A2B&0&0000",
            r"USB\ROOT_HUB30\4&1a2b3c&0&0",
            r"HID\VID_046D&PID_C52B\7&1",
            r"USBSTOR\DISK&VEN_SANDISK\4C53&0",
            r"USB\VID_046D&PID_C52B",
            r"USB\VID_+46D&PID_C52B1\5",
            "",
        ] {
            assert_eq!(parse(id), None, "{id}");
        }
    }

    #[test]
    fn references_are_unescaped_in_both_notations() {
        let plain = r#"\\PC\root\cimv2:Win32_PnPEntity.DeviceID="USB\\VID_046D&PID_C52B\\5&2F6B6C5&0&1""#;
        let as_xml = plain.replace('&', "&amp;");
        let expected = Some(r"USB\VID_046D&PID_C52B\5&2F6B6C5&0&1".to_owned());
        assert_eq!(device_id(plain), expected);
        assert_eq!(device_id(&as_xml), expected);
        assert_eq!(
            device_id(r#"\\PC\root\cimv2:Win32_PnPEntity.DeviceID="USB\\"#),
            None
        );
        assert_eq!(device_id(""), None);
    }

    proptest! {
        #[test]
        fn every_id_is_found_again(vendor: u16, product: u16, serial in "[A-Z0-9]{1,20}") {
            let id = format!(r"USB\VID_{vendor:04X}&PID_{product:04X}\{serial}");
            let reference = format!(r#"\\PC\root\cimv2:Win32_PnPEntity.DeviceID="{}""#, id.replace('\\', r"\\"));
            prop_assert_eq!(device_id(&reference), Some(id.clone()));
            prop_assert_eq!(parse(&id), Some((vendor.into(), product.into(), serial.as_str())));
        }

        #[test]
        fn no_reference_panics(text in "(USB\\\\|VID_|PID_|&|\\\\|\"|DeviceID=|[0-9a-f]{4}|\\PC)*") {
            parse(&text);
            device_id(&text);
        }
    }
}
