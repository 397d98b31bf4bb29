//! The registry that a virtual Windows machine was generated with, and what was written over it: into the computer's
//! hives, and into those of its users.

use super::state::VirtualState;
use crate::generate::{Profile, windows};
use oco_agent::host::{Hive, RegistryKey, RegistryValue, RegistryView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// The file that a state keeps the written keys in. No machine has one of that name.
pub(super) const WRITTEN: &str = r"\\.\registry";

/// Values of a key by name.
type Values = BTreeMap<String, RegistryValue>;

/// What was written into one key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct WrittenKey {
    /// Its path as it was written first.
    path: String,
    /// Values that were set.
    set: Values,
    /// Names of generated values that were removed, in lower case.
    removed: BTreeSet<String>,
}

/// Keys by hive, view and path in lower case: [`id`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Written(BTreeMap<String, WrittenKey>);

/// A machine's registry at one moment.
pub(super) struct Registry<'a> {
    pub(super) profile: &'a Profile,
    pub(super) now: SystemTime,
    /// Hives of users that were loaded: SIDs by name.
    pub(super) loaded: &'a BTreeMap<String, String>,
}

impl Registry<'_> {
    pub(super) fn values(&self, state: &VirtualState, key: &RegistryKey) -> io::Result<Values> {
        let key = self.resolve(key)?;
        let generated = windows::registry_values(self.profile, &key, self.now);
        let written = Written::of(state);
        if !written.has(&key) {
            return generated;
        }
        let mut values = generated.unwrap_or_default();
        if let Some(changed) = written.0.get(&id(&key)) {
            values.retain(|name, _| {
                !changed.removed.contains(&name.to_lowercase())
                    && !changed.set.keys().any(|set| set.eq_ignore_ascii_case(name))
            });
            values.extend(changed.set.clone());
        }
        Ok(values)
    }

    pub(super) fn subkeys(&self, state: &VirtualState, key: &RegistryKey) -> io::Result<Vec<String>> {
        let key = self.resolve(key)?;
        let generated = windows::registry_subkeys(self.profile, &key);
        let written = Written::of(state);
        if !written.has(&key) {
            return generated;
        }
        let mut names = generated.unwrap_or_default();
        for name in written.names_below(&key) {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                names.push(name);
            }
        }
        Ok(names)
    }

    pub(super) fn set(
        &self,
        state: &mut VirtualState,
        key: &RegistryKey,
        name: &str,
        value: &RegistryValue,
    ) -> io::Result<()> {
        let key = self.resolve(key)?;
        let mut written = Written::of(state);
        let changed = written.0.entry(id(&key)).or_default();
        changed.path.clone_from(&key.path);
        changed.set.retain(|set, _| !set.eq_ignore_ascii_case(name));
        changed.set.insert(name.to_owned(), value.clone());
        changed.removed.remove(&name.to_lowercase());
        written.store(state)
    }

    pub(super) fn remove_value(
        &self,
        state: &mut VirtualState,
        key: &RegistryKey,
        name: &str,
    ) -> io::Result<()> {
        let key = self.resolve(key)?;
        let generated = windows::registry_values(self.profile, &key, self.now).unwrap_or_default();
        let is_generated = generated.keys().any(|known| known.eq_ignore_ascii_case(name));
        let mut written = Written::of(state);
        if !is_generated && !written.0.contains_key(&id(&key)) {
            return Ok(());
        }
        let changed = written.0.entry(id(&key)).or_default();
        if changed.path.is_empty() {
            changed.path.clone_from(&key.path);
        }
        changed.set.retain(|set, _| !set.eq_ignore_ascii_case(name));
        if is_generated {
            changed.removed.insert(name.to_lowercase());
        }
        written.store(state)
    }

    /// Removes a written key without values and subkeys. What a machine was generated with stays.
    pub(super) fn remove_empty_key(&self, state: &mut VirtualState, key: &RegistryKey) -> io::Result<bool> {
        let key = self.resolve(key)?;
        if windows::registry_values(self.profile, &key, self.now).is_ok()
            || windows::registry_subkeys(self.profile, &key).is_ok()
        {
            return Ok(false);
        }
        let mut written = Written::of(state);
        let has_values = written
            .0
            .get(&id(&key))
            .is_some_and(|changed| !changed.set.is_empty());
        if has_values || !written.names_below(&key).is_empty() {
            return Ok(false);
        }
        written.0.remove(&id(&key));
        // The key above has been there, and stays until somebody removes it.
        if let Some((parent, _)) = key.path.rsplit_once('\\') {
            written.keep(
                self,
                &RegistryKey {
                    path: parent.to_owned(),
                    ..key.clone()
                },
            );
        }
        written.store(state)?;
        Ok(true)
    }

    /// The SID of the user whose hive is in that file; none of somebody who is logged on, whose file is in use.
    pub(super) fn owner(&self, file: &Path) -> io::Result<String> {
        let file = file.to_str().ok_or(io::ErrorKind::NotFound)?;
        let folder = super::split_path(Path::new(file))
            .filter(|(_, name)| name.eq_ignore_ascii_case("NTUSER.DAT"))
            .map(|(folder, _)| folder)
            .ok_or(io::ErrorKind::NotFound)?;
        let sid = self.profile.sid_of_home(folder).ok_or(io::ErrorKind::NotFound)?;
        if self.profile.has_loaded_hive(&sid, self.now) || self.loaded.values().any(|loaded| *loaded == sid) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(sid)
    }

    /// The key with a hive's own name instead of the one that it was loaded under. Hives that are not there are errors.
    fn resolve(&self, key: &RegistryKey) -> io::Result<RegistryKey> {
        if key.hive == Hive::LocalMachine {
            return Ok(key.clone());
        }
        let (name, rest) = key.path.split_once('\\').unwrap_or((&key.path, ""));
        let loaded = self
            .loaded
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let sid = match loaded {
            Some((_, sid)) => sid.clone(),
            None if self.profile.has_loaded_hive(name, self.now) => name.to_owned(),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let parts = [sid.as_str(), rest];
        let path: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Ok(RegistryKey {
            path: path.join("\\"),
            ..key.clone()
        })
    }
}

