//! Edits of JSON files as text: only the objects on the way to a member are written anew, all else stays as it is, to
//! the letter.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::value::RawValue;
use std::fmt;

/// Indentation of files that have none yet.
const DEFAULT_INDENT: &str = "    ";
/// White space of JSON; there is more in other texts.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// An edit that is not possible.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    #[error("the file is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("{0} is not an object")]
    NotAnObject(String),
}

/// A file's content with what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// The outermost value, without blanks around it.
    text: String,
    after: String,
    style: Style,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Style {
    /// A line for each member.
    Indented(String),
    /// All in one line, with or without a blank after each separator.
    OneLine { blanks: bool },
}

/// The members of an object in their order; their values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Document {
    /// A file without content, or none, holds an empty object.
    pub(super) fn parse(content: &str) -> Result<Self, EditError> {
        let text = content.trim_matches(BLANKS);
        if text.is_empty() {
            return Ok(Self {
                text: "{}".to_owned(),
                after: "\n".to_owned(),
                style: Style::Indented(DEFAULT_INDENT.to_owned()),
            });
        }
        let _: &RawValue = serde_json::from_str(text).map_err(EditError::NotJson)?;
        let end = content.trim_end_matches(BLANKS).len();
        Ok(Self {
            text: text.to_owned(),
            after: content[end..].to_owned(),
            style: Style::of(text),
        })
    }

    /// The content as it is to be written.
    pub(super) fn content(&self) -> String {
        format!("{}{}", self.text, self.after)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(members(&self.text), Some(members) if members.is_empty())
    }

    /// Sets a member. The paths of the objects that had to be made for it are returned, the outermost one first.
    pub(super) fn set(&mut self, path: &[String], value: &Value) -> Result<Vec<Vec<String>>, EditError> {
        let mut created = Vec::new();
        if let Some(text) = set(&self.text, path, 0, value, &self.style, &mut created)? {
            self.text = text;
        }
        Ok(created)
    }

    /// Removes a member, and then each object in `ours` (paths) around it that is empty without it.
    pub(super) fn remove(&mut self, path: &[String], ours: impl Fn(&[String]) -> bool) {
        let Some(text) = remove(&self.text, path, 0, &self.style) else {
            return;
        };
        self.text = text;
        let mut around = path;
        while let Some((_, outer)) = around.split_last() {
            around = outer;
            if outer.is_empty() || !ours(outer) || !is_empty_object(&self.text, outer) {
                return;
            }
            if let Some(text) = remove(&self.text, outer, 0, &self.style) {
                self.text = text;
            }
        }
    }
}

/// A policy's value as it is stored: a text that is JSON itself stands for what it says.
pub(super) fn stored(value: &Value) -> String {
    if let Value::String(text) = value
        && let Ok(raw) = serde_json::from_str::<&RawValue>(text.trim_matches(BLANKS))
    {
        return raw.get().to_owned();
    }
    value.to_string()
}

/// The text with the member set; none if it has that value already.
fn set(
    text: &str,
    path: &[String],
    depth: usize,
    value: &Value,
    style: &Style,
    created: &mut Vec<Vec<String>>,
) -> Result<Option<String>, EditError> {
    let Some(name) = path.get(depth) else {
        return Ok((!same(text, &stored(value))).then(|| style.value(value, depth)));
    };
    let Some(mut members) = members(text) else {
        let outer = path[..depth].join("\\");
        let outer = if outer.is_empty() { "the file" } else { &outer };
        return Err(EditError::NotAnObject(outer.to_owned()));
    };
    // Of members of one name, readers take the last one.
    let slot = members.iter_mut().rfind(|(member, _)| member == name);
    let inner = match &slot {
        Some((_, inner)) => set(inner.get(), path, depth + 1, value, style, created)?,
        None if depth + 1 == path.len() => Some(style.value(value, depth + 1)),
        None => {
            created.push(path[..=depth].to_vec());
            set("{}", path, depth + 1, value, style, created)?
        }
    };
    let Some(inner) = inner else {
        return Ok(None);
    };
    let inner = RawValue::from_string(inner).map_err(EditError::NotJson)?;
    match slot {
        Some((_, slot)) => *slot = inner,
        None => members.push((name.clone(), inner)),
    }
    Ok(Some(style.object(&members, depth)))
}

