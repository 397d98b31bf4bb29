//! Local accounts, from the directory service.

use super::property_list::dictionaries;
use crate::host::Host;
use crate::inventory::field::{Result, command_output};
use oco_protocol::inventory::User;
use plist::{Dictionary, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const QUERY: [&str; 10] = [
    "-plist",
    ".",
    "-readall",
    "/Users",
    "UniqueID",
    "PrimaryGroupID",
    "RealName",
    "NFSHomeDirectory",
    "UserShell",
    "AuthenticationAuthority",
];

/// The accounts whose id is in `range`.
pub(super) fn collect(host: &dyn Host, range: &RangeInclusive<u32>) -> Result<Vec<User>> {
    Ok(records(host)?
        .iter()
        .filter_map(|record| user(record, range))
        .collect())
}

/// Full names of all accounts.
pub(super) fn full_names(host: &dyn Host) -> Result<BTreeMap<String, String>> {
    let records = records(host)?;
    let names = records.iter().filter_map(|record| {
        let name = first(record, "RealName").unwrap_or_default();
        Some((first(record, "RecordName")?.to_owned(), name.to_owned()))
    });
    Ok(names.collect())
}

fn records(host: &dyn Host) -> Result<Vec<Dictionary>> {
    dictionaries(&command_output(host, "dscl", &QUERY)?, "the output of dscl")
}

fn user(record: &Dictionary, range: &RangeInclusive<u32>) -> Option<User> {
    // Accounts of the system have negative ids, too.
    let uid: u32 = first(record, "UniqueID")?.parse().ok()?;
    let text = |attribute| first(record, attribute).unwrap_or_default().to_owned();
    range.contains(&uid).then(|| User {
        username: text("RecordName"),
        display_name: text("RealName"),
        uid: uid.into(),
        gid: first(record, "PrimaryGroupID")
            .and_then(|gid| gid.parse::<i64>().ok())
            .into(),
        home: text("NFSHomeDirectory"),
        shell: text("UserShell"),
        disabled: values(record, "AuthenticationAuthority").any(|method| method.contains(";DisabledUser;")),
    })
}

fn first<'a>(record: &'a Dictionary, attribute: &str) -> Option<&'a str> {
    values(record, attribute).next()
}

fn values<'a>(record: &'a Dictionary, attribute: &str) -> impl Iterator<Item = &'a str> {
    let values = record
        .get(&format!("dsAttrTypeStandard:{attribute}"))
        .and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_string)
}
