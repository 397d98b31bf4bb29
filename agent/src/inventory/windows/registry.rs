//! Values of registry keys.

use crate::host::RegistryValue;
use std::collections::BTreeMap;

/// The values of a key.
pub(crate) type Values = BTreeMap<String, RegistryValue>;

/// A text that is not empty.
pub(crate) fn text(values: &Values, name: &str) -> Option<String> {
    match get(values, name)? {
        RegistryValue::Text(text) | RegistryValue::ExpandText(text) => {
            // Some programs store the end mark, too, and what happened to be behind it.
            let text = text.split('\0').next().unwrap_or_default().trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        _ => None,
    }
}

/// A number.
pub(super) fn dword(values: &Values, name: &str) -> Option<u32> {
    match get(values, name)? {
        RegistryValue::Dword(number) => Some(*number),
        _ => None,
    }
}

/// Bytes.
pub(super) fn binary<'a>(values: &'a Values, name: &str) -> Option<&'a [u8]> {
    match get(values, name)? {
        RegistryValue::Binary(bytes) => Some(bytes),
        _ => None,
    }
}

/// Names are compared as Windows does, without regard to case.
fn get<'a>(values: &'a Values, name: &str) -> Option<&'a RegistryValue> {
    values.get(name).or_else(|| {
        values
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_whatever_their_case() {
        let json = r#"{"displayname":{"sz":" A\u0000"},"Empty":{"sz":" "},"Rest":{"sz":"B\u0000\u0001x"},"Number":{"dword":1}}"#;
        let values: Values = serde_json::from_str(json).unwrap();
        assert_eq!(text(&values, "DisplayName"), Some("A".to_owned()));
        assert_eq!(text(&values, "Rest"), Some("B".to_owned()));
        assert_eq!(
            ["Empty", "Number", "Missing"].map(|name| text(&values, name)),
            [None, None, None]
        );
        assert_eq!(dword(&values, "NUMBER"), Some(1));
    }
}
