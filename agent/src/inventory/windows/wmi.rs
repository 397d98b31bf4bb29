//! Questions to WMI, and the values in its answers.

use crate::host::{self, Host, WmiRow};
use crate::inventory::field::{CollectError, Result};
use serde_json::Value;

/// The rows of a query in the namespace of the system's own classes.
pub(super) fn rows(host: &dyn Host, query: &str) -> Result<Vec<WmiRow>> {
    Ok(ask(host, query)?)
}

/// As [`rows`], for a class that not every system has.
pub(super) fn ask(host: &dyn Host, query: &str) -> host::Result<Vec<WmiRow>> {
    host.wmi(r"root\cimv2", query)
}

/// The row of a class of which there is one.
pub(super) fn row(host: &dyn Host, query: &str) -> Result<WmiRow> {
    let first = rows(host, query)?.into_iter().next();
    first.ok_or_else(|| CollectError::malformed(format_args!("the answer to {query:?}"), "no row"))
}

/// A text without the blanks that firmware likes to add; empty if there is none.
pub(super) fn text(row: &WmiRow, property: &str) -> String {
    value(row, property)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The texts of a property of all rows, one line each.
pub(super) fn lines(rows: &[WmiRow], property: &str) -> String {
    let texts: Vec<_> = rows
        .iter()
        .map(|row| text(row, property))
        .filter(|text| !text.is_empty())
        .collect();
    texts.join("\n")
}

/// A number; 64-bit ones come as text.
pub(super) fn number(row: &WmiRow, property: &str) -> Option<u64> {
    match value(row, property)? {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_u64(),
    }
}

/// A flag, if there is one.
pub(super) fn flag(row: &WmiRow, property: &str) -> Option<bool> {
    value(row, property).and_then(Value::as_bool)
}

/// A value, if there is one. Rows name their properties as their class does, and not all classes write `DeviceID` alike.
pub(super) fn value<'a>(row: &'a WmiRow, property: &str) -> Option<&'a Value> {
    row.get(property).or_else(|| {
        row.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(property))
            .map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_several_shapes() {
        let json = r#"{"text":" PF0ABCDE  ","big":"17095892992","small":3,"null":null,"negative":-1}"#;
        let row: WmiRow = serde_json::from_str(json).unwrap();
        assert_eq!(
            [text(&row, "text"), text(&row, "null"), text(&row, "small")],
            ["PF0ABCDE", "", ""]
        );
        assert_eq!(number(&row, "big"), Some(17_095_892_992));
        assert_eq!(
            ["small", "null", "negative", "text"].map(|p| number(&row, p)),
            [Some(3), None, None, None]
        );
        assert_eq!(
            lines(&[row.clone(), WmiRow::new(), row], "text"),
            "PF0ABCDE\nPF0ABCDE"
        );
    }
}
