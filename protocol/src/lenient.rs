//! Deserialisation that accepts what real servers send: PHP of different versions turns numbers into strings, empty
//! objects into empty lists, and booleans into about anything.

use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use zeroize::Zeroize;

/// A flag sent as a boolean, as 0 or 1, or as a string of those. Null and an empty string mean no.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        Value::String(text) => Ok(!matches!(text.trim(), "" | "0")),
        other => Err(de::Error::custom(format_args!("expected a flag, found {other}"))),
    }
}

/// A flag that servers write as 0 or 1; read like [`flag`].
pub mod numeric_flag {
    use serde::{Deserializer, Serializer};

    /// Writes 0 or 1.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(*flag))
    }

    /// Reads every spelling of a flag.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        super::flag(deserializer)
    }
}

/// An integer sent as a number or as a string of digits.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    integer_of(&value).ok_or_else(|| de::Error::custom(format_args!("expected an integer, found {value}")))
}

/// Like [`integer`], where null or an empty string stand for 0.
pub fn integer_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(optional_integer(deserializer)?.unwrap_or(0))
}

/// Like [`integer`], where null or an empty string stand for "none".
pub fn optional_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        value => integer_of(&value)
            .map(Some)
            .ok_or_else(|| de::Error::custom(format_args!("expected an integer or null, found {value}"))),
    }
}

fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A value whose empty object may arrive as `[]`, and which is its default where null.
pub fn empty_list_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(T::default()),
        Value::Array(items) if items.is_empty() => Ok(T::default()),
        value => T::deserialize(value).map_err(de::Error::custom),
    }
}

/// Most items that a list of an answer may have. Real ones have some dozens.
pub const MAX_ITEMS: usize = 10_000;

/// A list that is empty where null, and refused where it has more than [`MAX_ITEMS`].
///
/// PHP writes an array with gaps in its numbering as an object with numbers for names: that is a list in the order in
/// which it is written.
pub fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX_ITEMS} items, or null")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == MAX_ITEMS {
                    return Err(de::Error::invalid_length(MAX_ITEMS + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(name) = items.next_key::<String>()? {
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
                }
                if list.len() == MAX_ITEMS {
                    return Err(de::Error::invalid_length(MAX_ITEMS + 1, &self));
                }
                list.push(items.next_value()?);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_any(List(std::marker::PhantomData))
}

/// An identifier that is an integer for one kind of thing and a text for another (`4`, `"dynamic-1"`,
/// `"deployment_rule::1"`); it is sent back exactly as received. The integer 4 and the text `"4"` are the same thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A JSON number.
    Number(i64),
    /// A JSON string, possibly of digits.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Number(number), Self::Text(text)) | (Self::Text(text), Self::Number(number)) => {
                *text == number.to_string()
            }
        }
    }
}

impl Eq for Id {}

impl std::hash::Hash for Id {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.to_string().hash(state);
    }
}

/// One item of a list whose other items must survive it: a malformed job, query or rule costs itself only.
#[derive(Clone, PartialEq)]
pub enum Item<T> {
    /// Well-formed.
    Valid(T),
    /// Not what the protocol says; kept to be reported.
    Malformed {
        /// As received.
        raw: Raw,
        /// What is wrong with it.
        reason: String,
    },
}

/// JSON as received. It may hold a secret (a password rule has the old password), so it is wiped from memory when
/// dropped.
#[derive(Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Raw(Value);

impl Drop for Raw {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl<T> Item<T> {
    /// The item, if it is well-formed.
    pub fn valid(&self) -> Option<&T> {
        match self {
            Self::Valid(item) => Some(item),
            Self::Malformed { .. } => None,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<T> {
    /// What is malformed is not shown: a malformed password rule may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid(item) => f.debug_tuple("Valid").field(item).finish(),
            Self::Malformed { .. } => f.write_str("Malformed"),
        }
    }
}

impl<T: Serialize> Serialize for Item<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Valid(item) => item.serialize(serializer),
            Self::Malformed { raw, .. } => raw.serialize(serializer),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw(Value::deserialize(deserializer)?);
        Ok(match T::deserialize(&raw.0) {
            Ok(item) => Self::Valid(item),
            Err(reason) => Self::Malformed {
                reason: reason.to_string().chars().take(200).collect(),
                raw,
            },
        })
    }
}

