//! The JSON-RPC envelope of a request, parsed no further than its `data`.

use crate::error::Refusal;
use oco_protocol::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Longest host name and uid, characters.
const MAX_NAME: usize = 200;

/// A request's envelope.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// Echoed in the answer.
    pub(super) id: Value,
    pub(super) method: Cow<'a, str>,
    pub(super) params: Params<'a>,
}

/// Parameters of all methods.
#[derive(Debug)]
pub(super) struct Params<'a> {
    pub(super) hostname: Cow<'a, str>,
    /// None where it is empty or missing.
    pub(super) uid: Option<Cow<'a, str>>,
    /// None where it is missing or no timestamp.
    pub(super) timestamp: Option<Timestamp>,
    pub(super) package_id: Option<Value>,
    /// The key that a request of the keyed generation is made with.
    pub(super) agent_key: Option<Cow<'a, str>>,
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawEnvelope<'a, P> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    id: Value,
    #[serde(borrow)]
    method: Cow<'a, str>,
    params: P,
}

#[derive(Deserialize)]
struct RawParams<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
    #[serde(borrow, default)]
    uid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(rename = "package-id", default)]
    package_id: Option<Value>,
    #[serde(rename = "agent-key", borrow, default)]
    agent_key: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Parses a body. Anything but the one right form is refused alike, as the real server does.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::InvalidJson)?;
        if has_lone_surrogate(body) {
            return Err(Refusal::InvalidJson);
        }
        // In one pass. Only where that fails does it matter which part of it was wrong.
        match object::<RawEnvelope<'a, Object<RawParams<'a>>>>(text) {
            Some(envelope) => envelope.check(|Object(params)| Params::check(params)),
            None => {
                let envelope: RawEnvelope<'a, &'a RawValue> = object(text).ok_or(Refusal::InvalidJson)?;
                envelope.check(|params| Params::check(object(params.get())?))
            }
        }
    }
}

impl<'a, P> RawEnvelope<'a, P> {
    fn check(self, params: impl FnOnce(P) -> Option<Params<'a>>) -> Result<Envelope<'a>, Refusal> {
        if self.jsonrpc != oco_protocol::rpc::JSONRPC_VERSION || self.id.is_null() {
            return Err(Refusal::InvalidJson);
        }
        Ok(Envelope {
            params: params(self.params).ok_or(Refusal::Parameters)?,
            id: self.id,
            method: self.method,
        })
    }
}

impl<'a> Params<'a> {
    fn check(params: RawParams<'a>) -> Option<Self> {
        let uid = params
            .uid
            .map(|uid| serde_json::from_str::<Option<Cow<'a, str>>>(uid.get()))
            .transpose()
            .ok()?;
        let uid = uid.flatten().filter(|uid| !uid.is_empty());
        let fits = |name: &str| name.chars().count() <= MAX_NAME;
        if params.hostname.is_empty() || !fits(&params.hostname) || !uid.as_deref().is_none_or(fits) {
            return None;
        }
        Some(Self {
            hostname: params.hostname,
            uid,
            timestamp: params
                .timestamp
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
            package_id: params.package_id,
            agent_key: params
                .agent_key
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
            data: params.data,
        })
    }

    /// `data`, which must be an object with something in it, and readable: parts of it are stored as they are.
    pub(super) fn data<T: Deserialize<'a>>(&self) -> Result<T, Refusal> {
        let data = self.unchecked_data()?;
        let text = self.data.map_or("", RawValue::get);
        if is_readable(text) {
            Ok(data)
        } else {
            Err(Refusal::Parameters)
        }
    }

    /// The same, where the caller sees to it that what is stored as it is can be read.
    pub(super) fn unchecked_data<T: Deserialize<'a>>(&self) -> Result<T, Refusal> {
        let text = self.data.map_or("", RawValue::get);
        let empty = text.trim_start_matches('{').trim_start().starts_with('}');
        (!empty)
            .then(|| object(text))
            .flatten()
            .ok_or(Refusal::Parameters)
    }
}

/// Whether JSON can be read back.
pub(super) fn is_readable(text: &str) -> bool {
    serde_json::from_str::<Readable>(text).is_ok()
}

/// Any JSON that can be read back as a [`Value`], kept nowhere. A [`RawValue`] may nest deeper and hold numbers that no
/// float is large enough for.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// An object. serde would take a list for a struct, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectOf(PhantomData))
    }
}

struct ObjectOf<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOf<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
    }
}

