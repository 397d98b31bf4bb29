//! Policies of the module `REGISTRY`: values of the computer's registry, or of a user's.

use super::PolicyError;
use super::key::SettingTarget;
use super::settings::Settings;
use crate::errors::with_causes;
use crate::host::{Hive, Host, HostError, LOADED_HIVE, RegistryKey, RegistryValue, RegistryView};
use crate::inventory::windows::registry::text;
use oco_protocol::policy::MACHINE_SCOPE;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where Windows keeps who has a profile.
const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
/// Where it says in which folder it is.
const WINDOWS: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";

/// A value that the registry cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("the number is out of bounds: expected 0 to 4294967295")]
    Number,
    #[error(
        "the value is of no kind that the registry has: expected a whole number, a text, a list or an object of them"
    )]
    Kind,
    #[error("a list or an object needs a name for its key")]
    Unnamed,
}

/// The registry of a scope; none if it is a user's who has no profile here.
pub(super) fn open<'a>(host: &'a dyn Host, scope: &str) -> Result<Option<Box<dyn Settings + 'a>>, HostError> {
    let root = if scope == MACHINE_SCOPE {
        Some(Root::machine(host))
    } else {
        Root::of_user(host, scope)?
    };
    Ok(root.map(|root| Box::new(root) as Box<dyn Settings>))
}

/// One value, and the key that it is in.
type Entry = (String, String);

/// What a policy's value means: values in keys below the scope's root.
fn entries(target: &SettingTarget, value: &Value) -> Result<BTreeMap<Entry, RegistryValue>, ValueError> {
    let below = |name: String, value: &Value| {
        if target.name.is_empty() {
            return Err(ValueError::Unnamed);
        }
        Ok((
            (format!("{}\\{}", target.path, target.name), name),
            scalar(value)?,
        ))
    };
    match value {
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered
                .map(|(index, item)| below((index + 1).to_string(), item))
                .collect()
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| below(name.clone(), member))
            .collect(),
        value => Ok([((target.path.clone(), target.name.clone()), scalar(value)?)].into()),
    }
}

fn scalar(value: &Value) -> Result<RegistryValue, ValueError> {
    match value {
        Value::String(text) => Ok(RegistryValue::Text(text.clone())),
        Value::Bool(flag) => Ok(RegistryValue::Dword(u32::from(*flag))),
        Value::Number(number) if number.is_f64() => Err(ValueError::Kind),
        Value::Number(number) => {
            let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
            Ok(RegistryValue::Dword(number.ok_or(ValueError::Number)?))
        }
        _ => Err(ValueError::Kind),
    }
}

/// The part of the registry that belongs to a scope.
struct Root<'a> {
    host: &'a dyn Host,
    hive: Hive,
    /// Below the hive; empty for the hive itself.
    path: String,
    /// The name under which a hive was loaded for this.
    loaded: Option<String>,
}

impl<'a> Root<'a> {
    fn machine(host: &'a dyn Host) -> Self {
        Self {
            host,
            hive: Hive::LocalMachine,
            path: String::new(),
            loaded: None,
        }
    }

