//! Whose a body is and what it asks for, read no further than it must be: what comes after may be a long inventory.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Method and host name as a body says; none where it is no JSON. What is missing is empty, but for the parameters.
pub(super) fn of(body: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let mut found = Found::default();
    let mut parser = serde_json::Deserializer::from_slice(body);
    let parsed = Top(&mut found)
        .deserialize(&mut parser)
        .and_then(|()| parser.end());
    match found {
        Found {
            method: Some(method),
            hostname: Some(hostname),
            ..
        } => Some((method, hostname)),
        // It was read to its end, or it is wrong.
        found if parsed.is_ok() && found.has_params => Some((
            found.method.unwrap_or_default(),
            found.hostname.unwrap_or_default(),
        )),
        _ => None,
    }
}

#[derive(Default)]
struct Found<'a> {
    method: Option<Cow<'a, str>>,
    hostname: Option<Cow<'a, str>>,
    has_params: bool,
}

impl Found<'_> {
    /// Ends the reading where nothing is missing any more; an error is the only way.
    fn enough<E: Error>(&self) -> Result<(), E> {
        if self.method.is_some() && self.hostname.is_some() {
            return Err(E::custom("nothing more is needed"));
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the body.
struct Top<'f, 'a>(&'f mut Found<'a>);

/// Reads its parameters.
struct Params<'f, 'a>(&'f mut Found<'a>);

impl<'de> DeserializeSeed<'de> for Top<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> DeserializeSeed<'de> for Params<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = members.next_key()? {
            match &*name {
                "method" => self.0.method = Some(members.next_value::<Text<'de>>()?.0),
                "params" => {
                    self.0.has_params = true;
                    members.next_value_seed(Params(self.0))?;
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
            self.0.enough()?;
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Params<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = members.next_key()? {
            if name == "hostname" {
                self.0.hostname = Some(members.next_value::<Text<'de>>()?.0);
                self.0.enough()?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(body: &str) -> Option<(String, String)> {
        let (method, hostname) = of(body.as_bytes())?;
        Some((method.into_owned(), hostname.into_owned()))
    }

    #[test]
    fn members_are_found_in_any_order() {
        let expected = Some(("m".to_owned(), "pc\n".to_owned()));
        for body in [
            r#"{"jsonrpc":"2.0","method":"m","params":{"uid":{"hostname":1},"hostname":"pc\n","data":{}}}"#,
            r#"{"params":{"data":{"hostname":"x","method":"y"},"hostname":"pc\n"},"id":[1],"method":"m"}"#,
        ] {
            assert_eq!(identity(body), expected);
        }
    }

    #[test]
    fn what_is_missing_is_empty_and_what_is_no_request_is_nobodys() {
        let named = |method: &str, hostname: &str| Some((method.to_owned(), hostname.to_owned()));
        assert_eq!(identity(r#"{"params":{}}"#), named("", ""));
        assert_eq!(identity(r#"{"method":"m","params":{"uid":1}}"#), named("m", ""));
        for body in [
            "",
            "[1]",
            r#"{"method":"m"}"#,
            r#"{"params":{"hostname":"pc"}"#,
            r#"{"method":7,"params":{}}"#,
        ] {
            assert_eq!(identity(body), None, "{body}");
        }
    }

    #[test]
    fn what_follows_is_not_read() {
        let body = r#"{"method":"m","params":{"hostname":"pc","data":{"#;
        assert_eq!(identity(body), Some(("m".to_owned(), "pc".to_owned())));
    }
}
