//! Compares a body with its shape in one pass, without making a tree of it.

use super::rules::Rule;
use super::shapes::{Field, Format, Kept, Kind, Shape};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Places that are noted for one rule in one exchange.
const MAX_PLACES: usize = 5;
/// Characters of a value that a note repeats.
const MAX_SHOWN: usize = 60;
/// Further ahead than any date of this protocol, so that no arithmetic overflows.
const TIMESTAMP_DECIMALS: f64 = 10_000.0;

/// What is wrong with an exchange: each rule once, with where and what.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<(Rule, Vec<String>)>);

impl Notes {
    pub(super) fn add(&mut self, rule: Rule, detail: impl FnOnce() -> String) {
        let index = self.0.iter().position(|(noted, _)| *noted == rule);
        let index = index.unwrap_or_else(|| {
            self.0.push((rule, Vec::new()));
            self.0.len() - 1
        });
        if let Some((_, details)) = self
            .0
            .get_mut(index)
            .filter(|(_, details)| details.len() < MAX_PLACES)
        {
            details.push(detail());
        }
    }
}

/// Values that rules of more than one exchange need.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Values {
    pub(super) timestamp: Option<f64>,
    pub(super) job_id: Option<String>,
    pub(super) job_state: Option<i64>,
    pub(super) return_code: Option<i64>,
    pub(super) package: Option<String>,
}

/// Compares `body` with `shape`.
pub(super) fn compare(body: &[u8], shape: &'static Shape, notes: &mut Notes) -> Values {
    let mut values = Values::default();
    let walk = Walk {
        shape,
        place: Place::Top,
        notes,
        values: &mut values,
    };
    let parsed = match std::str::from_utf8(body) {
        // Checked at once rather than text by text.
        Ok(text) => walk.over(serde_json::Deserializer::from_str(text)),
        Err(_) => walk.over(serde_json::Deserializer::from_slice(body)),
    };
    if let Err(error) = parsed {
        notes.add(Rule::Json, || error.to_string());
    }
    values
}