/// The text without the member; none if there is no such member.
fn remove(text: &str, path: &[String], depth: usize, style: &Style) -> Option<String> {
    let name = path.get(depth)?;
    let mut members = members(text)?;
    if depth + 1 == path.len() {
        let before = members.len();
        members.retain(|(member, _)| member != name);
        return (members.len() < before).then(|| style.object(&members, depth));
    }
    let (_, slot) = members.iter_mut().rfind(|(member, _)| member == name)?;
    *slot = RawValue::from_string(remove(slot.get(), path, depth + 1, style)?).ok()?;
    Some(style.object(&members, depth))
}

fn members(text: &str) -> Option<Vec<(String, Box<RawValue>)>> {
    serde_json::from_str::<Members>(text)
        .ok()
        .map(|members| members.0)
}

fn is_empty_object(text: &str, path: &[String]) -> bool {
    let Some((name, inner)) = path.split_first() else {
        return members(text).is_some_and(|members| members.is_empty());
    };
    let members = members(text).unwrap_or_default();
    let slot = members.iter().rfind(|(member, _)| member == name);
    slot.is_some_and(|(_, value)| is_empty_object(value.get(), inner))
}

/// Whether two texts say the same.
fn same(a: &str, b: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    a == b || matches!((value(a), value(b)), (Some(a), Some(b)) if a == b)
}

impl Style {
    fn of(text: &str) -> Self {
        if members(text).is_none_or(|members| members.is_empty()) {
            return Self::Indented(DEFAULT_INDENT.to_owned());
        }
        match text.split_once('\n') {
            Some((_, rest)) => {
                let end = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                Self::Indented(rest[..end].to_owned())
            }
            None => {
                // The end of the first name; a quote inside of it is escaped.
                let mut ends = text.match_indices("\":").map(|(at, _)| at);
                let end = ends.find(|at| !text[..*at].ends_with('\\'));
                Self::OneLine {
                    blanks: end.is_some_and(|at| text[at + 2..].starts_with(' ')),
                }
            }
        }
    }

    /// An object at this depth.
    fn object(&self, members: &[(String, Box<RawValue>)], depth: usize) -> String {
        if members.is_empty() {
            return "{}".to_owned();
        }
        let (open, separator, colon, close) = match self {
            Self::Indented(indent) => {
                let line = format!("\n{}", indent.repeat(depth + 1));
                let close = format!("\n{}", indent.repeat(depth));
                (line.clone(), format!(",{line}"), ": ", close)
            }
            Self::OneLine { blanks: true } => (String::new(), ", ".to_owned(), ": ", String::new()),
            Self::OneLine { blanks: false } => (String::new(), ",".to_owned(), ":", String::new()),
        };
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{}{colon}{}", Value::from(name.as_str()), value.get()))
            .collect();
        format!("{{{open}{}{close}}}", members.join(&separator))
    }