    /// A user's registry, loaded where he is not logged on; none where he has no profile.
    fn of_user(host: &'a dyn Host, guid: &str) -> Result<Option<Self>, HostError> {
        let Some((sid, folder)) = profile(host, guid)? else {
            return Ok(None);
        };
        let mut root = Self {
            host,
            hive: Hive::Users,
            path: sid.clone(),
            loaded: None,
        };
        match host.registry_subkeys(&root.key("")) {
            Ok(_) => return Ok(Some(root)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        // Not under its own name, which the system gives it as soon as the user logs on.
        root.path = format!("{LOADED_HIVE}{sid}");
        let file = folder.map(|folder| folder.join("NTUSER.DAT"));
        let file = file.ok_or_else(|| HostError::not_found("find", format_args!("the profile of {sid}")))?;
        host.load_registry_hive(&root.path, &file)?;
        root.loaded = Some(root.path.clone());
        Ok(Some(root))
    }

    fn key(&self, path: &str) -> RegistryKey {
        let path = [self.path.as_str(), path]
            .into_iter()
            .filter(|part| !part.is_empty());
        RegistryKey {
            hive: self.hive,
            view: RegistryView::Native,
            path: path.collect::<Vec<_>>().join("\\"),
        }
    }

    /// Takes note of the keys on the way to `path` that do not exist yet.
    fn note_missing(&self, path: &str, created: &mut BTreeSet<String>) {
        for path in ancestors(path) {
            match self.host.registry_values(&self.key(path)) {
                Err(error) if error.is_not_found() => created.insert(path.to_owned()),
                _ => return,
            };
        }
    }

    /// Removes keys that policies have made and that nothing is in any more.
    fn remove_created(&self, path: &str, created: &mut BTreeSet<String>) -> Result<(), HostError> {
        for path in ancestors(path) {
            let known = created
                .iter()
                .find(|known| known.eq_ignore_ascii_case(path))
                .cloned();
            let Some(known) = known else { break };
            if !self.host.remove_empty_registry_key(&self.key(path))? {
                break;
            }
            created.remove(&known);
        }
        Ok(())
    }
}

impl Settings for Root<'_> {
    fn change(
        &self,
        target: &SettingTarget,
        before: Option<&Value>,
        wanted: Option<&Value>,
        created: &mut BTreeSet<String>,
    ) -> Result<(), PolicyError> {
        let wanted = match wanted {
            Some(value) => entries(target, value)?,
            None => BTreeMap::new(),
        };
        // What cannot be understood now was never written.
        let before = before
            .and_then(|value| entries(target, value).ok())
            .unwrap_or_default();
        let same = |a: &Entry, b: &Entry| a.0.eq_ignore_ascii_case(&b.0) && a.1.eq_ignore_ascii_case(&b.1);
        for gone in before
            .keys()
            .filter(|old| !wanted.keys().any(|new| same(old, new)))
        {
            self.host.remove_registry_value(&self.key(&gone.0), &gone.1)?;
            self.remove_created(&gone.0, created)?;
        }
        for ((path, name), value) in &wanted {
            self.note_missing(path, created);
            let key = self.key(path);
            let present = self.host.registry_values(&key).unwrap_or_default();
            // Programs that watch the key are not woken up for nothing.
            if present.get(name) != Some(value) {
                self.host.set_registry_value(&key, name, value)?;
            }
        }
        Ok(())
    }
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.loaded.take()
            && let Err(error) = self.host.unload_registry_hive(&name)
        {
            tracing::error!(error = %with_causes(&error), "a user may not be able to log on until the next start");
        }
    }
}

/// A key's path and those above it, from the innermost.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        path.rsplit_once('\\').map(|(parent, _)| parent)
    })
}

/// The security id of the user with this GUID, and the folder of his profile.
fn profile(host: &dyn Host, guid: &str) -> Result<Option<(String, Option<PathBuf>)>, HostError> {
    let bare = |guid: &str| guid.trim_matches(['{', '}']).to_ascii_lowercase();
    let profiles = RegistryKey::machine(PROFILES);
    for sid in host.registry_subkeys(&profiles)? {
        let Ok(values) = host.registry_values(&profiles.subkey(&sid)) else {
            continue;
        };
        if text(&values, "Guid").is_some_and(|known| bare(&known) == bare(guid)) {
            let folder = text(&values, "ProfileImagePath");
            return Ok(Some((sid, folder.map(|folder| expand(host, &folder)))));
        }
    }
    Ok(None)
}

/// A profile's folder, which may begin with the system's drive or folder.
fn expand(host: &dyn Host, folder: &str) -> PathBuf {
    let values = host
        .registry_values(&RegistryKey::machine(WINDOWS))
        .unwrap_or_default();
    let root = text(&values, "SystemRoot").unwrap_or_else(|| r"C:\Windows".to_owned());
    let drive = root.get(..2).unwrap_or("C:");
    for (variable, value) in [("%systemdrive%", drive), ("%systemroot%", root.as_str())] {
        if let Some(rest) = folder
            .get(..variable.len())
            .filter(|start| start.eq_ignore_ascii_case(variable))
            .and_then(|_| folder.get(variable.len()..))
        {
            return PathBuf::from(format!("{value}{rest}"));
        }
    }
    Path::new(folder).to_owned()
}

#[cfg(test)]
mod tests;