/// The `success` of an answer: `true`, or whatever PHP's last expression was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Success(pub Value);

impl Success {
    /// Whether it means yes: anything but false, 0, `""`, `"0"` and null.
    pub fn is_yes(&self) -> bool {
        match &self.0 {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !matches!(text.as_str(), "" | "0"),
            Value::Array(_) | Value::Object(_) => true,
        }
    }
}

impl From<bool> for Success {
    fn from(flag: bool) -> Self {
        Self(Value::Bool(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn success_is_anything_but_php_falsehoods() {
        for yes in [json!(true), json!(11), json!("11"), json!("2"), json!({"a": 1})] {
            assert!(Success(yes.clone()).is_yes(), "{yes}");
        }
        for no in [json!(false), json!(0), json!(""), json!("0"), Value::Null] {
            assert!(!Success(no.clone()).is_yes(), "{no}");
        }
    }

    #[test]
    fn flags_and_integers_come_in_every_spelling() {
        for (value, expected) in [
            (json!(1), true),
            (json!("1"), true),
            (json!("0"), false),
            (json!(null), false),
        ] {
            assert_eq!(flag(value).unwrap(), expected);
        }
        assert!(flag(json!({})).is_err());
        assert_eq!(integer(json!("42")).unwrap(), 42);
        assert!(integer(json!("4x")).is_err());
        assert_eq!(optional_integer(json!("")).unwrap(), None);
        assert_eq!(optional_integer(json!("-1")).unwrap(), Some(-1));
    }

    #[test]
    fn an_empty_list_stands_for_an_empty_object() {
        let map: BTreeMap<String, i64> = empty_list_as_default(json!([])).unwrap();
        assert!(map.is_empty());
        assert!(empty_list_as_default::<_, BTreeMap<String, i64>>(json!([1])).is_err());
    }

    #[test]
    fn a_list_may_be_null_but_not_endless() {
        assert_eq!(null_as_empty::<_, i64>(json!(null)).unwrap(), Vec::<i64>::new());
        assert_eq!(null_as_empty::<_, i64>(json!([1, 2])).unwrap(), [1, 2]);
        assert!(null_as_empty::<_, i64>(json!(vec![0; MAX_ITEMS])).is_ok());
        assert!(null_as_empty::<_, i64>(json!(vec![0; MAX_ITEMS + 1])).is_err());
        assert!(null_as_empty::<_, i64>(json!({"a": 1})).is_err());
    }

    #[test]
    fn a_list_with_gaps_is_one_in_the_order_written() {
        let list = |text: &str| null_as_empty::<_, i64>(&mut serde_json::Deserializer::from_str(text));
        assert_eq!(list(r#"{"1":4,"10":5,"2":6}"#).unwrap(), [4, 5, 6]);
        assert_eq!(list("{}").unwrap(), Vec::<i64>::new());
        assert!(list(r#"{"1":4,"id":5}"#).is_err() && list(r#"{"":4}"#).is_err());
        let items: Vec<String> = (0..=MAX_ITEMS).map(|index| format!("\"{index}\":0")).collect();
        assert!(list(&format!("{{{}}}", items[..MAX_ITEMS].join(","))).is_ok());
        assert!(list(&format!("{{{}}}", items.join(","))).is_err());
    }

    #[test]
    fn debug_output_of_malformed_items_shows_nothing_of_them() {
        let item: Item<i64> = serde_json::from_value(json!({"old_password": "s3cret"})).unwrap();
        assert!(!format!("{item:?}").contains("s3cret"));
    }

    #[test]
    fn wiped_json_holds_no_text_any_more() {
        let mut value = json!({"a": "s3cret", "b": [{"c": "s3cret"}, 1]});
        wipe(&mut value);
        assert_eq!(value, json!({"a": "", "b": [{"c": ""}, 1]}));
    }

    #[test]
    fn ids_are_equal_however_they_are_spelt_and_keep_their_spelling() {
        let (number, text): (Id, Id) = serde_json::from_str("[4,\"4\"]").unwrap();
        assert_eq!(number, text);
        assert_eq!(serde_json::to_string(&(number, text)).unwrap(), "[4,\"4\"]");
    }
}
