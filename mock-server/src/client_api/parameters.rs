//! The `data` of a call: numbers may be texts, and what is missing has a default.

use super::fault::Fault;
use crate::store::parse_date;
use oco_protocol::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The `data` of a call.
#[derive(Debug)]
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Anything but an object has no entries.
    pub(super) fn new(data: Value) -> Self {
        match data {
            Value::Object(entries) => Self(entries),
            _ => Self(Map::new()),
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// An integer; none where it is missing, null or an empty text.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(value) => integer_of(value)
                .map(Some)
                .ok_or_else(|| Fault::Invalid(format!("{name} must be an integer"))),
        }
    }

    /// An id, which must be there.
    pub(super) fn id(&self, name: &str) -> Result<i64, Fault> {
        self.integer(name)?
            .ok_or_else(|| Fault::Invalid(format!("{name} is missing")))
    }

    /// A list of ids, each once, in the order given.
    pub(super) fn ids(&self, name: &str) -> Result<Vec<i64>, Fault> {
        let wrong = || Fault::Invalid(format!("{name} must be a list of ids"));
        let items = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong()),
        };
        let mut ids = Vec::with_capacity(items.len());
        let mut seen = std::collections::HashSet::new();
        for item in items {
            let id = integer_of(item).ok_or_else(wrong)?;
            if seen.insert(id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// A text; empty where it is missing.
    pub(super) fn text(&self, name: &str) -> Result<String, Fault> {
        match self.value(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(_) => Err(Fault::Invalid(format!("{name} must be a text"))),
        }
    }

    /// A text, or `default` where it is missing.
    pub(super) fn text_or(&self, name: &str, default: &str) -> Result<String, Fault> {
        match self.value(name) {
            None => Ok(default.to_owned()),
            Some(_) => self.text(name),
        }
    }

    /// A text that must not be empty; `message` says so.
    pub(super) fn required(&self, name: &str, message: &str) -> Result<String, Fault> {
        let text = self.text(name)?.trim().to_owned();
        match text.chars().count() {
            0 => Err(Fault::Invalid(message.into())),
            1..=255 => Ok(text),
            _ => Err(Fault::Invalid(format!(
                "{name} must not be longer than 255 characters"
            ))),
        }
    }

    /// A flag: a boolean, a number or a text of it.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Fault> {
        match self.value(name) {
            None => Ok(default),
            Some(value) => oco_protocol::lenient::flag(value)
                .map_err(|_| Fault::Invalid(format!("{name} must be 0 or 1"))),
        }
    }

    /// A date and time of the server.
    pub(super) fn date(&self, name: &str) -> Result<Option<Timestamp>, Fault> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Ok(None);
        }
        parse_date(&text)
            .map(Some)
            .ok_or_else(|| Fault::Invalid(format!("{name} must be YYYY-MM-DD HH:MM:SS")))
    }

    /// A list of texts, joined by commas; none where it is empty.
    pub(super) fn joined(&self, name: &str) -> Result<Option<String>, Fault> {
        let items: Vec<String> = self.list(name)?;
        Ok((!items.is_empty()).then(|| items.join(",")))
    }

    /// A list of anything.
    pub(super) fn list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Fault> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(value) => Vec::<T>::deserialize(value)
                .map_err(|error| Fault::Invalid(format!("{name} is no such list: {error}"))),
        }
    }
}

fn integer_of(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_numbers_or_texts_and_each_counts_once() {
        let data = Parameters::new(json!({"a": ["693", 5, 693], "b": 7, "c": ["x"], "d": "8"}));
        assert_eq!(data.ids("a").unwrap(), [693, 5]);
        assert!(data.ids("b").is_err() && data.ids("c").is_err());
        assert_eq!((data.id("b").unwrap(), data.id("d").unwrap()), (7, 8));
        assert!(matches!(data.id("missing"), Err(Fault::Invalid(_))));
    }

    #[test]
    fn what_is_missing_or_null_has_a_default() {
        let data = Parameters::new(json!({"null": null, "empty": ""}));
        for name in ["null", "missing"] {
            assert_eq!(data.text_or(name, "0").unwrap(), "0");
            assert!(data.flag(name, true).unwrap());
            assert_eq!(data.date(name).unwrap(), None);
        }
        assert_eq!(data.text_or("empty", "0").unwrap(), "");
        assert!(data.required("empty", "no").is_err());
        assert!(Parameters::new(json!([])).list::<String>("x").unwrap().is_empty());
    }

    #[test]
    fn dates_are_exact() {
        let data = Parameters::new(json!({"a": "2020-01-01 18:00:00", "b": "2020-01-01"}));
        assert_eq!(
            data.date("a").unwrap().unwrap().as_micros(),
            1_577_901_600_000_000
        );
        assert!(data.date("b").is_err());
    }
}
