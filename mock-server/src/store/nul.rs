//! The character U+0000 in JSON texts, which PostgreSQL has no room for.

use super::Store;
use super::dialect::Dialect;
use std::borrow::Cow;

impl Store {
    /// What of the JSON text `body` can be stored here: with `\uFFFD` for each `\u0000`, where the database takes none.
    pub(crate) fn storable<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        let replaced = match self.readers.dialect() {
            Dialect::Postgres => without_nul(body),
            Dialect::Sqlite | Dialect::MariaDb => None,
        };
        replaced.map_or(Cow::Borrowed(body), Cow::Owned)
    }
}

/// A JSON text with `\uFFFD` for each `\u0000`, for databases that have no text with such a character; none where there is
/// nothing to replace.
fn without_nul(body: &[u8]) -> Option<Vec<u8>> {
    const NUL: &[u8] = b"\\u0000";
    memchr::memmem::find(body, NUL)?;
    let mut replaced = body.to_vec();
    let mut at = 0;
    while let Some(found) = replaced[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        if replaced[at..].starts_with(NUL) {
            replaced[at..at + NUL.len()].copy_from_slice(b"\\ufffd");
        }
        // Whatever is escaped is no escape itself.
        at = (at + 2).min(replaced.len());
    }
    Some(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_of_nul_are_replaced() {
        let replaced = |text: &str| without_nul(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(replaced(r#"{"a":"x"}"#), None);
        assert_eq!(
            replaced(r#"{"a":"\u0000x\\u0000\\\u0000"}"#).as_deref(),
            Some(r#"{"a":"\ufffdx\\u0000\\\ufffd"}"#)
        );
    }
}
