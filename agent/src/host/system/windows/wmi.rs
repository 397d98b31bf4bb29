//! Questions to WMI, each in a thread of its own: a provider may never answer.

use crate::host::{HostError, Result, WmiRow};
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::sync::mpsc;
use std::time::Duration;
use wmi::{AuthLevel, Variant, WMIConnection, WMIError};

/// How long an answer may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Namespace of BitLocker, which answers nobody whose question could be read on its way.
const ENCRYPTED: &str = "microsoftvolumeencryption";

/// The rows of a query.
pub(super) fn query(namespace: &str, query: &str) -> Result<Vec<WmiRow>> {
    let failed = |error| HostError::new("query WMI", query, error);
    let (sender, answer) = mpsc::channel();
    let question = (namespace.to_owned(), query.to_owned());
    let ask = move || {
        // Nobody listens once the limit has passed.
        let _ = sender.send(ask(&question.0, &question.1));
    };
    std::thread::Builder::new()
        .name("oco-wmi".to_owned())
        .spawn(ask)
        .map_err(failed)?;
    match answer.recv_timeout(TIME_LIMIT) {
        Ok(rows) => rows.map_err(|error| failed(io_error(error))),
        Err(_) => {
            let reason = format!("no answer within {} s", TIME_LIMIT.as_secs());
            Err(failed(io::Error::new(io::ErrorKind::TimedOut, reason)))
        }
    }
}

fn ask(namespace: &str, query: &str) -> std::result::Result<Vec<WmiRow>, WMIError> {
    let connection = WMIConnection::with_namespace_path(namespace)?;
    if namespace.to_ascii_lowercase().ends_with(ENCRYPTED) {
        connection.set_proxy_blanket(AuthLevel::PktPrivacy)?;
    }
    let rows: Vec<HashMap<String, Variant>> = connection.raw_query(query)?;
    let row =
        |row: HashMap<String, Variant>| row.into_iter().map(|(name, value)| (name, json(value))).collect();
    Ok(rows.into_iter().map(row).collect())
}

/// As COM delivers it; 64-bit numbers as text, which every reader of JSON keeps whole.
fn json(value: Variant) -> Value {
    match value {
        Variant::Empty | Variant::Null | Variant::Unknown(_) | Variant::Object(_) => Value::Null,
        Variant::String(text) => text.into(),
        Variant::I1(number) => number.into(),
        Variant::I2(number) => number.into(),
        Variant::I4(number) => number.into(),
        Variant::I8(number) => number.to_string().into(),
        Variant::R4(number) => number.into(),
        Variant::R8(number) => number.into(),
        Variant::Bool(flag) => flag.into(),
        Variant::UI1(number) => number.into(),
        Variant::UI2(number) => number.into(),
        Variant::UI4(number) => number.into(),
        Variant::UI8(number) => number.to_string().into(),
        Variant::Array(values) => values.into_iter().map(json).collect(),
    }
}

/// The kind of error that collectors know what to do about.
fn io_error(error: WMIError) -> io::Error {
    let WMIError::HResultError { hres } = error else {
        return io::Error::new(io::ErrorKind::InvalidData, error);
    };
    let kind = match hres.cast_unsigned() {
        // Not found; no such namespace; no such class.
        0x8004_1002 | 0x8004_100e | 0x8004_1010 => io::ErrorKind::NotFound,
        0x8004_1003 | 0x8007_0005 => io::ErrorKind::PermissionDenied,
        // Not supported: this hardware or edition has no such thing.
        0x8004_100c => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_describes_itself() {
        let rows = query(r"root\cimv2", "SELECT Caption, Locale FROM Win32_OperatingSystem").unwrap();
        assert_eq!(rows.len(), 1);
        assert!(
            rows[0]["Caption"].as_str().unwrap().contains("Windows"),
            "{rows:?}"
        );
        assert_eq!(rows[0]["Locale"].as_str().unwrap().len(), 4);
    }

    #[test]
    fn a_missing_namespace_is_told_from_other_failures() {
        let error = query(r"root\oco-no-such-namespace", "SELECT X FROM Y").unwrap_err();
        assert!(error.is_not_found(), "{:?}", error.source);
    }

    #[test]
    fn codes_and_values_become_what_collectors_know() {
        let kind = |code: u32| {
            io_error(WMIError::HResultError {
                hres: code.cast_signed(),
            })
            .kind()
        };
        assert_eq!(kind(0x8004_100c), io::ErrorKind::Unsupported);
        assert_eq!(kind(0x8004_1003), io::ErrorKind::PermissionDenied);
        assert_eq!(kind(0x8004_1001), io::ErrorKind::Other);
        let values = Variant::Array(vec![Variant::UI8(u64::MAX), Variant::Bool(true), Variant::Null]);
        assert_eq!(
            json(values),
            serde_json::json!(["18446744073709551615", true, null])
        );
    }
}
