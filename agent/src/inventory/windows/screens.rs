//! Screens: WMI knows which are connected, and the registry has their EDIDs.

use super::{registry, wmi};
use crate::host::{Host, RegistryKey, WmiRow};
use crate::inventory::edid;
use crate::inventory::field::{CollectError, Result, field, optional};
use oco_protocol::inventory::{Screen, UNKNOWN};
use std::io;

const MONITORS: &str = r"SYSTEM\CurrentControlSet\Enum";

/// All connected screens.
pub(super) fn collect(host: &dyn Host) -> Result<Vec<Screen>> {
    let query = "SELECT Active, InstanceName, ManufacturerName, ProductCodeID, SerialNumberID, UserFriendlyName, \
                 WeekOfManufacture, YearOfManufacture FROM WmiMonitorID";
    let monitors = match host.wmi(r"root\wmi", query) {
        Ok(rows) => rows,
        // How WMI says that no driver of a screen is there to be asked.
        Err(error) if error.source.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let connected = monitors
        .iter()
        .filter(|monitor| wmi::flag(monitor, "Active") != Some(false));
    Ok(connected.map(|monitor| screen(host, monitor)).collect())
}

/// The driver of a screen keeps its EDID; where it has none, WMI has some of it.
fn screen(host: &dyn Host, monitor: &WmiRow) -> Screen {
    let edid = field("screens", edid(host, &wmi::text(monitor, "InstanceName"))).flatten();
    edid.and_then(|edid| edid::screen(&edid))
        .unwrap_or_else(|| without_edid(monitor))
}

fn edid(host: &dyn Host, instance: &str) -> Result<Option<Vec<u8>>> {
    let device = device(instance)
        .ok_or_else(|| CollectError::malformed(format_args!("the monitor {instance:?}"), "not a device"))?;
    let key = RegistryKey::machine(format!(r"{MONITORS}\{device}\Device Parameters"));
    let values = optional(host.registry_values(&key))?.unwrap_or_default();
    Ok(registry::binary(&values, "EDID").map(<[u8]>::to_vec))
}

/// The device of an instance, which has a number appended: `DISPLAY\DELA0C4\5&1a2b3c4d&0&UID4352_0`.
fn device(instance: &str) -> Option<&str> {
    let (device, number) = instance.rsplit_once('_')?;
    let plain = device.split('\\').all(|part| !part.is_empty() && part != "..");
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (plain && numbered && device.split('\\').count() == 3).then_some(device)
}

fn without_edid(monitor: &WmiRow) -> Screen {
    let maker = characters(monitor, "ManufacturerName");
    let product = characters(monitor, "ProductCodeID");
    let number = |property| wmi::number(monitor, property).unwrap_or_default();
    let serial =
        characters(monitor, "SerialNumberID").filter(|serial| serial.bytes().any(|digit| digit != b'0'));
    let unknown = || UNKNOWN.to_owned();
    Screen {
        name: characters(monitor, "UserFriendlyName").unwrap_or_else(unknown),
        manufacturer: maker.map_or_else(unknown, |id| edid::maker(&id)),
        manufactured: match number("YearOfManufacture") {
            0 => unknown(),
            year => edid::manufactured(number("WeekOfManufacture"), year),
        },
        resolution: unknown(),
        size: unknown(),
        kind: product.map_or_else(unknown, |product| product.to_uppercase()),
        serialno: serial.unwrap_or_else(unknown),
        technology: unknown(),
    }
}

/// WMI has texts of monitors as arrays of characters that are filled up with zeros.
fn characters(monitor: &WmiRow, property: &str) -> Option<String> {
    let units = monitor.get(property)?.as_array()?.iter();
    let units: Vec<u16> = units
        .map_while(|unit| unit.as_u64().and_then(|unit| u16::try_from(unit).ok()))
        .take_while(|unit| *unit != 0)
        .collect();
    let text = String::from_utf16_lossy(&units).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn units(text: &str) -> Value {
        let units = text.encode_utf16().chain([0, 0, 0]);
        Value::from_iter(units.map(u64::from))
    }

    #[test]
    fn a_monitor_whose_edid_is_lost_has_what_wmi_knows() {
        let row: WmiRow = serde_json::from_value(serde_json::json!({
            "ManufacturerName": units("DEL"), "ProductCodeID": units("a0c4"), "SerialNumberID": units("7VTW19B906RX"),
            "UserFriendlyName": units("DELL U2417H"), "WeekOfManufacture": 12, "YearOfManufacture": 2019,
        }))
        .unwrap();
        let screen = without_edid(&row);
        assert_eq!(
            [&screen.name, &screen.manufacturer, &screen.manufactured],
            ["DELL U2417H", "Dell", "12/2019"]
        );
        assert_eq!([&screen.kind, &screen.serialno], ["A0C4", "7VTW19B906RX"]);
        // Panels have no name, and many no serial number.
        let panel: WmiRow = serde_json::from_value(serde_json::json!({
            "ManufacturerName": units("QQQ"), "SerialNumberID": units("0"), "UserFriendlyName": null,
        }))
        .unwrap();
        let panel = without_edid(&panel);
        assert_eq!(
            [&panel.name, &panel.manufacturer, &panel.serialno],
            ["-", "Unknown (QQQ)", "-"]
        );
    }

    #[test]
    fn the_device_is_the_instance_without_its_number() {
        assert_eq!(
            device(r"DISPLAY\DELA0C4\5&1a2b3c4d&0&UID4352_0"),
            Some(r"DISPLAY\DELA0C4\5&1a2b3c4d&0&UID4352")
        );
        for instance in [
            "",
            "_0",
            r"DISPLAY\DELA0C4",
            r"DISPLAY\..\X_0",
            r"DISPLAY\\X_0",
            r"A\B\C_x",
        ] {
            assert_eq!(device(instance), None, "{instance}");
        }
    }

    proptest! {
        #[test]
        fn texts_of_monitors_are_found_again(text in "[A-Za-z0-9äöü]{1,13}") {
            let row = WmiRow::from([("UserFriendlyName".to_owned(), units(&text))]);
            prop_assert_eq!(characters(&row, "UserFriendlyName"), Some(text));
        }

        #[test]
        fn no_row_panics(units in proptest::collection::vec(any::<i64>(), 0..20), week: u64, year: u64, instance in "\\PC{0,20}") {
            let row: WmiRow = serde_json::from_value(serde_json::json!({
                "ManufacturerName": units, "SerialNumberID": units, "WeekOfManufacture": week, "YearOfManufacture": year,
            })).unwrap();
            without_edid(&row);
            device(&instance);
        }
    }
}
