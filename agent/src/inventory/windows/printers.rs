//! Printers, from WMI's `Win32_Printer`, which has what the spooler knows.

use super::wmi;
use crate::host::{Host, WmiRow};
use crate::inventory::field::{Result, field, optional};
use oco_protocol::inventory::{Printer, UNKNOWN};
use std::collections::BTreeMap;

pub(super) fn collect(host: &dyn Host) -> Result<Vec<Printer>> {
    let query = "SELECT Name, DriverName, PortName, PrinterState, PrinterStatus, WorkOffline, \
                 HorizontalResolution, VerticalResolution FROM Win32_Printer";
    let printers = wmi::rows(host, query)?;
    let papers = if printers.is_empty() {
        BTreeMap::new()
    } else {
        field("printers.paper", papers(host)).unwrap_or_default()
    };
    Ok(printers.iter().filter_map(|row| printer(row, &papers)).collect())
}

/// The paper that each printer prints on unless it is told otherwise.
fn papers(host: &dyn Host) -> Result<BTreeMap<String, String>> {
    let query = "SELECT Name, PaperSize FROM Win32_PrinterConfiguration";
    let rows = optional(wmi::ask(host, query))?.unwrap_or_default();
    let papers = rows
        .iter()
        .map(|row| (wmi::text(row, "Name"), wmi::text(row, "PaperSize")));
    Ok(papers.collect())
}

fn printer(row: &WmiRow, papers: &BTreeMap<String, String>) -> Option<Printer> {
    let name = wmi::text(row, "Name");
    let paper = papers.get(&name).cloned().unwrap_or_default();
    (!name.is_empty()).then(|| Printer {
        driver: or_unknown(wmi::text(row, "DriverName")),
        paper: or_unknown(paper),
        dpi: resolution(row),
        uri: or_unknown(wmi::text(row, "PortName")),
        status: status(row),
        name,
    })
}

/// `600`, `600x1200`.
fn resolution(row: &WmiRow) -> String {
    let dots = |property| wmi::number(row, property).filter(|dots| *dots > 0);
    match (dots("HorizontalResolution"), dots("VerticalResolution")) {
        (Some(across), Some(down)) if across != down => format!("{across}x{down}"),
        (Some(dots), _) | (None, Some(dots)) => dots.to_string(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// What the spooler says of it, `Offline, Toner low`; where that is nothing, what WMI made of it.
fn status(row: &WmiRow) -> String {
    // Undocumented, but it has been the spooler's flags since Windows XP.
    let state = wmi::number(row, "PrinterState").unwrap_or_default();
    let mut words: Vec<&str> = STATES
        .iter()
        .filter(|(flag, _)| state & flag != 0)
        .map(|(_, word)| *word)
        .collect();
    let offline = wmi::flag(row, "WorkOffline") == Some(true);
    if offline && !words.contains(&OFFLINE) {
        words.insert(0, OFFLINE);
    }
    if words.is_empty() {
        let status = wmi::number(row, "PrinterStatus");
        let known = STATUSES.iter().find(|(number, _)| Some(*number) == status);
        return known.map_or(UNKNOWN, |(_, word)| *word).to_owned();
    }
    words.join(", ")
}

const OFFLINE: &str = "Offline";

/// Flags of a printer's status: `PRINTER_STATUS_...` of `winspool.h`.
const STATES: [(u64, &str); 25] = [
    (0x1, "Paused"),
    (0x2, "Error"),
    (0x4, "Pending deletion"),
    (0x8, "Paper jam"),
    (0x10, "Paper out"),
    (0x20, "Manual feed"),
    (0x40, "Paper problem"),
    (0x80, OFFLINE),
    (0x100, "I/O active"),
    (0x200, "Busy"),
    (0x400, "Printing"),
    (0x800, "Output bin full"),
    (0x1000, "Not available"),
    (0x2000, "Waiting"),
    (0x4000, "Processing"),
    (0x8000, "Initializing"),
    (0x1_0000, "Warming up"),
    (0x2_0000, "Toner low"),
    (0x4_0000, "No toner"),
    (0x8_0000, "Page punt"),
    (0x10_0000, "User intervention"),
    (0x20_0000, "Out of memory"),
    (0x40_0000, "Door open"),
    (0x80_0000, "Server unknown"),
    (0x100_0000, "Power save"),
];

/// Values of `PrinterStatus`.
const STATUSES: [(u64, &str); 5] = [
    (3, "Idle"),
    (4, "Printing"),
    (5, "Warming up"),
    (6, "Stopped"),
    (7, OFFLINE),
];

fn or_unknown(text: String) -> String {
    if text.is_empty() { UNKNOWN.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(json: serde_json::Value) -> WmiRow {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_spoolers_flags_tell_more_than_the_status() {
        let status = |state: Option<u64>, number: Option<u64>, offline: Option<bool>| {
            status(&row(
                serde_json::json!({"PrinterState": state, "PrinterStatus": number, "WorkOffline": offline}),
            ))
        };
        assert_eq!(status(Some(0), Some(3), Some(false)), "Idle");
        assert_eq!(status(Some(0x2_0080), Some(1), Some(true)), "Offline, Toner low");
        assert_eq!(status(Some(0x10), Some(1), Some(true)), "Offline, Paper out");
        assert_eq!(status(None, Some(7), None), "Offline");
        assert_eq!(status(None, Some(2), None), "-");
        assert_eq!(status(None, None, None), "-");
    }

    #[test]
    fn a_printer_has_the_paper_that_is_set_for_it_and_one_without_a_name_is_none() {
        let papers = BTreeMap::from([("Büro".to_owned(), "A4".to_owned())]);
        let found = printer(
            &row(
                serde_json::json!({"Name": "Büro", "DriverName": "HP Universal Printing PCL 6", "PortName": "IP_192.0.2.40",
                "PrinterStatus": 3, "HorizontalResolution": 600, "VerticalResolution": 1200}),
            ),
            &papers,
        );
        let expected = Printer {
            name: "Büro".into(),
            driver: "HP Universal Printing PCL 6".into(),
            paper: "A4".into(),
            dpi: "600x1200".into(),
            uri: "IP_192.0.2.40".into(),
            status: "Idle".into(),
        };
        assert_eq!(found, Some(expected));
        let bare = printer(
            &row(serde_json::json!({"Name": "Fax", "HorizontalResolution": 200})),
            &papers,
        )
        .unwrap();
        assert_eq!(
            [bare.driver, bare.paper, bare.dpi, bare.uri, bare.status],
            ["-", "-", "200", "-", "-"]
        );
        assert_eq!(printer(&row(serde_json::json!({"Name": "  "})), &papers), None);
    }

    proptest! {
        #[test]
        fn every_status_has_a_word(state in any::<Option<u64>>(), number in any::<Option<u64>>(), offline in any::<Option<bool>>()) {
            let row = row(serde_json::json!({"PrinterState": state, "PrinterStatus": number, "WorkOffline": offline}));
            prop_assert!(!status(&row).is_empty());
        }
    }
}
