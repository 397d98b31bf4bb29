//! Requests and responses as they may be logged: without keys, passwords and signatures, and without what may hold
//! anything.
//!
//! What jobs run and print, policies and events are an administrator's own; licence keys and passwords are usual in them.
//! Their sizes are logged only. All else is bounded in length.

use super::error::{MAX_REASON_BYTES, shortened};
use oco_protocol::Key;
use serde_json::Value;

/// Most of a body that is logged, bytes.
const MAX_BODY: usize = 4096;
/// Keys shorter than this are not looked for in texts: they would be found everywhere.
const SHORTEST_KEY: usize = 4;
const HIDDEN: &str = "***";

/// The names of what is secret; `_` counts as `-`.
const SECRET: [&str; 6] = [
    "agent-key",
    "server-key",
    "password",
    "old-password",
    "alphabet",
    "signature",
];
/// The names of what may hold anything.
const OPAQUE: [&str; 2] = ["procedure", "message"];

/// A body for the log. JSON is shown without its secrets; other text of at most a few words, for such are refusals; of
/// anything else only the size: it may be JSON with a key in it that is damaged.
pub(super) fn body(bytes: &[u8], keys: &[&Key]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) if value.is_object() || value.is_array() => {
            hide(&mut value);
            cut(&without_keys(&value.to_string(), keys))
        }
        _ => text(bytes, keys),
    }
}

/// Text of the other side, such as a refusal, for the log: its first line, short and without keys.
pub(super) fn text(bytes: &[u8], keys: &[&Key]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if text.starts_with(['{', '[', '"']) {
        return format!("({} bytes, damaged or no text)", bytes.len());
    }
    // Before it is cut, so that no half of a key is left.
    shortened(&without_keys(text.lines().next().unwrap_or_default(), keys))
}

/// Path and query of a URL for the log.
pub(super) fn url(url: &reqwest::Url, keys: &[&Key]) -> String {
    let pairs = url.query_pairs().map(|(name, value)| {
        let secret = is(&name, &SECRET);
        let value = if secret { HIDDEN } else { &*value };
        format!("{name}={value}")
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let shown = match query.as_str() {
        "" => url.path().to_owned(),
        query => format!("{}?{query}", url.path()),
    };
    let shown: String = shown.chars().filter(|c| !c.is_control()).collect();
    cut(&without_keys(&shown, keys))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(name, value)| hide_field(name, value)),
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

fn hide_field(name: &str, value: &mut Value) {
    if is(name, &SECRET) {
        // Whether there is one says much, and nothing of what it is.
        if !value.is_null() {
            *value = HIDDEN.into();
        }
    } else if is(name, &OPAQUE) {
        *value = size_of(value);
    } else if name == "policies" {
        sizes_of_leaves(value);
    } else if name == "events" {
        hide_events(value);
    } else {
        hide(value);
    }
}

/// The fields of an event are a log's content.
fn hide_events(events: &mut Value) {
    for event in events.as_array_mut().into_iter().flatten() {
        if let Some(data) = event.get_mut("data") {
            *data = size_of(data);
        }
        hide(event);
    }
}

fn sizes_of_leaves(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(sizes_of_leaves),
        // An empty list stands for an empty object.
        Value::Array(items) if items.is_empty() => {}
        leaf => *leaf = size_of(leaf),
    }
}

fn size_of(value: &Value) -> Value {
    let bytes = match value {
        Value::String(text) => text.len(),
        Value::Null => return Value::Null,
        other => other.to_string().len(),
    };
    format!("({bytes} bytes)").into()
}

fn is(name: &str, names: &[&str]) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    names.contains(&name.as_str())
}

/// The text without the keys themselves, wherever they stand and however JSON or a URL spells them.
fn without_keys(text: &str, keys: &[&Key]) -> String {
    let mut text = text.to_owned();
    for key in keys
        .iter()
        .map(|key| key.expose())
        .filter(|key| key.len() >= SHORTEST_KEY)
    {
        let in_json = Value::from(key).to_string();
        let mut in_url = reqwest::Url::parse("http://x/").ok();
        if let Some(url) = &mut in_url {
            url.query_pairs_mut().append_key_only(key);
        }
        let in_url = in_url.as_ref().and_then(reqwest::Url::query).unwrap_or(key);
        for spelling in [key, &in_json[1..in_json.len() - 1], in_url] {
            if text.contains(spelling) {
                text = text.replace(spelling, HIDDEN);
            }
        }
    }
    text
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_BODY {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_BODY);
    format!("{} [... {} bytes more]", &text[..end], text.len() - end)
}

