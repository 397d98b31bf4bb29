//! Display adapters and the screens on them, from system_profiler(8).

use crate::host::Host;
use crate::inventory::edid;
use crate::inventory::field::{CollectError, Result, command_output};
use oco_protocol::inventory::{Screen, UNKNOWN};
use serde_json::{Map, Value};

#[derive(Debug, Default, PartialEq)]
pub(super) struct Displays {
    /// Names of the adapters, one line each.
    pub(super) gpu: String,
    pub(super) screens: Vec<Screen>,
}

pub(super) fn collect(host: &dyn Host) -> Result<Displays> {
    parse(&command_output(
        host,
        "system_profiler",
        &["-json", "SPDisplaysDataType"],
    )?)
}

fn parse(json: &[u8]) -> Result<Displays> {
    let malformed = |reason: String| CollectError::malformed("the output of system_profiler", reason);
    let report: Value = serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    let adapters = report
        .get("SPDisplaysDataType")
        .and_then(Value::as_array)
        .ok_or_else(|| malformed("no SPDisplaysDataType".to_owned()))?;
    let names = adapters.iter().filter_map(|adapter| {
        let name = |key| adapter.get(key).and_then(Value::as_str).map(str::trim);
        name("sppci_model")
            .or_else(|| name("_name"))
            .filter(|name| !name.is_empty())
    });
    let monitors = adapters
        .iter()
        .filter_map(|adapter| adapter.get("spdisplays_ndrvs")?.as_array())
        .flatten();
    Ok(Displays {
        gpu: names.collect::<Vec<_>>().join("\n"),
        screens: monitors.filter_map(Value::as_object).map(screen).collect(),
    })
}

/// Macs with Intel processors have the EDID, the others only what they made of it.
fn screen(monitor: &Map<String, Value>) -> Screen {
    let hexadecimal = text(monitor, "_spdisplays_edid");
    let bytes =
        hexadecimal.and_then(|digits| edid::from_hexadecimal(digits.strip_prefix("0x").unwrap_or(digits)));
    // Displays behind some adapters are reported with a part of one, such as `0xffffffff`.
    let described = bytes.and_then(|bytes| edid::screen(&bytes));
    described.unwrap_or_else(|| without_edid(monitor))
}

fn without_edid(monitor: &Map<String, Value>) -> Screen {
    let or_unknown = |text: Option<&str>| text.unwrap_or(UNKNOWN).to_owned();
    let number = |key| hexadecimal(text(monitor, key)?);
    let decimal = |key| text(monitor, key)?.parse().ok();
    let maker = number("_spdisplays_display-vendor-id").and_then(|id| u16::try_from(id).ok());
    let product = number("_spdisplays_display-product-id");
    let year = decimal("_spdisplays_display-year").filter(|year| *year > 0);
    let serial = number("_spdisplays_display-serial-number").filter(|number| *number > 0);
    Screen {
        name: or_unknown(text(monitor, "_name")),
        manufacturer: maker.map_or_else(|| UNKNOWN.to_owned(), edid::manufacturer),
        manufactured: year.map_or_else(
            || UNKNOWN.to_owned(),
            |year| edid::manufactured(decimal("_spdisplays_display-week").unwrap_or_default(), year),
        ),
        resolution: or_unknown(text(monitor, "_spdisplays_pixels")),
        size: UNKNOWN.to_owned(),
        kind: product.map_or_else(|| UNKNOWN.to_owned(), |product| format!("{product:04X}")),
        // The monitor's own text, or the number in its EDID.
        serialno: text(monitor, "spdisplays_display-serial-number").map_or_else(
            || serial.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string()),
            str::to_owned,
        ),
        // No Mac without an EDID to tell has an analogue output.
        technology: "digital".to_owned(),
    }
}

fn hexadecimal(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
}

/// A text that is not empty.
fn text<'a>(monitor: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let text = monitor.get(key)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn displays(json: &str) -> Displays {
        parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_screen_without_an_edid_has_what_the_system_made_of_it() {
        let found = displays(
            r#"{"SPDisplaysDataType":[{"_name":"Apple M2 Pro","sppci_model":"Apple M2 Pro","spdisplays_ndrvs":[
                {"_name":"DELL U2720Q","_spdisplays_display-product-id":"41a8","_spdisplays_display-vendor-id":"10ac",
                 "_spdisplays_display-serial-number":"304a4c4c","_spdisplays_display-week":"12",
                 "_spdisplays_display-year":"2020","_spdisplays_pixels":"3840 x 2160"}]}]}"#,
        );
        let expected = Screen {
            name: "DELL U2720Q".into(),
            manufacturer: "Dell".into(),
            manufactured: "12/2020".into(),
            resolution: "3840 x 2160".into(),
            size: "-".into(),
            kind: "41A8".into(),
            serialno: "810175564".into(),
            technology: "digital".into(),
        };
        assert_eq!(
            (found.gpu.as_str(), found.screens),
            ("Apple M2 Pro", vec![expected])
        );
    }

    #[test]
    fn a_broken_edid_is_no_reason_to_leave_the_screen_out() {
        for edid in ["0xffffffff", "", "0x", "no digits", "0xf"] {
            let found = displays(&format!(
                r#"{{"SPDisplaysDataType":[{{"spdisplays_ndrvs":[{{"_name":"LG","_spdisplays_edid":"{edid}"}}]}}]}}"#
            ));
            assert_eq!(found.screens.len(), 1, "{edid}");
            assert_eq!(found.screens[0].name, "LG");
            assert_eq!(found.screens[0].manufacturer, "-");
        }
    }

    #[test]
    fn a_mac_without_screens_still_has_adapters() {
        let found = displays(
            r#"{"SPDisplaysDataType":[{"_name":"kHW_IntelUHDGraphics630Item","sppci_model":"Intel UHD Graphics 630"},
            {"_name":"AMD Radeon Pro 5300M"},{"_name":""},{}]}"#,
        );
        assert_eq!(found.gpu, "Intel UHD Graphics 630\nAMD Radeon Pro 5300M");
        assert!(found.screens.is_empty());
        assert_eq!(displays(r#"{"SPDisplaysDataType":[]}"#), Displays::default());
        assert!(parse(b"{}").is_err() && parse(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn every_screen_is_kept_whatever_it_says(edid in "(0x)?[0-9a-fg]{0,300}", texts in proptest::collection::vec("\\PC{0,9}", 6)) {
            let json = serde_json::json!({"SPDisplaysDataType": [{"spdisplays_ndrvs": [{
                "_name": texts[0], "_spdisplays_edid": edid, "_spdisplays_display-year": texts[1],
                "_spdisplays_display-week": texts[2], "_spdisplays_display-vendor-id": texts[3],
                "_spdisplays_display-serial-number": texts[4], "_spdisplays_pixels": texts[5],
            }]}]});
            let found = displays(&json.to_string());
            prop_assert_eq!(found.screens.len(), 1);
            prop_assert!(!found.screens[0].name.is_empty() && !found.screens[0].serialno.is_empty());
        }
    }
}
