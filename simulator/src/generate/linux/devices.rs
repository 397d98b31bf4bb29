//! Devices as the kernel shows them in `/sys` (display adapters, screens, power supplies, USB), and CUPS's queues.

use super::edid::edid;
use crate::generate::Profile;
use crate::generate::peripherals::{Charge, Screen};
use std::io;
use std::time::SystemTime;

const DRM: &str = "/sys/class/drm";
const PCI: &str = "/sys/bus/pci/devices";
const POWER: &str = "/sys/class/power_supply";
const USB: &str = "/sys/bus/usb/devices";

/// What a full battery holds, µWh: a multiple of 10,000.
const CAPACITY: u64 = 50_000_000;

/// Content of a file; none if the path is not one of a device.
pub(super) fn read_file(profile: &Profile, path: &str, now: SystemTime) -> Option<io::Result<Vec<u8>>> {
    let content = match path {
        "/etc/cups/printers.conf" if profile.printers().is_empty() => None,
        // Only the spooler and root may read it, because there may be passwords in it.
        "/etc/cups/printers.conf" if profile.defects.unprivileged => {
            return Some(Err(io::ErrorKind::PermissionDenied.into()));
        }
        "/etc/cups/printers.conf" => Some(printers(profile)),
        "/usr/share/misc/pci.ids" => pci_names(profile),
        _ => {
            let (folder, rest) = [DRM, PCI, POWER, USB]
                .into_iter()
                .find_map(|folder| Some((folder, path.strip_prefix(folder)?.strip_prefix('/')?)))?;
            rest.split_once('/').and_then(|(device, attribute)| match folder {
                DRM => screen(profile, device, attribute),
                PCI => adapter(profile, device, attribute).map(line),
                POWER => power_supply(profile.charge(now)?, device, attribute).map(line),
                _ => usb(profile, device, attribute).map(line),
            })
        }
    };
    Some(content.ok_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Names in a folder; none if it is not one of devices.
pub(super) fn list_folder(profile: &Profile, path: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = match path {
        DRM => {
            let screens = profile.screens();
            let connectors = screens.iter().map(|screen| format!("card0-{}", screen.connector));
            ["card0", "card0-HDMI-A-9", "renderD128", "version"]
                .map(str::to_owned)
                .into_iter()
                .chain(connectors)
                .collect()
        }
        PCI => {
            let adapter = profile.adapter().map(|_| ADAPTER.to_owned());
            adapter.into_iter().chain([BRIDGE.to_owned()]).collect()
        }
        POWER => match profile.charge(SystemTime::UNIX_EPOCH) {
            Some(_) => vec!["AC".to_owned(), "BAT0".to_owned()],
            None => Vec::new(),
        },
        USB => {
            let devices = profile.usb_devices();
            let ports = (1..=devices.len()).map(|port| format!("1-{port}"));
            ["1-0:1.0", "usb1"]
                .map(str::to_owned)
                .into_iter()
                .chain(ports)
                .collect()
        }
        _ => return None,
    };
    names.sort();
    Some(names)
}

fn line(text: String) -> Vec<u8> {
    (text + "\n").into_bytes()
}

/// An output where nothing is plugged in has an EDID without content.
fn screen(profile: &Profile, device: &str, attribute: &str) -> Option<Vec<u8>> {
    let connector = device.strip_prefix("card0-")?;
    let screens = profile.screens();
    let screen: Option<&Screen> = screens.iter().find(|screen| screen.connector == connector);
    let connected = screen.is_some();
    match attribute {
        "status" => Some(line(
            if connected { "connected" } else { "disconnected" }.to_owned(),
        )),
        "enabled" => Some(line(if connected { "enabled" } else { "disabled" }.to_owned())),
        "edid" => Some(screen.map(edid).unwrap_or_default()),
        _ => None,
    }
}

const BRIDGE: &str = "0000:00:00.0";
const ADAPTER: &str = "0000:00:02.0";

fn adapter(profile: &Profile, device: &str, attribute: &str) -> Option<String> {
    let (class, (vendor, number)) = match device {
        BRIDGE => (0x06_0000, (0x8086, 0x29c0)),
        ADAPTER => (0x03_0000, profile.adapter()?.ids),
        _ => return None,
    };
    match attribute {
        "class" => Some(format!("{class:#08x}")),
        "vendor" => Some(format!("{vendor:#06x}")),
        "device" => Some(format!("{number:#06x}")),
        _ => None,
    }
}

/// The list of PCI names, of which only what is in the machine matters.
fn pci_names(profile: &Profile) -> Option<Vec<u8>> {
    if !profile.has_pci_names() {
        return None;
    }
    let mut list =
        "# List of PCI ID's\n\n0e11  Compaq Computer Corporation\n\t0001  PCI to EISA Bridge\n".to_owned();
    if let Some(adapter) = profile.adapter() {
        let (vendor, device) = adapter.ids;
        list.push_str(&format!(
            "{vendor:04x}  {}\n\t0000  Something else\n",
            adapter.vendor
        ));
        if let Some(name) = adapter.name {
            list.push_str(&format!("\t{device:04x}  {name}\n"));
        }
    }
    list.push_str("ffff  Illegal Vendor ID\nC 03  Display controller\n");
    Some(list.into_bytes())
}

fn power_supply(charge: Charge, device: &str, attribute: &str) -> Option<String> {
    let text = match (device, attribute) {
        ("AC", "type") => "Mains",
        ("AC", "online") => {
            if charge.plugged {
                "1"
            } else {
                "0"
            }
        }
        ("BAT0", "type") => "Battery",
        ("BAT0", "present") => "1",
        ("BAT0", "status") => match (charge.plugged, charge.level) {
            (true, 10_000) => "Full",
            (true, _) => "Charging",
            (false, _) => "Discharging",
        },
        ("BAT0", "energy_full") => return Some(CAPACITY.to_string()),
        ("BAT0", "energy_now") => return Some((CAPACITY / 10_000 * u64::from(charge.level)).to_string()),
        ("BAT0", "capacity") => return Some((charge.level / 100).to_string()),
        _ => return None,
    };
    Some(text.to_owned())
}

fn usb(profile: &Profile, name: &str, attribute: &str) -> Option<String> {
    if name == "usb1" {
        let text = match attribute {
            "idVendor" => "1d6b",
            "idProduct" => "0002",
            "bDeviceClass" => "09",
            "product" => "xHCI Host Controller",
            _ => return None,
        };
        return Some(text.to_owned());
    }
    let port: usize = name.strip_prefix("1-")?.parse().ok()?;
    let devices = profile.usb_devices();
    let (device, serial) = devices.get(port.checked_sub(1)?)?;
    match attribute {
        "idVendor" => Some(format!("{:04x}", device.ids.0)),
        "idProduct" => Some(format!("{:04x}", device.ids.1)),
        "bDeviceClass" => Some("00".to_owned()),
        "product" if !device.name.is_empty() => Some(device.name.to_owned()),
        "serial" => serial.clone(),
        _ => None,
    }
}

pub(in crate::generate) fn printers(profile: &Profile) -> Vec<u8> {
    let mut config = "# Printer configuration file for CUPS v2.4.2\n".to_owned();
    for (number, printer) in profile.printers().into_iter().enumerate() {
        let section = if number == 0 { "DefaultPrinter" } else { "Printer" };
        config.push_str(&format!(
            "<{section} {}>\nPrinterId {number}\nMakeModel {}\nDeviceURI {}\nState Idle\nAccepting Yes\n",
            printer.name, printer.driver, printer.uri
        ));
        if let Some(paper) = printer.paper {
            config.push_str(&format!("Option PageSize {paper}\n"));
        }
        config.push_str(&format!("</{section}>\n"));
    }
    config.into_bytes()
}
