//! The truth about what is built in or plugged in.

use crate::generate::Profile;
use oco_protocol::inventory::{Device, OrFalse, Printer, Screen, UNKNOWN};
use std::time::SystemTime;

/// Level and status of the battery.
pub(super) fn battery(profile: &Profile, now: SystemTime) -> (OrFalse<f64>, OrFalse<u8>) {
    match profile.charge(now) {
        Some(charge) => (
            OrFalse::Value(f64::from(charge.level) / 1e4),
            OrFalse::Value(if charge.plugged { 1 } else { 2 }),
        ),
        None => (OrFalse::None, OrFalse::None),
    }
}

/// The display adapter as Linux calls it.
pub(super) fn gpu(profile: &Profile) -> String {
    let Some(adapter) = profile.adapter() else {
        return String::new();
    };
    let numbers = format!("{:04x}:{:04x}", adapter.ids.0, adapter.ids.1);
    match (profile.has_pci_names(), adapter.name) {
        (true, Some(name)) => format!("{} {name}", adapter.vendor),
        (true, None) => format!("{} {numbers}", adapter.vendor),
        (false, _) => numbers,
    }
}

/// In the order of their connectors.
pub(super) fn screens(profile: &Profile) -> Vec<Screen> {
    let mut screens = profile.screens();
    screens.sort_by_key(|screen| screen.connector);
    let unless_zero = |(width, height): (u8, u8)| match (width, height) {
        (0, _) | (_, 0) => UNKNOWN.to_owned(),
        _ => format!("{width}.0 x {height}.0"),
    };
    screens
        .into_iter()
        .map(|screen| Screen {
            name: screen.monitor.name.to_owned(),
            manufacturer: screen.monitor.maker.to_owned(),
            manufactured: match screen.week {
                0 => screen.year.to_string(),
                week => format!("{week}/{}", screen.year),
            },
            resolution: format!("{} x {}", screen.monitor.pixels.0, screen.monitor.pixels.1),
            size: unless_zero(screen.monitor.centimetres),
            kind: format!("{:04X}", screen.monitor.product),
            serialno: screen.serial.unwrap_or_else(|| UNKNOWN.to_owned()),
            technology: if screen.monitor.digital {
                "digital"
            } else {
                "analog"
            }
            .to_owned(),
        })
        .collect()
}

pub(super) fn printers(profile: &Profile) -> Vec<Printer> {
    let printers = profile.printers().into_iter().map(|printer| Printer {
        name: printer.name.to_owned(),
        driver: printer.driver.to_owned(),
        paper: printer.paper.unwrap_or(UNKNOWN).to_owned(),
        dpi: UNKNOWN.to_owned(),
        uri: printer.uri.to_owned(),
        status: "Idle".to_owned(),
    });
    printers.collect()
}

pub(super) fn devices(profile: &Profile) -> Vec<Device> {
    let devices = profile.usb_devices().into_iter().map(|(device, serial)| Device {
        subsystem: "usb".to_owned(),
        vendor: device.ids.0.into(),
        product: device.ids.1.into(),
        serial: serial.unwrap_or_default(),
        name: device.name.to_owned(),
    });
    devices.collect()
}
