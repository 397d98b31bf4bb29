//! Display adapters, screens, batteries and USB devices as the commands of macOS print them.

use super::{dictionary, xml};
use crate::generate::Profile;
use crate::generate::linux::edid::edid;
use crate::generate::peripherals::Screen;
use plist::Value;
use serde_json::{Map, json};
use std::fmt::Write;
use std::io;
use std::time::SystemTime;

/// Output of `system_profiler -json SPDisplaysDataType`.
pub(super) fn displays(profile: &Profile) -> Vec<u8> {
    let screens: Vec<_> = profile
        .screens()
        .iter()
        .map(|screen| {
            if profile.is_arm() {
                without_edid(screen)
            } else {
                with_edid(screen)
            }
        })
        .collect();
    let gpu = profile.gpu.unwrap_or_default();
    let mut adapter = json!({"_name": gpu, "sppci_model": gpu, "sppci_device_type": "spdisplays_gpu"});
    if let (false, Some(adapter)) = (screens.is_empty(), adapter.as_object_mut()) {
        adapter.insert("spdisplays_ndrvs".to_owned(), screens.into());
    }
    json!({"SPDisplaysDataType": [adapter]}).to_string().into_bytes()
}

fn with_edid(screen: &Screen) -> serde_json::Value {
    if screen.is_behind_an_adapter() {
        let mut fields = without_edid(screen);
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("_spdisplays_edid".to_owned(), "0xffffffff".into());
        }
        return fields;
    }
    let mut digits = "0x".to_owned();
    for byte in edid(screen) {
        write!(digits, "{byte:02x}").ok();
    }
    json!({"_name": screen.monitor.name, "_spdisplays_edid": digits})
}

fn without_edid(screen: &Screen) -> serde_json::Value {
    let monitor = screen.monitor;
    let letters = monitor.pnp_id.bytes();
    let maker = letters.fold(0, |id: u16, letter| id << 5 | u16::from(letter & 0x1f));
    let mut fields = Map::new();
    let mut set = |key: &str, text: String| fields.insert(key.to_owned(), text.into());
    set("_name", monitor.name.to_owned());
    set("_spdisplays_display-vendor-id", format!("{maker:x}"));
    set("_spdisplays_display-product-id", format!("{:x}", monitor.product));
    set("_spdisplays_display-serial-number", "0".to_owned());
    set("_spdisplays_display-week", screen.week.to_string());
    set("_spdisplays_display-year", screen.year.to_string());
    set(
        "_spdisplays_pixels",
        format!("{} x {}", monitor.pixels.0, monitor.pixels.1),
    );
    if let Some(serial) = &screen.serial {
        set("spdisplays_display-serial-number", serial.clone());
    }
    fields.into()
}

/// Output of `pmset -g batt`.
pub(super) fn power(profile: &Profile, now: SystemTime) -> Vec<u8> {
    let text = match profile.charge(now) {
        None if profile.battery_driver().is_some() => {
            "Now drawing from 'AC Power'\n -InternalBattery-0 (id=4325475)\t(no reading) present: false\n"
                .to_owned()
        }
        None => "Now drawing from 'AC Power'\n".to_owned(),
        Some(charge) => {
            let (source, state) = if charge.plugged {
                ("AC Power", "charging; 1:02 remaining")
            } else {
                ("Battery Power", "discharging; (no estimate)")
            };
            format!(
                "Now drawing from '{source}'\n -InternalBattery-0 (id=4325475)\t{}%; {state} present: true\n",
                charge.percent()
            )
        }
    };
    text.into_bytes()
}

/// Output of `ioreg -a -l -p IOUSB`: one controller with a hub that everything is plugged into.
pub(super) fn usb(profile: &Profile) -> io::Result<Vec<u8>> {
    let devices = profile.usb_devices().into_iter().map(|(device, serial)| {
        let mut entry = vec![
            ("idVendor".to_owned(), Value::from(device.ids.0)),
            ("idProduct".to_owned(), device.ids.1.into()),
            ("bDeviceClass".to_owned(), 0.into()),
        ];
        if !device.name.is_empty() {
            entry.push(("USB Product Name".to_owned(), device.name.into()));
        }
        if let Some(serial) = serial {
            entry.push(("kUSBSerialNumberString".to_owned(), serial.into()));
        }
        Value::Dictionary(entry.into_iter().collect())
    });
    let hub = dictionary([
        ("idVendor", 0x05e3.into()),
        ("idProduct", 0x0610.into()),
        ("bDeviceClass", 9.into()),
        ("IORegistryEntryChildren", Value::Array(devices.collect())),
    ]);
    let controller = dictionary([
        ("IORegistryEntryName", "AppleUSBXHCI".into()),
        ("IORegistryEntryChildren", Value::Array(vec![hub])),
    ]);
    xml(&dictionary([
        ("IORegistryEntryName", "Root".into()),
        ("IORegistryEntryChildren", Value::Array(vec![controller])),
    ]))
}
