//! Property lists, XML or binary.

use crate::inventory::field::{CollectError, Result};
use plist::{Dictionary, Value};

/// A property list that is a dictionary.
pub(super) fn dictionary(content: &[u8], subject: &str) -> Result<Dictionary> {
    parse(content, subject)?
        .into_dictionary()
        .ok_or_else(|| CollectError::malformed(subject, "not a dictionary"))
}

/// A property list that is an array of dictionaries. Other items are left out.
pub(super) fn dictionaries(content: &[u8], subject: &str) -> Result<Vec<Dictionary>> {
    let items = parse(content, subject)?
        .into_array()
        .ok_or_else(|| CollectError::malformed(subject, "not an array"))?;
    Ok(items.into_iter().filter_map(Value::into_dictionary).collect())
}

fn parse(content: &[u8], subject: &str) -> Result<Value> {
    plist::from_bytes(content).map_err(|error| CollectError::malformed(subject, error))
}

/// A text. A number counts as one (somebody's version is `<real>1.5</real>`), and so do bytes up to their NUL.
pub(super) fn text(dictionary: &Dictionary, key: &str) -> Option<String> {
    match dictionary.get(key)? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Data(bytes) => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            Some(String::from_utf8_lossy(text).trim().to_owned())
        }
        _ => None,
    }
}

/// A flag; what is missing is not set.
pub(super) fn flag(dictionary: &Dictionary, key: &str) -> bool {
    dictionary
        .get(key)
        .and_then(Value::as_boolean)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_of_all_kinds_are_read() {
        let xml = br#"<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict>
            <key>text</key><string> a </string><key>integer</key><integer>5</integer><key>real</key><real>1.5</real>
            <key>data</key><data>QXBwbGUgSW5jLgA=</data><key>flag</key><true/></dict></plist>"#;
        let dictionary = dictionary(xml, "test").unwrap();
        let texts = ["text", "integer", "real", "data", "flag", "missing"].map(|key| text(&dictionary, key));
        let expected = [Some("a"), Some("5"), Some("1.5"), Some("Apple Inc."), None, None];
        assert_eq!(texts, expected.map(|text| text.map(str::to_owned)));
        assert!(flag(&dictionary, "flag") && !flag(&dictionary, "text") && !flag(&dictionary, "missing"));
    }

    #[test]
    fn another_type_is_an_error_that_says_where() {
        let error = dictionary(b"<plist><array/></plist>", "Info.plist").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot make sense of Info.plist: not a dictionary"
        );
        assert!(dictionaries(b"<plist><dict/></plist>", "x").is_err());
        assert!(dictionary(b"", "x").is_err());
    }

    proptest! {
        #[test]
        fn a_binary_list_is_read_back(key in "[a-zA-Z]{1,8}", value in "[a-zäöü]{0,8}") {
            let mut original = Dictionary::new();
            original.insert(key.clone(), Value::String(value.clone()));
            let mut bytes = Vec::new();
            plist::to_writer_binary(&mut bytes, &Value::Dictionary(original)).unwrap();
            prop_assert_eq!(text(&dictionary(&bytes, "x").unwrap(), &key), Some(value));
        }

        #[test]
        fn no_content_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), binary: bool) {
            if binary {
                bytes.splice(0..0, *b"bplist00");
            }
            let _ = dictionary(&bytes, "x");
        }

        #[test]
        fn no_xml_panics(text in "<plist>(<(/?)(dict|array|string|key|real|data|true/)>|[a-z1 ]|\\PC)*</plist>") {
            let _ = dictionaries(text.as_bytes(), "x");
        }
    }
}