impl Written {
    fn of(state: &VirtualState) -> Self {
        let text = state
            .extra
            .as_ref()
            .and_then(|files| files.get(Path::new(WRITTEN)));
        text.and_then(|text| serde_json::from_slice(text.as_deref()?).ok())
            .unwrap_or_default()
    }

    fn store(&self, state: &mut VirtualState) -> io::Result<()> {
        if self.0.is_empty() {
            state.forget_extra(Path::new(WRITTEN));
            return Ok(());
        }
        let text = serde_json::to_vec(self)?;
        state.put_extra(Path::new(WRITTEN), Some(text.into()));
        Ok(())
    }

    /// Whether there is something at or below a key.
    fn has(&self, key: &RegistryKey) -> bool {
        self.0.contains_key(&id(key)) || !self.names_below(key).is_empty()
    }

    /// Names of the keys directly below one.
    fn names_below(&self, key: &RegistryKey) -> Vec<String> {
        let above = format!("{}\\", id(key));
        let below = self
            .0
            .range(above.clone()..)
            .take_while(|(id, _)| id.starts_with(&above));
        let mut names: Vec<String> = Vec::new();
        for (_, changed) in below {
            let name = changed
                .path
                .get(key.path.len() + 1..)
                .and_then(|rest| rest.split('\\').next());
            if let Some(name) =
                name.filter(|name| !names.iter().any(|known| known.eq_ignore_ascii_case(name)))
            {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Takes note of a key that only keys below it have shown so far.
    fn keep(&mut self, registry: &Registry<'_>, key: &RegistryKey) {
        let is_generated = windows::registry_values(registry.profile, key, registry.now).is_ok()
            || windows::registry_subkeys(registry.profile, key).is_ok();
        if !is_generated {
            let kept = self.0.entry(id(key)).or_default();
            kept.path.clone_from(&key.path);
        }
    }
}

/// Keys are the same whatever the case of their letters.
fn id(key: &RegistryKey) -> String {
    let hive = match (key.hive, key.view) {
        (Hive::LocalMachine, RegistryView::Native) => "hklm",
        (Hive::LocalMachine, RegistryView::Wow32) => "hklm32",
        // Users' hives have no redirection.
        (Hive::Users, _) => "hku",
    };
    format!("{hive}\\{}", key.path.to_lowercase())
}