/// Parses an object, see [`Object`].
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start()
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// Whether a `\uD800`..`\uDFFF` escape is not half of a pair. Checked on the whole body because parts of it are stored
/// without being decoded.
fn has_lone_surrogate(body: &[u8]) -> bool {
    let unit_at = |at: usize| {
        let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &body[at..]) {
        at += found;
        match unit_at(at) {
            Some(0xD800..0xDC00) if matches!(unit_at(at + 6), Some(0xDC00..0xE000)) => at += 12,
            Some(0xD800..0xE000) => return true,
            Some(_) => at += 6,
            None => at += 2,
        }
        if at >= body.len() {
            break;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: &str) -> bool {
        matches!(
            Envelope::parse(body.as_bytes()),
            Err(Refusal::InvalidJson | Refusal::Parameters)
        )
    }

    #[test]
    fn the_right_form_is_parsed() {
        let body = r#"{"jsonrpc":"2.0","id":"x","method":"m","params":{"hostname":"PC","uid":"","timestamp":"1.5","data":{"a":1}}}"#;
        let envelope = Envelope::parse(body.as_bytes()).unwrap();
        assert_eq!((envelope.id, &*envelope.method), (Value::from("x"), "m"));
        assert_eq!(envelope.params.uid, None);
        assert_eq!(envelope.params.timestamp, Some(Timestamp::from_micros(1_500_000)));
        assert_eq!(envelope.params.data::<Value>().unwrap()["a"], 1);
    }

    #[test]
    fn every_other_form_is_refused() {
        let valid = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"hostname":"a"}}"#;
        assert!(!refused(valid));
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "{",
            "\"x\"",
            "\u{feff}{}",
            &format!("[{valid}]"),
            &valid.replace("2.0", "1.0"),
            &valid.replace("\"2.0\"", "2.0"),
            &valid.replace("\"id\":1", "\"id\":null"),
            &valid.replace("\"id\":1,", ""),
            &valid.replace("\"m\"", "1"),
            &valid.replace("{\"hostname\":\"a\"}", "{}"),
            &valid.replace("{\"hostname\":\"a\"}", "[\"a\"]"),
            &valid.replace("{\"hostname\":\"a\"}", "{\"uid\":\"a\"}"),
            &valid.replace("\"a\"", "1"),
            &valid.replace("\"a\"", "\"\""),
            &valid.replace("\"a\"", &format!("\"{}\"", "ä".repeat(201))),
            &valid.replace("\"a\"", r#""a","uid":7"#),
            &valid.replace("\"a\"", r#""a","data":{"x":"\ud800"}"#),
        ] {
            assert!(refused(body), "{body}");
        }
    }

    #[test]
    fn data_must_be_an_object_with_something_in_it() {
        for data in [
            "",
            ",\"data\":{}",
            ",\"data\":{ }",
            ",\"data\":[]",
            ",\"data\":[1]",
            ",\"data\":null",
            ",\"data\":1",
        ] {
            let body =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"hostname":"a"{data}}}}}"#);
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            assert!(envelope.params.data::<Value>().is_err(), "{data}");
        }
    }

    #[test]
    fn data_that_cannot_be_read_back_is_refused() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let data = |value: &str| {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"hostname":"a","data":{{"x":{value}}}}}}}"#
            );
            let envelope = Envelope::parse(body.as_bytes()).unwrap();
            let fields = envelope
                .params
                .data::<std::collections::BTreeMap<String, Box<RawValue>>>();
            fields.map(|fields| fields["x"].get().to_owned())
        };
        for value in ["1e999", "[-1e999]", &nested(127), &nested(100_000)] {
            assert!(matches!(data(value), Err(Refusal::Parameters)), "{value:.20}");
        }
        for value in [
            "1e308",
            "18446744073709551616",
            r#"[null,true,"\u00e4",{"b":-0.5}]"#,
            &nested(126),
        ] {
            let stored = format!("{{\"x\":{}}}", data(value).unwrap());
            assert!(serde_json::from_str::<Value>(&stored).is_ok(), "{value:.20}");
        }
    }

    #[test]
    fn only_halves_of_pairs_are_lone() {
        for (text, lone) in [
            (r"\ud83d\ude00", false),
            (r"\ud83d", true),
            (r"\ude00", true),
            (r"\ud83d\ud83d\ude00", true),
            (r"\\ud83d", false),
            (r"\\\ud83d", true),
            (r"\u00e4", false),
            (r"\", false),
            (r"\u", false),
            ("", false),
        ] {
            assert_eq!(has_lone_surrogate(text.as_bytes()), lone, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body: Vec<u8>) {
            drop(Envelope::parse(&body));
        }

        #[test]
        fn lone_surrogates_are_found_as_the_parser_finds_them(units in proptest::collection::vec(
            prop_oneof![Just(r"\ud83d"), Just(r"\ude00"), Just(r"\u0041"), Just(r"\\"), Just("x")], 0..8)) {
            let text = units.concat();
            let parsed = serde_json::from_str::<String>(&format!("\"{text}\"")).is_ok();
            prop_assert_eq!(has_lone_surrogate(text.as_bytes()), !parsed);
        }
    }
}