    /// A new value at this depth.
    fn value(&self, value: &Value, depth: usize) -> String {
        let (Self::Indented(indent), Value::Array(_) | Value::Object(_)) = (self, value) else {
            return stored(value);
        };
        let mut text = Vec::new();
        let formatter = PrettyFormatter::with_indent(indent.as_bytes());
        let mut serializer = Serializer::with_formatter(&mut text, formatter);
        match value.serialize(&mut serializer).map(|()| String::from_utf8(text)) {
            // Line ends inside of texts are escaped.
            Ok(Ok(text)) => text.replace('\n', &format!("\n{}", indent.repeat(depth))),
            _ => stored(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn path(text: &str) -> Vec<String> {
        text.split('\\').map(str::to_owned).collect()
    }

    fn after_set(content: &str, at: &str, value: &Value) -> String {
        let mut document = Document::parse(content).unwrap();
        document.set(&path(at), value).unwrap();
        document.content()
    }

    #[test]
    fn everything_else_stays_to_the_letter() {
        let content = "{\n  \"big\": 123456789012345678901234567890,\n  \"list\": [1,2,\n 3],\n  \"a\": {\"x\" :1}\n}\n\n";
        assert_eq!(
            after_set(content, r"b\c", &json!(true)),
            "{\n  \"big\": 123456789012345678901234567890,\n  \"list\": [1,2,\n 3],\n  \"a\": {\"x\" :1},\n  \"b\": {\n    \"c\": true\n  }\n}\n\n"
        );
        assert_eq!(after_set(content, r"a\x", &json!(1)), content);
    }

    #[test]
    fn white_space_that_is_not_of_json_makes_no_json() {
        // Found by fuzzing: the vertical tabulator was kept behind what was written, which nobody could read then.
        assert!(Document::parse("{\"a\": 1}\u{b}\n").is_err());
        assert!(Document::parse("\u{a0}{}").is_err() && Document::parse("\u{b}").is_err());
        assert_eq!(stored(&json!("\u{b}5")), "\"\\u000b5\"");
        assert_eq!(stored(&json!(" 5\n")), "5");
    }

    #[test]
    fn new_files_and_one_line_files_have_their_style() {
        assert_eq!(
            after_set("", r"a\b", &json!(["x", {"y": 1}])),
            "{\n    \"a\": {\n        \"b\": [\n            \"x\",\n            {\n                \"y\": 1\n            }\n        ]\n    }\n}\n"
        );
        assert_eq!(after_set("{\"a\":1}", "b", &json!([2])), "{\"a\":1,\"b\":[2]}");
        assert_eq!(
            after_set("{\"a\": 1}", "b", &json!("x")),
            "{\"a\": 1, \"b\": \"x\"}"
        );
    }

    #[test]
    fn texts_that_are_json_stand_for_what_they_say() {
        for (value, expected) in [
            (json!("5"), "5"),
            (json!("true"), "true"),
            (json!(" {\"a\": [1]} "), "{\"a\": [1]}"),
            (json!("007"), "\"007\""),
            (json!("hello"), "\"hello\""),
            (json!(""), "\"\""),
            (json!(7), "7"),
            (json!([1, "2"]), "[1,\"2\"]"),
        ] {
            assert_eq!(stored(&value), expected);
        }
    }

    #[test]
    fn what_is_no_object_is_not_replaced_by_one() {
        for (content, at) in [("[1]", "a"), ("{\"a\": 5}", r"a\b"), ("7", "a")] {
            let error = Document::parse(content)
                .unwrap()
                .set(&path(at), &json!(1))
                .unwrap_err();
            assert!(matches!(error, EditError::NotAnObject(_)), "{content}");
        }
        assert!(matches!(
            Document::parse("{// comment\n}"),
            Err(EditError::NotJson(_))
        ));
    }

    #[test]
    fn only_objects_that_were_made_are_cleaned_up() {
        let content = "{\n  \"theirs\": {}\n}";
        let mut document = Document::parse(content).unwrap();
        let created = document.set(&path(r"theirs\ours\inner\key"), &json!(1)).unwrap();
        assert_eq!(created, [path(r"theirs\ours"), path(r"theirs\ours\inner")]);
        document.remove(&path(r"theirs\ours\inner\key"), |object| {
            created.iter().any(|path| path == object)
        });
        assert_eq!(document.content(), content);
    }

    #[test]
    fn a_deeply_nested_file_does_no_harm() {
        let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        let mut document = Document::parse(&deep).unwrap();
        document.set(&path(r"a\b"), &json!(1)).unwrap();
        assert!(document.content().ends_with(",\"b\":1}}"));
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        proptest::collection::btree_map("[a-d]", value, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn setting_and_removing_leaves_the_file_as_it_was(
            before in any_object(), members in proptest::collection::vec("[a-f]", 1..4), value in any_object(), pretty: bool,
        ) {
            let content = if pretty {
                serde_json::to_string_pretty(&before).unwrap()
            } else {
                before.to_string()
            };
            let pointer: String = members.iter().map(|member| format!("/{member}")).collect();
            prop_assume!(before.pointer(&pointer).is_none());
            let mut document = Document::parse(&content).unwrap();
            if let Ok(created) = document.set(&members, &value) {
                let after: Value = serde_json::from_str(&document.content()).unwrap();
                prop_assert_eq!(after.pointer(&pointer), Some(&value));
                document.remove(&members, |object| created.iter().any(|path| path == object));
            }
            let after = document.content();
            prop_assert_eq!(after.trim_end(), content);
        }

        #[test]
        fn any_content_is_read_without_panic(content in "\\PC{0,60}", members in proptest::collection::vec("[a-c]", 1..3)) {
            if let Ok(mut document) = Document::parse(&content) {
                let _ = document.set(&members, &Value::from(1));
                document.remove(&members, |_| true);
            }
        }
    }
}
