//! The truth about what is built in or plugged in.

use crate::generate::Profile;
use crate::generate::peripherals::{BatteryDriver, Mood, Printer as Queue, Screen as Connected};
use oco_protocol::inventory::{Device, OrFalse, Printer, Screen, UNKNOWN};
use std::time::SystemTime;

/// Level and status of the battery as Linux knows them.
pub(super) fn battery(profile: &Profile, now: SystemTime) -> (OrFalse<f64>, OrFalse<u8>) {
    if profile.battery_driver() == Some(BatteryDriver::Percent) {
        battery_in_percent(profile, now)
    } else {
        exact_battery(profile, now)
    }
}

fn exact_battery(profile: &Profile, now: SystemTime) -> (OrFalse<f64>, OrFalse<u8>) {
    match profile.charge(now) {
        Some(charge) => (
            OrFalse::Value(f64::from(charge.level) / 1e4),
            OrFalse::Value(if charge.plugged { 1 } else { 2 }),
        ),
        None => (OrFalse::None, OrFalse::None),
    }
}

/// Level and status of the battery where the system knows no fractions of a percent.
pub(super) fn battery_in_percent(profile: &Profile, now: SystemTime) -> (OrFalse<f64>, OrFalse<u8>) {
    match (profile.charge(now), exact_battery(profile, now)) {
        (Some(charge), (_, status)) => (OrFalse::Value(f64::from(charge.percent()) / 100.0), status),
        (None, neither) => neither,
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
    screens.iter().map(screen).collect()
}

/// In the order of their numbers, those without an EDID with what WMI knows.
pub(super) fn windows_screens(profile: &Profile) -> Vec<Screen> {
    let screens = profile.screens();
    let reported = screens.iter().map(|fact| {
        let whole = screen(fact);
        if fact.driver_has_no_edid() {
            Screen {
                resolution: UNKNOWN.to_owned(),
                size: UNKNOWN.to_owned(),
                technology: UNKNOWN.to_owned(),
                ..whole
            }
        } else {
            whole
        }
    });
    reported.collect()
}

/// Macs with processors of Apple's own don't pass on EDIDs.
pub(super) fn macos_screens(profile: &Profile) -> Vec<Screen> {
    let screens = profile.screens();
    let reported = screens.iter().map(|fact| {
        let whole = screen(fact);
        if profile.is_arm() || fact.is_behind_an_adapter() {
            Screen {
                size: UNKNOWN.to_owned(),
                technology: "digital".to_owned(),
                ..whole
            }
        } else {
            whole
        }
    });
    reported.collect()
}

fn screen(fact: &Connected) -> Screen {
    let monitor = fact.monitor;
    Screen {
        name: monitor.name.to_owned(),
        manufacturer: monitor.maker.to_owned(),
        manufactured: match fact.week {
            0 => fact.year.to_string(),
            week => format!("{week}/{}", fact.year),
        },
        resolution: format!("{} x {}", monitor.pixels.0, monitor.pixels.1),
        size: match monitor.centimetres {
            (0, _) | (_, 0) => UNKNOWN.to_owned(),
            (width, height) => format!("{width}.0 x {height}.0"),
        },
        kind: format!("{:04X}", monitor.product),
        serialno: fact.serial.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        technology: if monitor.digital { "digital" } else { "analog" }.to_owned(),
    }
}

pub(super) fn windows_printers(profile: &Profile) -> Vec<Printer> {
    let printers = profile.printers().into_iter().map(|printer| Printer {
        name: printer.name.to_owned(),
        driver: printer.driver.to_owned(),
        paper: printer.paper.unwrap_or(UNKNOWN).to_owned(),
        dpi: dots(printer),
        uri: printer.port().to_owned(),
        status: match printer.mood {
            Mood::Idle => "Idle",
            Mood::NoPaper => "Paper out",
            Mood::Rejecting => "Stopped",
            Mood::Off => "Offline, Toner low",
        }
        .to_owned(),
    });
    printers.collect()
}

/// By their numbers, as Windows' ids sort.
pub(super) fn windows_devices(profile: &Profile) -> Vec<Device> {
    let mut devices = devices(profile);
    devices.sort_by_key(|device| (device.vendor, device.product));
    devices
}

pub(super) fn printers(profile: &Profile) -> Vec<Printer> {
    let printers = profile.printers().into_iter().map(|printer| Printer {
        name: printer.name.to_owned(),
        driver: printer.driver.to_owned(),
        paper: printer.paper.unwrap_or(UNKNOWN).to_owned(),
        dpi: match printer.mood {
            Mood::NoPaper | Mood::Rejecting => dots(printer),
            Mood::Idle | Mood::Off => UNKNOWN.to_owned(),
        },
        uri: printer.public_uri(),
        status: match printer.mood {
            Mood::Idle | Mood::Off => "Idle",
            Mood::NoPaper => "Stopped (Out of paper)",
            Mood::Rejecting => "Idle (rejects jobs)",
        }
        .to_owned(),
    });
    printers.collect()
}

fn dots(printer: &Queue) -> String {
    match printer.dots() {
        (across, down) if across == down => across.to_string(),
        (across, down) => format!("{across}x{down}"),
    }
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
