//! What defaults(1), which has the settings of programs on macOS, is told and says. No other way keeps what running
//! programs see and what is on the disk the same.

use crate::host::{PreferenceDomain, PreferenceValue};
use plist::Dictionary;
use std::io;

/// Where the settings of the computer are.
const COMPUTER: &str = "/Library/Preferences";
/// The domain of all programs, as people call it, and its file's name.
const GLOBAL: [&str; 2] = ["NSGlobalDomain", ".GlobalPreferences"];
/// More than this does not fit beside an environment on a command line, bytes.
const VALUE_LIMIT: usize = 512 << 10;

/// Prints a domain as a property list.
pub(crate) fn export(domain: &PreferenceDomain) -> io::Result<Vec<String>> {
    Ok(vec!["export".to_owned(), argument(domain)?, "-".to_owned()])
}

/// Sets a value.
pub(crate) fn write(
    domain: &PreferenceDomain,
    key: &str,
    value: &PreferenceValue,
) -> io::Result<Vec<String>> {
    let mut arguments = vec!["write".to_owned(), argument(domain)?, checked_key(key)?];
    let typed = |option: &str, value: String| vec![option.to_owned(), value];
    arguments.extend(match value {
        PreferenceValue::String(text) => typed("-string", text.clone()),
        PreferenceValue::Integer(number) => typed("-int", number.to_string()),
        PreferenceValue::Real(number) => typed("-float", number.to_string()),
        PreferenceValue::Boolean(flag) => typed("-bool", flag.to_string()),
        // Values within it would lose their types otherwise.
        value => vec![property_list(value)?],
    });
    if arguments.iter().any(|argument| argument.contains('\0')) {
        return invalid("a NUL character");
    }
    if arguments.iter().map(String::len).sum::<usize>() > VALUE_LIMIT {
        return invalid(&format!("more than {VALUE_LIMIT} bytes"));
    }
    Ok(arguments)
}

/// Removes a value.
pub(crate) fn delete(domain: &PreferenceDomain, key: &str) -> io::Result<Vec<String>> {
    Ok(vec!["delete".to_owned(), argument(domain)?, checked_key(key)?])
}

/// The settings in what `export` prints. For a domain that does not exist, that is an empty list, or nothing.
pub(crate) fn parse(printed: &[u8]) -> io::Result<Dictionary> {
    if printed.trim_ascii().is_empty() {
        return Ok(Dictionary::new());
    }
    let value: PreferenceValue =
        plist::from_bytes(printed).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let settings = value.into_dictionary();
    settings.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a dictionary"))
}

/// How a domain is named. The computer's are named by their files: by its name alone, a domain is the calling user's.
fn argument(domain: &PreferenceDomain) -> io::Result<String> {
    let name = domain.name.as_str();
    // Options would be taken for such, and a folder up the way for the way.
    if name.is_empty()
        || name.starts_with('-')
        || name.contains('\0')
        || name.split('/').any(|part| part == "..")
    {
        return invalid("a domain that cannot be named");
    }
    let name = if name == GLOBAL[0] { GLOBAL[1] } else { name };
    match (domain.user, name.starts_with('/')) {
        (None, true) => Ok(name.trim_end_matches(".plist").to_owned()),
        (None, false) if !name.contains('/') => Ok(format!("{COMPUTER}/{name}")),
        (Some(_), false) if !name.contains('/') => Ok(name.to_owned()),
        _ => invalid("a path where a name is expected"),
    }
}

fn checked_key(key: &str) -> io::Result<String> {
    if key.is_empty() || key.starts_with('-') {
        return invalid("a key that cannot be named");
    }
    Ok(key.to_owned())
}

fn property_list(value: &PreferenceValue) -> io::Result<String> {
    let mut xml = Vec::new();
    plist::to_writer_xml(&mut xml, value).map_err(io::Error::other)?;
    String::from_utf8(xml).map_err(io::Error::other)
}

fn invalid<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{what} is nothing that defaults(1) takes"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain(user: Option<u32>, name: &str) -> PreferenceDomain {
        PreferenceDomain {
            user,
            name: name.to_owned(),
        }
    }

    #[test]
    fn domains_of_the_computer_are_named_by_their_files() {
        let computer = |name: &str| argument(&domain(None, name)).ok();
        assert_eq!(computer("com.x.y").unwrap(), "/Library/Preferences/com.x.y");
        assert_eq!(
            computer("NSGlobalDomain").unwrap(),
            "/Library/Preferences/.GlobalPreferences"
        );
        assert_eq!(
            computer("/Library/Managed/x.plist").unwrap(),
            "/Library/Managed/x"
        );
        let user = |name: &str| argument(&domain(Some(501), name)).ok();
        assert_eq!(user("com.x.y").unwrap(), "com.x.y");
        assert_eq!(user("/Library/Preferences/com.x"), None);
        for name in ["", "-g", "-app", "a/b", "/a/../b", "a\0"] {
            assert_eq!((computer(name), user(name)), (None, None), "{name:?}");
        }
    }

    #[test]
    fn each_kind_of_value_is_named_so_that_it_stays_what_it_is() {
        let written = |value: PreferenceValue| write(&domain(None, "d"), "k", &value).unwrap()[3..].join(" ");
        assert_eq!(written("-x y".into()), "-string -x y");
        assert_eq!(written(7_i64.into()), "-int 7");
        assert_eq!(written(0.5.into()), "-float 0.5");
        assert_eq!(written(true.into()), "-bool true");
        let list = PreferenceValue::Array(vec![1_i64.into(), "<a>".into()]);
        let xml = written(list.clone());
        assert!(
            xml.starts_with("<?xml") && xml.contains("<integer>1</integer>"),
            "{xml}"
        );
        assert_eq!(
            plist::from_bytes::<PreferenceValue>(xml.as_bytes()).unwrap(),
            list
        );
    }

    #[test]
    fn what_cannot_be_passed_on_is_refused() {
        let error = |key: &str, value: PreferenceValue| {
            write(&domain(None, "d"), key, &value).unwrap_err().to_string()
        };
        assert!(error("", "x".into()).contains("key"));
        assert!(error("-currentHost", "x".into()).contains("key"));
        assert!(error("k", "a\0".into()).contains("NUL"));
        assert!(error("k", "x".repeat(VALUE_LIMIT).into()).contains("bytes"));
        assert!(delete(&domain(None, "d"), "-x").is_err());
    }

    #[test]
    fn a_domain_is_printed_as_a_property_list() {
        let arguments = export(&domain(Some(501), "com.x")).unwrap();
        assert_eq!(arguments, ["export", "com.x", "-"]);
        assert!(export(&domain(None, "")).is_err());
    }

    #[test]
    fn a_domain_that_is_not_there_has_no_settings() {
        assert!(parse(b"").unwrap().is_empty() && parse(b"\n").unwrap().is_empty());
        let some = b"<plist version=\"1.0\"><dict><key>a</key><true/></dict></plist>";
        assert_eq!(parse(some).unwrap().get("a"), Some(&true.into()));
        assert!(parse(b"<plist><array/></plist>").is_err() && parse(b"Domain x does not exist").is_err());
    }

    proptest! {
        #[test]
        fn no_name_becomes_an_option_or_leaves_its_folder(name in "[-./a-z\0]{0,12}", user in any::<Option<u32>>()) {
            if let Ok(argument) = argument(&domain(user, &name)) {
                prop_assert!(!argument.starts_with('-') && !argument.contains('\0'));
                prop_assert!(!argument.split('/').any(|part| part == ".."));
                prop_assert_eq!(user.is_none(), argument.starts_with('/'));
            }
        }
    }
}