// A refusal that is shown whole fits in what errors keep of it.
const _: () = assert!(MAX_REASON_BYTES < MAX_BODY);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shown(value: &Value) -> Value {
        serde_json::from_str(&body(value.to_string().as_bytes(), &[])).unwrap()
    }

    #[test]
    fn keys_passwords_and_signatures_are_hidden_wherever_they_stand() {
        let hello = json!({"id": 1, "error": null, "result": {"success": true, "timestamp": 1.5, "params": {
            "server-key": "s3cret", "agent-key": "s3cret", "Agent_Key": "s3cret", "update": 1,
            "update-passwords": [{"username": "admin", "alphabet": "s3cret", "length": 8, "old_password": "s3cret"}],
        }}});
        let passwords = json!({"params": {"agent-key": "s3cret", "data": {"passwords": [
            {"username": "admin", "password": {"iv": "s3cret", "data": "s3cret"}},
            {"username": "other", "password": "s3cret", "revoke": true},
        ]}}});
        for body in [hello, passwords] {
            let shown = shown(&body).to_string();
            assert!(!shown.contains("s3cret") && shown.contains("admin"), "{shown}");
        }
        let none = shown(&json!({"agent-key": null}));
        assert_eq!(none, json!({"agent-key": null}));
    }

    #[test]
    fn of_what_may_hold_anything_only_the_size_is_shown() {
        let answer = json!({"software-jobs": [{"id": 4, "procedure": "setup /licence:s3cret"}],
            "policies": {"machine": {"JSON:/a:b": "s3cret", "JSON:/a:c": ["s3cret"]}, "user": []}});
        assert_eq!(
            shown(&answer),
            json!({"software-jobs": [{"id": 4, "procedure": "(21 bytes)"}],
                "policies": {"machine": {"JSON:/a:b": "(6 bytes)", "JSON:/a:c": "(10 bytes)"}, "user": []}})
        );
        let report = json!({"job-id": 4, "state": 3, "return-code": 0, "message": "s3cret"});
        assert_eq!(shown(&report)["message"], "(6 bytes)");
        let events = json!({"events": [{"log": "x", "event_id": 1, "data": {"MESSAGE": "s3cret"}}]});
        assert_eq!(
            shown(&events)["events"][0],
            json!({"log": "x", "event_id": 1, "data": "(20 bytes)"})
        );
    }

    #[test]
    fn known_keys_are_hidden_in_any_text_and_spelling() {
        let key = Key::new("a\"b/c d\u{e9}");
        let keys = [&key];
        assert_eq!(
            text(b"no key a\"b/c d\xc3\xa9 here\nmore", &keys),
            "no key *** here"
        );
        let echoed = json!({"other": format!("x{}y", key.expose())}).to_string();
        assert_eq!(body(echoed.as_bytes(), &keys), r#"{"other":"x***y"}"#);
        let mut address = reqwest::Url::parse("http://user:pass@host/path").unwrap();
        address
            .query_pairs_mut()
            .append_pair("hostname", "pc")
            .append_pair("agent-key", key.expose())
            .append_pair("id", "7");
        assert_eq!(url(&address, &[]), "/path?hostname=pc&agent-key=***&id=7");
        let echoed = format!("not found: {}", address.query().unwrap());
        assert_eq!(
            text(echoed.as_bytes(), &keys),
            "not found: hostname=pc&agent-key=***&id=7"
        );
    }

    #[test]
    fn damaged_json_is_not_shown() {
        for damaged in [
            r#"{"agent-key":"s3cret""#,
            r#"["s3cret"#,
            r#""s3cret"#,
            r#" {"s3cret"#,
        ] {
            let shown = body(damaged.as_bytes(), &[]);
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn bodies_are_cut() {
        let long = json!({"list": vec!["\u{e4}"; 10_000]}).to_string();
        let shown = body(long.as_bytes(), &[]);
        assert!(shown.len() < MAX_BODY + 100 && shown.ends_with(" bytes more]"));
    }

    proptest! {
        #[test]
        fn no_body_shows_a_known_key_or_panics(
            before in "\\PC{0,20}", key in "[!-~]{8,30}", after in "\\PC{0,20}", long in 0usize..5000,
        ) {
            let secret = Key::new(key.clone());
            let filler = "x".repeat(long);
            let plain = format!("{filler}{before}{key}{after}");
            let in_json = json!({"a": [plain.clone()]}).to_string();
            for bytes in [plain.as_bytes(), in_json.as_bytes()] {
                let shown = body(bytes, &[&secret]);
                prop_assert!(!shown.contains(&key), "{}", shown);
            }
        }
    }
}
