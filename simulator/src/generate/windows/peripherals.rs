//! Screens, printers, batteries and USB devices as WMI lists them.

use super::wmi::row;
use crate::generate::Profile;
use crate::generate::linux::edid::edid;
use crate::generate::peripherals::{BatteryDriver, Mood, Screen};
use oco_agent::host::{RegistryValue, WmiRow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// The device of a screen, below `Enum`.
fn screen_device(number: usize, screen: &Screen) -> String {
    let monitor = screen.monitor;
    format!(
        r"DISPLAY\{}{:04X}\5&1a2b3c4d&0&UID{}",
        monitor.pnp_id,
        monitor.product,
        4352 + number
    )
}

/// Rows of `WmiMonitorID`.
pub(super) fn monitors(profile: &Profile) -> Vec<WmiRow> {
    let screens = profile.screens().into_iter().enumerate();
    let connected = screens.map(|(number, screen)| {
        let name = screen.serial.as_ref().map(|_| characters(screen.monitor.name));
        row([
            ("Active", true.into()),
            (
                "InstanceName",
                format!("{}_0", screen_device(number, &screen)).into(),
            ),
            ("ManufacturerName", characters(screen.monitor.pnp_id)),
            (
                "ProductCodeID",
                characters(&format!("{:04X}", screen.monitor.product)),
            ),
            (
                "SerialNumberID",
                characters(screen.serial.as_deref().unwrap_or("0")),
            ),
            ("UserFriendlyName", name.unwrap_or(Value::Null)),
            ("WeekOfManufacture", json!(screen.week)),
            ("YearOfManufacture", json!(screen.year)),
        ])
    });
    connected.collect()
}

/// A text, a number a character, filled up with zeros.
fn characters(text: &str) -> Value {
    let units = text.encode_utf16().map(u64::from);
    Value::from_iter(units.chain([0, 0, 0]))
}

/// Values of a screen's key below `Enum`, which is in lower case; none if there is no such screen, or it has lost it.
pub(super) fn screen_parameters(profile: &Profile, key: &str) -> Option<BTreeMap<String, RegistryValue>> {
    let device = key.strip_suffix(r"\device parameters")?;
    let screens = profile.screens();
    let (_, screen) = screens
        .iter()
        .enumerate()
        .find(|(number, screen)| screen_device(*number, screen).to_lowercase() == device)?;
    let edid = match (screen.is_behind_an_adapter(), screen.driver_has_no_edid()) {
        (true, _) => Some(edid(screen)[..64].to_vec()),
        (false, true) => None,
        (false, false) => Some(edid(screen)),
    };
    Some(
        edid.map(|edid| ("EDID".to_owned(), RegistryValue::Binary(edid)))
            .into_iter()
            .collect(),
    )
}

pub(super) fn batteries(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let bay = |availability: u8| {
        row([
            ("Availability", json!(availability)),
            ("BatteryStatus", Value::Null),
            ("EstimatedChargeRemaining", Value::Null),
        ])
    };
    match profile.battery_driver() {
        Some(BatteryDriver::Mute) => return vec![bay(2)],
        // 11: not installed.
        Some(BatteryDriver::Charge) => return [bay(11)].into_iter().chain(charged(profile, now)).collect(),
        _ => {}
    }
    charged(profile, now)
}

fn charged(profile: &Profile, now: SystemTime) -> Vec<WmiRow> {
    let charge = profile.charge(now).into_iter();
    let rows = charge.map(|charge| {
        row([
            ("Availability", json!(2)),
            ("BatteryStatus", json!(if charge.plugged { 2 } else { 1 })),
            ("EstimatedChargeRemaining", json!(charge.percent())),
            ("DesignCapacity", Value::Null),
        ])
    });
    rows.collect()
}

pub(super) fn printers(profile: &Profile) -> Vec<WmiRow> {
    let printers = profile.printers().into_iter().map(|printer| {
        let (state, status) = match printer.mood {
            Mood::Idle => (0, 3),
            Mood::NoPaper => (0x10, 1),
            Mood::Rejecting => (0, 6),
            // Offline and low on toner.
            Mood::Off => (0x2_0080, 1),
        };
        let (across, down) = printer.dots();
        row([
            ("Name", printer.name.into()),
            ("DriverName", printer.driver.into()),
            ("PortName", printer.port().into()),
            ("PrinterState", json!(state)),
            ("PrinterStatus", json!(status)),
            ("WorkOffline", (printer.mood == Mood::Off).into()),
            ("HorizontalResolution", json!(across)),
            ("VerticalResolution", json!(down)),
        ])
    });
    printers.collect()
}

pub(super) fn printer_settings(profile: &Profile) -> Vec<WmiRow> {
    let printers = profile.printers().into_iter().map(|printer| {
        row([
            ("Name", printer.name.into()),
            ("PaperSize", printer.paper.map_or(Value::Null, Value::from)),
        ])
    });
    printers.collect()
}

/// Ids of the USB devices with their names and drivers: the root hub, a hub, devices, and an interface of each.
fn usb(profile: &Profile) -> Vec<(String, Value, &'static str)> {
    let devices = profile.usb_devices();
    let attached = devices.iter().enumerate().flat_map(|(port, (device, serial))| {
        let numbers = format!("VID_{:04X}&PID_{:04X}", device.ids.0, device.ids.1);
        let instance = serial
            .clone()
            .unwrap_or_else(|| format!("5&2F6B6C5&0&{}", port + 1));
        let name = if device.name.is_empty() {
            Value::Null
        } else {
            device.name.into()
        };
        [
            (format!(r"USB\{numbers}\{instance}"), name, "usbccgp"),
            (
                format!(r"USB\{numbers}&MI_00\6&1A2B3C&0&0000"),
                "USB-Eingabegerät".into(),
                "HidUsb",
            ),
        ]
    });
    let hubs = [
        (
            r"USB\ROOT_HUB30\4&1a2b3c&0&0".to_owned(),
            "USB-Root-Hub (USB 3.0)".into(),
            "USBHUB3",
        ),
        (
            r"USB\VID_05E3&PID_0610\5&2F6B6C5&0&9".to_owned(),
            "Generischer USB-Hub".into(),
            "USBHUB3",
        ),
    ];
    hubs.into_iter().chain(attached).collect()
}

pub(super) fn usb_references(profile: &Profile) -> Vec<WmiRow> {
    let hostname = profile.hostname();
    let references = usb(profile).into_iter().map(|(id, _, _)| {
        let id = id.replace('\\', r"\\");
        row([(
            "Dependent",
            format!(r#"\\{hostname}\root\cimv2:Win32_PnPEntity.DeviceID="{id}""#).into(),
        )])
    });
    references.collect()
}

pub(super) fn usb_entities(profile: &Profile) -> Vec<WmiRow> {
    let entities = usb(profile).into_iter().map(|(id, name, service)| {
        row([
            ("DeviceID", id.into()),
            ("Name", name),
            ("Service", service.into()),
        ])
    });
    entities.collect()
}
