//! Takes the secrets out of what is kept of an exchange.

use axum::http::HeaderMap;
use oco_protocol::Key;
use serde_json::Value;

/// Most of a body that is kept, bytes.
const MAX_BODY: usize = 4096;
/// Headers that are kept.
const MAX_HEADERS: usize = 50;
/// Characters of a header's name or value that are kept.
const MAX_HEADER: usize = 300;
const MASK: &str = "***";
/// Members whose values are secret, in requests and answers.
const SECRET: [&str; 6] = [
    "agent-key",
    "server-key",
    "password",
    "old_password",
    "api_key",
    "api-key",
];

/// A body as it is kept: without secrets, and not too much of it.
pub(super) fn body(bytes: &[u8], keys: &[Key]) -> String {
    let text = match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) => {
            mask(&mut value);
            value.to_string()
        }
        // What is no JSON may hold a password anywhere, once it says that there is one.
        Err(_)
            if SECRET
                .iter()
                .any(|name| memchr::memmem::find(bytes, name.as_bytes()).is_some()) =>
        {
            return format!("({} bytes that are no JSON and may hold secrets)", bytes.len());
        }
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let text = without(text, keys);
    match text.char_indices().nth(MAX_BODY) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], bytes.len()),
        None => text,
    }
}

/// A text without these keys.
pub(super) fn without(mut text: String, keys: &[Key]) -> String {
    for key in keys.iter().filter(|key| !key.is_empty()) {
        if text.contains(key.expose()) {
            text = text.replace(key.expose(), MASK);
        }
    }
    text
}

/// Headers as they are kept: not too many, and not too much of each.
pub(super) fn headers(headers: &HeaderMap, keys: &[Key]) -> Vec<(String, String)> {
    let shown = headers.iter().take(MAX_HEADERS).map(|(name, value)| {
        let value = match name.as_str() {
            "authorization" | "cookie" | "proxy-authorization" => MASK.to_owned(),
            _ => without(String::from_utf8_lossy(value.as_bytes()).into_owned(), keys),
        };
        let name = name.as_str().chars().take(MAX_HEADER).collect();
        (name, value.chars().take(MAX_HEADER).collect())
    });
    shown.collect()
}

/// A request's path and query, not too much of them.
pub(super) fn uri(uri: &axum::http::Uri, keys: &[Key]) -> String {
    without(pairs(uri), keys).chars().take(MAX_BODY).collect()
}

fn pairs(uri: &axum::http::Uri) -> String {
    let Some(query) = uri.query() else {
        return uri.path().to_owned();
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SECRET.contains(&name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    format!("{}?{}", uri.path(), pairs.collect::<Vec<_>>().join("&"))
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if SECRET.contains(&name.as_str()) && !value.is_null() {
                    *value = Value::from(MASK);
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let keys = [Key::new("sesame")];
        let text = body(
            br#"{"params":{"agent-key":"a","data":{"x":"say sesame","passwords":[{"username":"u","password":{"iv":"i"}}],"server-key":null}}}"#,
            &keys,
        );
        for secret in ["\"a\"", "sesame", "iv"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains(r#""server-key":null"#) && text.contains(r#""username":"u""#));
        assert!(!body(br#"{"password":"p4ss"#, &keys).contains("p4ss"));
        assert_eq!(
            uri(&"/a?hostname=h&agent-key=k&x=sesame".parse().unwrap(), &keys),
            "/a?hostname=h&agent-key=***&x=***"
        );
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        let text = body("ä".repeat(10_000).as_bytes(), &[]);
        assert!(text.ends_with("... (20000 bytes)") && text.chars().count() < MAX_BODY + 30);
    }
}
