//! The shapes that PHP gives to JSON: what an answer looks like depends on the PHP that a real server runs on.

use crate::generation::PhpQuirks;
use serde_json::{Map, Value};

impl PhpQuirks {
    /// An object without entries, which PHP cannot tell from an empty list.
    pub(crate) fn empty_object(self) -> Value {
        match self {
            Self::Php8 | Self::Php7 => Value::Array(Vec::new()),
            Self::Off => Value::Object(Map::new()),
        }
    }

    /// An object that may be empty.
    pub(crate) fn object(self, entries: Map<String, Value>) -> Value {
        if entries.is_empty() {
            self.empty_object()
        } else {
            Value::Object(entries)
        }
    }

    /// The id of something just stored, which database drivers of PHP return as a text.
    pub(crate) fn insert_id(self, id: i64) -> Value {
        match self {
            Self::Php8 | Self::Php7 => id.to_string().into(),
            Self::Off => id.into(),
        }
    }

    /// Whether numbers that come from the database are texts.
    pub(crate) fn has_textual_numbers(self) -> bool {
        self == Self::Php7
    }
}

/// Turns all numbers into texts.
pub(crate) fn numbers_to_texts(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.to_string().into(),
        Value::Array(items) => items.iter_mut().for_each(numbers_to_texts),
        Value::Object(entries) => entries.values_mut().for_each(numbers_to_texts),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_objects_are_lists_unless_quirks_are_off() {
        assert_eq!(PhpQuirks::Php8.object(Map::new()), json!([]));
        assert_eq!(PhpQuirks::Off.object(Map::new()), json!({}));
        let full = Map::from_iter([("a".to_owned(), json!(1))]);
        assert_eq!(PhpQuirks::Php7.object(full), json!({"a": 1}));
    }

    #[test]
    fn numbers_become_texts_at_every_depth() {
        let mut value = json!([{"id": 4, "exit": null, "download": false, "more": [1.5]}]);
        numbers_to_texts(&mut value);
        assert_eq!(
            value,
            json!([{"id": "4", "exit": null, "download": false, "more": ["1.5"]}])
        );
    }
}
