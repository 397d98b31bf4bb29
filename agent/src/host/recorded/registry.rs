//! The registry of a recorded machine, once something was written to it.

use super::recording::Registry;
use crate::host::{Hive, HostError, RegistryKey, RegistryValue, RegistryView, Result};
use std::collections::BTreeMap;
use std::io;

/// Keys by path, with their values.
type Keys = BTreeMap<String, BTreeMap<String, RegistryValue>>;

/// A registry with the hives of users who are not logged on.
#[derive(Debug, Clone, Default)]
pub(super) struct WrittenRegistry {
    registry: Registry,
    /// Hives by file.
    files: BTreeMap<String, Keys>,
    /// Files by the name under which they are loaded.
    loaded: BTreeMap<String, String>,
    loads: usize,
}

impl WrittenRegistry {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            ..Self::default()
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A user's hive, empty.
    pub(super) fn add_hive_file(&mut self, file: String) {
        self.files.insert(file, Keys::new());
    }

    /// The values of a key in a user's hive as it is in its file.
    pub(super) fn file_values(&self, file: &str, path: &str) -> Option<BTreeMap<String, RegistryValue>> {
        self.files.get(file)?.get(path).cloned()
    }

    /// How often hives were loaded, and how many are now.
    pub(super) fn hives(&self) -> (usize, usize) {
        (self.loads, self.loaded.len())
    }

    pub(super) fn set(&mut self, key: &RegistryKey, name: &str, value: &RegistryValue) {
        let keys = self.keys(key.hive, key.view);
        let mut path = String::new();
        for part in key.path.split('\\') {
            if !path.is_empty() {
                path.push('\\');
            }
            path.push_str(part);
            if let Some(known) = known(keys, &path) {
                path = known;
            } else {
                keys.insert(path.clone(), BTreeMap::new());
            }
        }
        if let Some(values) = keys.get_mut(&path) {
            values.retain(|known, _| !known.eq_ignore_ascii_case(name));
            values.insert(name.to_owned(), value.clone());
        }
    }

    pub(super) fn remove_value(&mut self, key: &RegistryKey, name: &str) {
        let keys = self.keys(key.hive, key.view);
        if let Some(values) = known(keys, &key.path).and_then(|path| keys.get_mut(&path)) {
            values.retain(|known, _| !known.eq_ignore_ascii_case(name));
        }
    }

    pub(super) fn remove_empty_key(&mut self, key: &RegistryKey) -> bool {
        let keys = self.keys(key.hive, key.view);
        let below = format!("{}\\", key.path.to_ascii_lowercase());
        if keys
            .keys()
            .any(|path| path.to_ascii_lowercase().starts_with(&below))
        {
            return false;
        }
        match known(keys, &key.path) {
            Some(path) if !keys.get(&path).is_some_and(BTreeMap::is_empty) => false,
            Some(path) => keys.remove(&path).is_some(),
            None => true,
        }
    }

    pub(super) fn load(&mut self, name: &str, file: &str) -> Result<()> {
        let content = self.files.get(file).cloned();
        let content = content.ok_or_else(|| HostError::not_found("load registry hive", file))?;
        if self.loaded.values().any(|loaded| loaded == file) {
            let busy = io::ErrorKind::ResourceBusy;
            return Err(HostError::new("load registry hive", file, busy));
        }
        let keys = self.keys(Hive::Users, RegistryView::Native);
        keys.insert(name.to_owned(), BTreeMap::new());
        for (path, values) in content {
            keys.insert(format!("{name}\\{path}"), values);
        }
        self.loaded.insert(name.to_owned(), file.to_owned());
        self.loads += 1;
        Ok(())
    }

    pub(super) fn unload(&mut self, name: &str) -> Result<()> {
        let file = self.loaded.remove(name);
        let file = file.ok_or_else(|| HostError::not_found("unload registry hive", name))?;
        let prefix = format!("{name}\\");
        let mut content = Keys::new();
        self.keys(Hive::Users, RegistryView::Native)
            .retain(|path, values| {
                if let Some(path) = path.strip_prefix(&prefix) {
                    content.insert(path.to_owned(), std::mem::take(values));
                    return false;
                }
                path != name
            });
        self.files.insert(file, content);
        Ok(())
    }

    fn keys(&mut self, hive: Hive, view: RegistryView) -> &mut Keys {
        self.registry.entry(hive).or_default().entry(view).or_default()
    }
}

/// How a key is written where it exists.
fn known(keys: &Keys, path: &str) -> Option<String> {
    keys.keys()
        .find(|known| known.eq_ignore_ascii_case(path))
        .cloned()
}
