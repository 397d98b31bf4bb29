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

/// What tells accounts apart, also those of a directory that this Mac keeps a copy of.
const IDENTITIES: [&str; 6] = ["-plist", ".", "-readall", "/Users", "GeneratedUID", "UniqueID"];

/// The id of the account with this GUID; none if there is no such account.
pub(crate) fn uid_of(host: &dyn Host, guid: &str) -> Result<Option<u32>> {
    let guid = guid.trim_matches(['{', '}']);
    let accounts = dictionaries(&command_output(host, "dscl", &IDENTITIES)?, "the output of dscl")?;
    let account = accounts
        .iter()
        .find(|record| first(record, "GeneratedUID").is_some_and(|known| known.eq_ignore_ascii_case(guid)));
    // The system's own accounts, root among them, are nobody that a server knows.
    let uid = account.and_then(|record| first(record, "UniqueID")?.parse().ok());
    Ok(uid.filter(|uid| *uid > 0))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Os;
    use crate::host::recorded::{RecordedCommand, RecordedHost};
    use proptest::prelude::*;

    fn host(dscl: &str) -> RecordedHost {
        RecordedHost::new(super::super::tests::recording(&[(
            &format!("dscl {}", IDENTITIES.join(" ")),
            RecordedCommand {
                code: Some(0),
                stdout: dscl.as_bytes().to_vec(),
            },
        )]))
    }

    fn record(guid: &str, uid: &str) -> String {
        format!(
            "<dict><key>dsAttrTypeStandard:GeneratedUID</key><array><string>{guid}</string></array>\
             <key>dsAttrTypeStandard:UniqueID</key><array><string>{uid}</string></array></dict>"
        )
    }

    #[test]
    fn an_account_is_found_by_its_guid() {
        let records = [
            record("FFFFEEEE-DDDD-CCCC-BBBB-AAAA00000000", "0"),
            record("FFFFEEEE-DDDD-CCCC-BBBB-AAAAFFFFFFFE", "-2"),
            "<dict/>".to_owned(),
            record("5F1C0A3E-7B2D-4C55-9E21-0123456789AB", "501"),
        ];
        let host = host(&format!("<plist><array>{}</array></plist>", records.concat()));
        assert_eq!(host.os(), Os::MacOs);
        let uid = |guid: &str| uid_of(&host, guid).unwrap();
        assert_eq!(uid("{5f1c0a3e-7b2d-4c55-9e21-0123456789ab}"), Some(501));
        assert_eq!(uid("00000000-0000-0000-0000-000000000000"), None);
        assert_eq!(uid("FFFFEEEE-DDDD-CCCC-BBBB-AAAA00000000"), None, "root");
        assert_eq!(uid("FFFFEEEE-DDDD-CCCC-BBBB-AAAAFFFFFFFE"), None, "nobody");
        assert_eq!(uid(""), None);
    }

    proptest! {
        #[test]
        fn no_record_panics(texts in proptest::collection::vec("[-0-9]{0,12}|;DisabledUser;|[a-zäöü ]{0,8}", 7)) {
            let names = ["RecordName", "RealName", "UniqueID", "PrimaryGroupID", "NFSHomeDirectory", "UserShell", "AuthenticationAuthority"];
            let record: Dictionary = names
                .iter()
                .zip(&texts)
                .map(|(name, text)| {
                    let values = Value::Array(vec![text.clone().into()]);
                    (format!("dsAttrTypeStandard:{name}"), values)
                })
                .collect();
            let found = user(&record, &(500..=65_534));
            prop_assert_eq!(found.is_some(), texts[2].parse().is_ok_and(|uid: u32| (500..=65_534).contains(&uid)));
            if let Some(found) = found {
                prop_assert_eq!(found.disabled, texts[6].contains(";DisabledUser;"));
            }
        }
    }
}
