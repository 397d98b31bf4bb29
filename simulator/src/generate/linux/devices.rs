//! Devices as the kernel shows them in `/sys` (display adapters, screens, power supplies, USB), and CUPS's queues.

use super::edid::edid;
use crate::generate::Profile;
use crate::generate::peripherals::{BatteryDriver, Charge, Mood, Printer, Screen};
use std::io;
use std::time::SystemTime;

const DRM: &str = "/sys/class/drm";
const PCI: &str = "/sys/bus/pci/devices";
const POWER: &str = "/sys/class/power_supply";
const PPDS: &str = "/etc/cups/ppd/";
const X_SERVERS: &str = "/tmp/.X11-unix";
const XRANDR: &str = "/usr/bin/xrandr";
const KVM: &str = "DP-9";
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
        XRANDR if has_x_server(profile) => Some(b"\x7fELF".to_vec()),
        _ if path.starts_with(PPDS) => ppd(profile, path),
        _ => {
            let (folder, rest) = [DRM, PCI, POWER, USB]
                .into_iter()
                .find_map(|folder| Some((folder, path.strip_prefix(folder)?.strip_prefix('/')?)))?;
            rest.split_once('/').and_then(|(device, attribute)| match folder {
                DRM => screen(profile, device, attribute),
                PCI => adapter(profile, device, attribute).map(line),
                POWER => power_supply(profile, now, device, attribute).map(line),
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
            let mut screens = profile.screens();
            screens.retain(|_| !has_x_server(profile));
            let connectors = screens.iter().map(|screen| format!("card0-{}", screen.connector));
            ["card0", "card0-DP-9", "card0-HDMI-A-9", "renderD128", "version"]
                .map(str::to_owned)
                .into_iter()
                .chain(connectors)
                .collect()
        }
        PCI => {
            let adapter = profile.adapter().map(|_| ADAPTER.to_owned());
            adapter.into_iter().chain([BRIDGE.to_owned()]).collect()
        }
        POWER => {
            let names: &[&str] = match profile.battery_driver() {
                Some(BatteryDriver::Energy | BatteryDriver::Mute) => &["AC", "BAT0"],
                Some(BatteryDriver::Charge) => &["AC", "BAT0", "BAT1", "hidpp_battery_0"],
                Some(BatteryDriver::Percent) => &["BAT0", "ucsi-source-psy-USBC000:001"],
                None => &[],
            };
            names.iter().map(|name| (*name).to_owned()).collect()
        }
        X_SERVERS if has_x_server(profile) => vec!["X0".to_owned()],
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
    if connector == KVM {
        // A switch passes on rubbish, of which no screen can be made.
        return match attribute {
            "status" => Some(line("connected".to_owned())),
            "edid" => Some(b"\xff\xff\xff".to_vec()),
            _ => None,
        };
    }
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

fn power_supply(profile: &Profile, now: SystemTime, device: &str, attribute: &str) -> Option<String> {
    let driver = profile.battery_driver()?;
    let charge = profile.charge(now);
    let plugged = charge.is_none_or(|charge| charge.plugged);
    let online = if plugged { "1" } else { "0" };
    let text = match (device, attribute, driver) {
        ("AC", "type", _) => "Mains",
        ("AC", "online", _) => online,
        ("BAT0" | "BAT1" | "hidpp_battery_0", "type", _) => "Battery",
        ("BAT0", "present", _) => "1",
        ("BAT1", "present", _) => "0",
        ("hidpp_battery_0", "scope", _) => "Device",
        ("hidpp_battery_0", "capacity", _) => "55",
        ("ucsi-source-psy-USBC000:001", "type", _) => "USB",
        ("ucsi-source-psy-USBC000:001", "online", _) => online,
        ("BAT0", attribute, driver) => return battery(charge?, driver, attribute),
        _ => return None,
    };
    Some(text.to_owned())
}

fn battery(charge: Charge, driver: BatteryDriver, attribute: &str) -> Option<String> {
    let level = CAPACITY / 10_000 * u64::from(charge.level);
    match (attribute, driver) {
        ("status", _) => Some(
            match (charge.plugged, charge.level) {
                (true, 10_000) => "Full",
                (true, _) => "Charging",
                (false, _) => "Discharging",
            }
            .to_owned(),
        ),
        ("energy_full", BatteryDriver::Energy) | ("charge_full", BatteryDriver::Charge) => {
            Some(CAPACITY.to_string())
        }
        ("energy_now", BatteryDriver::Energy) | ("charge_now", BatteryDriver::Charge) => {
            Some(level.to_string())
        }
        ("capacity", _) => Some(charge.percent().to_string()),
        _ => None,
    }
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
            "<{section} {}>\nPrinterId {number}\nDeviceURI {}\n",
            printer.name, printer.uri
        ));
        config.push_str(&queue(printer));
        config.push_str(&format!("</{section}>\n"));
    }
    config.into_bytes()
}

