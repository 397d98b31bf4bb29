//! The part of WQL that an inventory needs: `SELECT a, b FROM class WHERE c = 1 AND d = 'x'`.

use oco_agent::host::WmiRow;
use serde_json::Value;
use std::io;

/// A query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// Class that is asked for.
    pub(super) class: &'a str,
    /// Properties that are asked for; empty: all.
    properties: Vec<&'a str>,
    /// Property and value that a row must have; the `bool` says whether it must not.
    conditions: Vec<(&'a str, &'a str, bool)>,
}

impl<'a> Query<'a> {
    /// Reads a query; one that says more than this module understands is an error, never ignored.
    pub(super) fn parse(query: &'a str) -> io::Result<Self> {
        let mut rest = query.trim();
        keyword(&mut rest, "SELECT")?;
        let from = find_keyword(rest, "FROM").ok_or_else(|| invalid(query))?;
        let properties: Vec<&str> = rest[..from]
            .split(',')
            .map(str::trim)
            .filter(|name| *name != "*")
            .collect();
        rest = rest[from..].trim_start();
        keyword(&mut rest, "FROM")?;
        let (class, mut rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = rest.trim();
        let mut conditions = Vec::new();
        if !rest.is_empty() {
            keyword(&mut rest, "WHERE")?;
            while let Some(and) = find_keyword(rest, "AND") {
                conditions.push(condition(&rest[..and])?);
                rest = rest[and..].trim_start();
                keyword(&mut rest, "AND")?;
            }
            conditions.push(condition(rest)?);
        }
        if class.is_empty()
            || properties
                .iter()
                .any(|name| name.is_empty() || name.contains(char::is_whitespace))
        {
            return Err(invalid(query));
        }
        Ok(Self {
            class,
            properties,
            conditions,
        })
    }

    /// Whether a row meets the conditions.
    pub(super) fn selects(&self, row: &WmiRow) -> bool {
        self.conditions.iter().all(|(property, wanted, negated)| {
            let value = row
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(property))
                .map(|(_, value)| value);
            let equal = match value {
                Some(Value::String(text)) => text.eq_ignore_ascii_case(wanted),
                Some(Value::Number(number)) => number.to_string() == *wanted,
                Some(Value::Bool(value)) => {
                    if *value { "TRUE" } else { "FALSE" }.eq_ignore_ascii_case(wanted)
                }
                _ => wanted.eq_ignore_ascii_case("NULL"),
            };
            equal != *negated
        })
    }

    /// Leaves only the properties that were asked for.
    pub(super) fn project(&self, mut row: WmiRow) -> WmiRow {
        if !self.properties.is_empty() {
            row.retain(|name, _| {
                self.properties
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(name))
            });
        }
        row
    }
}

fn condition(text: &str) -> io::Result<(&str, &str, bool)> {
    let (property, value, negated) = if let Some((property, value)) = text.split_once("<>") {
        (property, value, true)
    } else if let Some((property, value)) = text.split_once("!=") {
        (property, value, true)
    } else if let Some((property, value)) = split_keyword(text, "IS NOT") {
        (property, value, true)
    } else if let Some((property, value)) = split_keyword(text, "IS") {
        (property, value, false)
    } else {
        let (property, value) = text.split_once('=').ok_or_else(|| invalid(text))?;
        (property, value, false)
    };
    let (property, value) = (property.trim(), value.trim().trim_matches(['\'', '"']));
    let plain = property
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !property.is_empty();
    let one_value = find_keyword(value, "OR").is_none();
    if plain && one_value {
        Ok((property, value, negated))
    } else {
        Err(invalid(text))
    }
}

fn keyword(rest: &mut &str, word: &str) -> io::Result<()> {
    let matches = rest
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word));
    let after = rest
        .get(word.len()..)
        .filter(|after| matches && after.starts_with(char::is_whitespace));
    *rest = after.ok_or_else(|| invalid(rest))?.trim_start();
    Ok(())
}

/// Where a word stands on its own.
fn find_keyword(text: &str, word: &str) -> Option<usize> {
    let upper = text.to_ascii_uppercase();
    let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let mut places = upper.match_indices(word).map(|(place, _)| place);
    places.find(|place| {
        blank(upper[..*place].chars().next_back()) && blank(upper[place + word.len()..].chars().next())
    })
}

fn split_keyword<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let place = find_keyword(text, word)?;
    Some((&text[..place], &text[place + word.len()..]))
}

fn invalid(query: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{query:?} is no query that virtual machines understand"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> WmiRow {
        let pairs = [
            ("Name", json!("Anna")),
            ("Type", json!(3)),
            ("Local", json!(true)),
            ("Key", Value::Null),
        ];
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    #[test]
    fn conditions_and_properties_are_respected() {
        let select = |query| Query::parse(query).unwrap().selects(&row());
        assert!(select("SELECT * FROM Win32_X"));
        assert!(select("select Name from Win32_X where Type=3 and local = TRUE"));
        assert!(!select("SELECT Name FROM Win32_X WHERE Type = 2"));
        assert!(select(
            "SELECT Name FROM Win32_X WHERE Name = 'anna' AND Type <> 2"
        ));
        assert!(!select("SELECT Name FROM Win32_X WHERE Key IS NOT NULL"));
        assert!(select("SELECT Name FROM Win32_X WHERE Key IS NULL"));
        let query = Query::parse("SELECT name, Type FROM Win32_X").unwrap();
        assert_eq!(query.class, "Win32_X");
        assert_eq!(
            query.project(row()).into_keys().collect::<Vec<_>>(),
            ["Name", "Type"]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for query in [
            "",
            "SELECT",
            "SELECT a b FROM c",
            "SELECT * FROM c WHERE",
            "SELECT * FROM c WHERE a LIKE 'x%'",
            "SELECT * FROM c WHERE a = 1 OR b = 2",
            "DELETE FROM c",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }
}
