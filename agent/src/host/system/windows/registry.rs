//! The registry: keys and values in both views.

use crate::host::{Hive, HostError, RegistryKey, RegistryValue, RegistryView, Result};
use std::collections::BTreeMap;
use std::io;
use winreg::enums::{
    HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_READ, KEY_WOW64_32KEY, KEY_WOW64_64KEY, KEY_WRITE, RegType,
};
use winreg::types::{FromRegValue, ToRegValue};
use winreg::{HKEY, RegKey, RegValue};

/// The values of a key.
pub(super) fn values(key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>> {
    let read = || -> io::Result<BTreeMap<String, RegistryValue>> {
        let opened = open(key, KEY_READ)?;
        let values = opened.enum_values();
        values
            .map(|value| value.map(|(name, value)| (name, from_raw(&value))))
            .collect()
    };
    read().map_err(|error| HostError::new("read registry key", key, error))
}

/// The names of a key's subkeys.
pub(super) fn subkeys(key: &RegistryKey) -> Result<Vec<String>> {
    let list = || -> io::Result<Vec<String>> { open(key, KEY_READ)?.enum_keys().collect() };
    list().map_err(|error| HostError::new("list registry key", key, error))
}

/// Writes a value; keys on the way are created.
pub(super) fn set_value(key: &RegistryKey, name: &str, value: &RegistryValue) -> Result<()> {
    let write = || {
        let (opened, _) =
            root(key.hive).create_subkey_with_flags(&key.path, KEY_READ | KEY_WRITE | view(key.view))?;
        opened.set_raw_value(name, &to_raw(value))
    };
    write().map_err(|error| HostError::new("write into registry key", key, error))
}

/// Removes a value; one that is not there is no error.
pub(super) fn remove_value(key: &RegistryKey, name: &str) -> Result<()> {
    let remove = || open(key, KEY_WRITE)?.delete_value(name);
    missing_is_fine(remove()).map_err(|error| HostError::new("remove a value of registry key", key, error))
}

/// Removes a key that has neither values nor subkeys; whether it is gone.
pub(super) fn remove_empty_key(key: &RegistryKey) -> Result<bool> {
    let remove = || {
        let opened = match open(key, KEY_READ) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened?,
        };
        let information = opened.query_info()?;
        if information.sub_keys > 0 || information.values > 0 {
            return Ok(false);
        }
        drop(opened);
        missing_is_fine(root(key.hive).delete_subkey_with_flags(&key.path, view(key.view))).map(|()| true)
    };
    remove().map_err(|error| HostError::new("remove registry key", key, error))
}

fn open(key: &RegistryKey, access: u32) -> io::Result<RegKey> {
    root(key.hive).open_subkey_with_flags(&key.path, access | view(key.view))
}

fn root(hive: Hive) -> RegKey {
    let root: HKEY = match hive {
        Hive::LocalMachine => HKEY_LOCAL_MACHINE,
        Hive::Users => HKEY_USERS,
    };
    RegKey::predef(root)
}

