//! As much of WQL, the query language of WMI, as a recording needs: which class, which properties.

use crate::host::WmiRow;
use std::collections::BTreeMap;

/// `SELECT properties FROM class ...`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query<'a> {
    pub(super) class: &'a str,
    /// All if empty.
    properties: Vec<&'a str>,
}

impl<'a> Query<'a> {
    pub(super) fn parse(query: &'a str) -> Option<Self> {
        let mut words = query.split_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case("SELECT"))?;
        let listed: Vec<_> = words
            .by_ref()
            .take_while(|word| !word.eq_ignore_ascii_case("FROM"))
            .collect();
        let class = words.next()?;
        let names = listed
            .iter()
            .flat_map(|names| names.split(','))
            .filter(|name| !name.is_empty());
        let properties = names.filter(|name| *name != "*").collect();
        (!listed.is_empty()).then_some(Self { class, properties })
    }

    /// A row as WMI would return it: with no other properties than those that were asked for.
    pub(super) fn project(&self, row: &WmiRow) -> WmiRow {
        let asked = |name: &str| {
            self.properties
                .iter()
                .any(|property| property.eq_ignore_ascii_case(name))
        };
        let kept = row
            .iter()
            .filter(|(name, _)| self.properties.is_empty() || asked(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Namespaces and classes have no case.
pub(super) fn find_name<'a, T>(map: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    map.iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_and_properties_are_found() {
        let query =
            Query::parse("select Name,SID , Disabled from Win32_UserAccount where LocalAccount = TRUE");
        let expected = Query {
            class: "Win32_UserAccount",
            properties: vec!["Name", "SID", "Disabled"],
        };
        assert_eq!(query, Some(expected));
        assert_eq!(
            Query::parse("SELECT * FROM X"),
            Some(Query {
                class: "X",
                properties: vec![]
            })
        );
        for broken in ["", "SELECT", "SELECT FROM X", "SELECT a FROM", "DELETE a FROM X"] {
            assert_eq!(Query::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_not_answered() {
        let row: WmiRow = serde_json::from_str(r#"{"Name":"a","SID":"S-1"}"#).unwrap();
        let names = |query: &str| {
            Query::parse(query)
                .unwrap()
                .project(&row)
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(names("SELECT name, FullName FROM X"), ["Name"]);
        assert_eq!(names("SELECT * FROM X"), ["Name", "SID"]);
    }
}