/// Where in the body.
#[derive(Clone, Copy)]
enum Place<'p> {
    Top,
    Member(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Member(Place::Top, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Walk<'w> {
    shape: &'static Shape,
    place: Place<'w>,
    notes: &'w mut Notes,
    values: &'w mut Values,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Walk<'_> {
    fn over<'de, R: serde_json::de::Read<'de>>(
        self,
        mut parser: serde_json::Deserializer<R>,
    ) -> Result<(), serde_json::Error> {
        self.deserialize(&mut parser)?;
        parser.end()
    }

    fn note(&mut self, rule: Rule, what: &str) {
        let place = self.place;
        self.notes.add(rule, || format!("{place}: {what}"));
    }

    fn wrong_type(&mut self, found: &str) {
        let expected = match self.shape.kind {
            Kind::Any => "anything",
            Kind::Flag => "true or false",
            Kind::Text(..) => "a text",
            Kind::Integer(..) => "an integer",
            Kind::Number(..) => "a number",
            Kind::Id(_) => "an integer or a text",
            Kind::Timestamp => "a number",
            Kind::List(..) => "a list",
            Kind::Object(_) | Kind::Map | Kind::Secret(_) => "an object",
        };
        self.note(Rule::Type, &format!("{found} instead of {expected}"));
    }

    fn integer(&mut self, number: i64) {
        match self.shape.kind {
            Kind::Any | Kind::Id(_) => {}
            Kind::Integer(min, max) if !(min..=max).contains(&number) => {
                self.note(Rule::Range, &format!("{number} is not within {min} to {max}"));
            }
            Kind::Integer(..) => {}
            #[allow(clippy::cast_precision_loss)] // only compared with bounds
            Kind::Number(..) | Kind::Timestamp => return self.number(number as f64),
            _ => return self.wrong_type("an integer"),
        }
        match self.shape.kept {
            Some(Kept::JobId) => self.values.job_id = Some(number.to_string()),
            Some(Kept::Package) => self.values.package = Some(number.to_string()),
            Some(Kept::JobState) => self.values.job_state = Some(number),
            Some(Kept::ReturnCode) => self.values.return_code = Some(number),
            _ => {}
        }
    }

    fn number(&mut self, number: f64) {
        match self.shape.kind {
            Kind::Any => {}
            Kind::Number(min, max) if !(min..=max).contains(&number) => {
                self.note(Rule::Range, &format!("{number} is not within {min} to {max}"));
            }
            Kind::Number(..) => {}
            Kind::Timestamp => self.timestamp(number),
            _ => self.wrong_type("a number"),
        }
    }

    fn timestamp(&mut self, number: f64) {
        if self.shape.kept != Some(Kept::Timestamp) {
            return;
        }
        self.values.timestamp = Some(number);
        let scaled = number * TIMESTAMP_DECIMALS;
        // A double holds a present time to a quarter of a microsecond.
        if (scaled - scaled.round()).abs() > 0.006 {
            self.note(
                Rule::TimestampDecimals,
                &format!("{number} has more than 4 decimals"),
            );
        }
    }

    fn text(&mut self, text: &str) {
        match self.shape.kind {
            Kind::Any => {}
            Kind::Text(max, format) => {
                self.size(text.len(), max, || text.chars().count());
                self.format(text, format);
            }
            Kind::Id(max) => {
                self.size(text.len(), max, || text.chars().count());
                self.format(text, Format::NotEmpty);
            }
            Kind::Timestamp => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => self.timestamp(number),
                _ => self.note(Rule::Type, "a text that is no number"),
            },
            Kind::Secret(_) => self.note(Rule::SecretPassword, "a text instead of an encrypted password"),
            _ => self.wrong_type("a text"),
        }
        match self.shape.kept {
            Some(Kept::JobId) => self.values.job_id = Some(text.chars().take(MAX_SHOWN).collect()),
            Some(Kept::Package) => self.values.package = Some(text.chars().take(MAX_SHOWN).collect()),
            _ => {}
        }
    }

    /// Notes what is too long. Characters are counted only where bytes leave it open.
    fn size(&mut self, bytes: usize, max: usize, characters: impl FnOnce() -> usize) {
        if bytes > max {
            let characters = characters();
            if characters > max {
                self.note(Rule::Size, &format!("{characters} characters, of at most {max}"));
            }
        }
    }

    fn format(&mut self, text: &str, format: Format) {
        let (rule, expected) = match format {
            Format::Any => return,
            Format::NotEmpty if !text.is_empty() => return,
            Format::NotEmpty => (Rule::Format, "something"),
            Format::Date if crate::agent_api::is_date_time(text) => return,
            Format::Date => (Rule::Date, "a date such as 2026-01-31 23:59:59"),
            Format::Address if text == "-" || text.parse::<std::net::IpAddr>().is_ok() => return,
            Format::Address => (Rule::Format, "an IP address or -"),
            Format::Mac if text == "-" || is_mac(text) => return,
            Format::Mac => (Rule::Format, "a MAC address such as 02:fc:00:00:00:01 or -"),
            Format::CheckState if is_check_state(text) => return,
            Format::CheckState => (Rule::Format, "digits, or P"),
            Format::Base64 if STANDARD.decode(text).is_ok() => return,
            Format::Base64 => (Rule::Format, "base64"),
            Format::JsonRpc if text == oco_protocol::rpc::JSONRPC_VERSION => return,
            Format::JsonRpc => (Rule::Format, "2.0"),
        };
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        self.note(rule, &format!("{shown:?} instead of {expected}"));
    }
}

fn is_check_state(text: &str) -> bool {
    text == "P" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Pairs of hexadecimal digits with colons or hyphens between them.
fn is_mac(text: &str) -> bool {
    let mut pairs = 0;
    let well_formed = text.split([':', '-']).all(|pair| {
        pairs += 1;
        pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    well_formed && pairs >= 6
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        if matches!(self.place, Place::Member(Place::Top, "id")) {
            self.note(Rule::Json, "null is no id");
        } else if !self.shape.null && !matches!(self.shape.kind, Kind::Any) {
            self.wrong_type("null");
        }
        Ok(())
    }

    fn visit_bool<E>(mut self, flag: bool) -> Result<(), E> {
        let fine = matches!(self.shape.kind, Kind::Any | Kind::Flag) || (self.shape.or_false && !flag);
        if !fine {
            self.wrong_type(if flag { "true" } else { "false" });
        }
        Ok(())
    }

    fn visit_i64<E>(mut self, number: i64) -> Result<(), E> {
        self.integer(number);
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.integer(i64::try_from(number).unwrap_or(i64::MAX));
        Ok(())
    }

    fn visit_f64<E>(mut self, number: f64) -> Result<(), E> {
        self.number(number);
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let Kind::List(max, of) = self.shape.kind else {
            if !matches!(self.shape.kind, Kind::Any) {
                self.wrong_type("a list");
            }
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let mut length = 0;
        loop {
            let place = self.place;
            let item = Walk {
                shape: of,
                place: Place::Item(&place, length),
                notes: &mut *self.notes,
                values: &mut *self.values,
            };
            if items.next_element_seed(item)?.is_none() {
                break;
            }
            length += 1;
        }
        if length > max {
            self.note(Rule::Size, &format!("{length} items, of at most {max}"));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let fields = match self.shape.kind {
            Kind::Object(fields) => fields,
            Kind::Secret(of) => {
                return Walk { shape: of, ..self }.visit_map(members);
            }
            kind => {
                if !matches!(kind, Kind::Any | Kind::Map) {
                    self.wrong_type("an object");
                }
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(());
            }
        };
        let mut seen = 0_u64;
        let mut expected = 0;
        while let Some(Name(name)) = members.next_key::<Name<'_>>()? {
            let place = self.place;
            match position(fields, &name, expected) {
                Some(index) => {
                    seen |= 1 << index;
                    expected = index + 1;
                    members.next_value_seed(Walk {
                        shape: &fields[index].shape,
                        place: Place::Member(&place, &name),
                        notes: &mut *self.notes,
                        values: &mut *self.values,
                    })?;
                }
                None => {
                    let shown: String = name.chars().take(MAX_SHOWN).collect();
                    self.notes
                        .add(Rule::Unknown, || Place::Member(&place, &shown).to_string());
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        for (index, field) in fields.iter().enumerate() {
            if field.required && seen & (1 << index) == 0 {
                let place = self.place;
                self.notes
                    .add(Rule::Missing, || Place::Member(&place, field.name).to_string());
            }
        }
        Ok(())
    }
}

/// The field of this name. Members mostly come in the order of the table, so the next one is tried first.
fn position(fields: &[Field], name: &str, expected: usize) -> Option<usize> {
    if fields.get(expected).is_some_and(|field| field.name == name) {
        return Some(expected);
    }
    fields.iter().position(|field| field.name == name)
}