const fn view(view: RegistryView) -> u32 {
    match view {
        RegistryView::Native => KEY_WOW64_64KEY,
        RegistryView::Wow32 => KEY_WOW64_32KEY,
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What is malformed for its type stays as its bytes.
fn from_raw(value: &RegValue<'_>) -> RegistryValue {
    let text = || String::from_reg_value(value).ok();
    let known = match value.vtype {
        RegType::REG_SZ => text().map(RegistryValue::Text),
        RegType::REG_EXPAND_SZ => text().map(RegistryValue::ExpandText),
        RegType::REG_MULTI_SZ => Vec::<String>::from_reg_value(value)
            .ok()
            .map(RegistryValue::MultiText),
        RegType::REG_DWORD => u32::from_reg_value(value).ok().map(RegistryValue::Dword),
        RegType::REG_QWORD => u64::from_reg_value(value).ok().map(RegistryValue::Qword),
        _ => None,
    };
    known.unwrap_or_else(|| RegistryValue::Binary(value.bytes.to_vec()))
}

fn to_raw(value: &RegistryValue) -> RegValue<'_> {
    match value {
        RegistryValue::Text(text) => text.to_reg_value(),
        RegistryValue::ExpandText(text) => RegValue {
            vtype: RegType::REG_EXPAND_SZ,
            ..text.to_reg_value()
        },
        RegistryValue::MultiText(texts) => texts.to_reg_value(),
        RegistryValue::Dword(number) => number.to_reg_value(),
        RegistryValue::Qword(number) => number.to_reg_value(),
        RegistryValue::Binary(bytes) => RegValue {
            bytes: bytes.into(),
            vtype: RegType::REG_BINARY,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of this test's own, removed with all that is in it.
    struct Scratch(RegistryKey);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = format!(r"SOFTWARE\oco-agent-test\{name}-{}", std::process::id());
            Self(RegistryKey::machine(path))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = root(self.0.hive).delete_subkey_all(&self.0.path);
        }
    }

    #[test]
    fn values_of_all_types_come_back_as_they_were_written() {
        let scratch = Scratch::new("types");
        let values_ = [
            ("", RegistryValue::Text("default".into())),
            ("text", RegistryValue::Text("grün".into())),
            ("expand", RegistryValue::ExpandText("%PATH%".into())),
            ("multi", RegistryValue::MultiText(vec!["a".into(), "b".into()])),
            ("dword", RegistryValue::Dword(u32::MAX)),
            ("qword", RegistryValue::Qword(1 << 40)),
            ("binary", RegistryValue::Binary(vec![1, 2, 3])),
        ];
        for (name, value) in &values_ {
            set_value(&scratch.0, name, value).unwrap();
        }
        let read = values(&scratch.0).unwrap();
        let expected = values_.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(read, BTreeMap::from(expected));
        remove_value(&scratch.0, "text").unwrap();
        remove_value(&scratch.0, "text").unwrap();
        assert!(!values(&scratch.0).unwrap().contains_key("text"));
    }

    #[test]
    fn a_missing_key_is_told_from_an_empty_one() {
        let scratch = Scratch::new("missing");
        assert!(values(&scratch.0).unwrap_err().is_not_found());
        assert!(subkeys(&scratch.0).unwrap_err().is_not_found());
        remove_value(&scratch.0, "x").unwrap();
        assert!(remove_empty_key(&scratch.0).unwrap());
    }

    #[test]
    fn only_an_empty_key_is_removed() {
        let scratch = Scratch::new("empty");
        let inner = scratch.0.subkey("inner");
        set_value(&inner, "v", &RegistryValue::Dword(1)).unwrap();
        assert!(!remove_empty_key(&scratch.0).unwrap());
        assert!(!remove_empty_key(&inner).unwrap());
        remove_value(&inner, "v").unwrap();
        assert!(remove_empty_key(&inner).unwrap());
        assert!(remove_empty_key(&scratch.0).unwrap());
    }

    #[test]
    fn both_views_are_kept_apart() {
        let name = format!("oco-agent-test-views-{}", std::process::id());
        let native = RegistryKey::machine(format!(r"SOFTWARE\{name}"));
        let wow32 = RegistryKey {
            view: RegistryView::Wow32,
            ..native.clone()
        };
        set_value(&wow32, "v", &RegistryValue::Dword(32)).unwrap();
        assert!(values(&native).unwrap_err().is_not_found());
        assert_eq!(values(&wow32).unwrap()["v"], RegistryValue::Dword(32));
        let redirected = RegistryKey::machine(format!(r"SOFTWARE\WOW6432Node\{name}"));
        assert_eq!(values(&redirected).unwrap()["v"], RegistryValue::Dword(32));
        remove_value(&wow32, "v").unwrap();
        assert!(remove_empty_key(&wow32).unwrap());
    }
}