/// What a queue says about its state and its options.
fn queue(printer: &Printer) -> String {
    let paper = printer
        .paper
        .map(|paper| format!("Option PageSize {paper}\n"))
        .unwrap_or_default();
    match printer.mood {
        Mood::Idle | Mood::Off => {
            format!("MakeModel {}\nState Idle\nAccepting Yes\n{paper}", printer.driver)
        }
        Mood::NoPaper => format!(
            "MakeModel {}\nState Stopped\nStateMessage Out of paper\nAccepting Yes\nOption printer-resolution 600x1200dpi\n{paper}",
            printer.driver
        ),
        // The rest is in the driver's file.
        Mood::Rejecting => "State Idle\nAccepting No\nJobSheets none none\n".to_owned(),
    }
}

/// The file of a queue's driver; only some have one.
pub(in crate::generate) fn ppd(profile: &Profile, path: &str) -> Option<Vec<u8>> {
    let name = path.strip_prefix(PPDS)?.strip_suffix(".ppd")?;
    let printers = profile.printers();
    let printer = printers
        .iter()
        .find(|printer| printer.name == name && printer.mood == Mood::Rejecting)?;
    let paper = printer.paper.unwrap_or_default();
    let text = format!(
        "*PPD-Adobe: \"4.3\"\n*% Größe\n*NickName: \"{}\"\n*DefaultPageSize: {paper}\n*DefaultResolution: 300dpi\n*DefaultPageSize: A5\nno keyword\n",
        printer.driver
    );
    Some(text.into_bytes())
}

/// Whether the kernel's driver keeps the screens to itself, so that only the X server knows them.
fn has_x_server(profile: &Profile) -> bool {
    profile
        .adapter()
        .is_some_and(|adapter| adapter.vendor.starts_with("NVIDIA"))
}

/// `xrandr --display :0 --verbose`, in which every screen has its EDID.
pub(super) fn xrandr(profile: &Profile, args: &[&str]) -> Option<Vec<u8>> {
    if !has_x_server(profile) || args != ["--display", ":0", "--verbose"] {
        return None;
    }
    let mut text = "Screen 0: minimum 8 x 8, current 1920 x 1080, maximum 32767 x 32767\n".to_owned();
    let mut screens = profile.screens();
    screens.sort_by_key(|screen| screen.connector);
    for screen in &screens {
        text.push_str(&format!(
            "{} connected primary 1920x1080+0+0 (0x1bd) normal\n\tIdentifier: 0x1bc\n\tEDID: \n",
            screen.connector
        ));
        for line in edid(screen).chunks(16) {
            let digits: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("\t\t{digits}\n"));
        }
        text.push_str("\tBorder: 0/0/0/0\n\t\trange: (0, 65535)\n");
    }
    text.push_str("HDMI-9 disconnected (normal left inverted right x axis y axis)\n\tEDID: \n");
    Some(text.into_bytes())
}
