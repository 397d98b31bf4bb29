//! Policies: what the server wants in files, the registry and the settings of this computer, and its removal once it wants
//! that no longer.
//!
//! What was applied is kept in a file of its own, written before the files it is about, so that nothing that was
//! applied is ever forgotten. [`decide`] says what has to change; [`apply`] does it.

mod defaults;
mod json;
mod key;
mod registry;
mod settings;

use crate::errors::with_causes;
use crate::host::{Host, HostError, Os, Visibility};
use json::{Document, EditError};
use key::{JsonTarget, PolicyKey, SettingTarget};
use oco_protocol::policy::{MACHINE_SCOPE, Policies, ScopePolicies};
use oco_protocol::{Key, lenient, signature};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::ScopeChanges;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Digits of a registration's mark.
const MARK_LENGTH: usize = 16;

/// What was applied on this computer, as it is kept between check-ins. The scopes are in the form in which the server
/// sends them, as existing agents keep them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Policies for the computer.
    #[serde(deserialize_with = "lenient::empty_list_as_default")]
    machine: ScopePolicies,
    /// What only this agent keeps.
    #[serde(rename = "oco-agent")]
    notes: Notes,
    /// Policies for users, which existing agents on other systems keep.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    /// Mark of the registration under which the last answer came.
    registration: String,
    /// Objects that did not exist before a policy needed them, by file: their paths. The empty one is the file's own.
    created: BTreeMap<String, BTreeSet<String>>,
}

impl Applied {
    /// The policies of a scope.
    fn scope(&self, scope: &str) -> ScopePolicies {
        if scope == MACHINE_SCOPE {
            return self.machine.clone();
        }
        let policies = self.others.get(scope).and_then(Value::as_object);
        policies
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Takes note of what a policy of a scope says now; none: it is not in force any more.
    fn note(&mut self, scope: &str, key: &str, value: Option<Value>) {
        let mut policies = self.scope(scope);
        match value {
            Some(value) => policies.insert(key.to_owned(), value),
            None => policies.remove(key),
        };
        if scope == MACHINE_SCOPE {
            self.machine = policies;
        } else if policies.is_empty() {
            self.others.remove(scope);
        } else {
            self.others
                .insert(scope.to_owned(), Value::Object(policies.into_iter().collect()));
        }
    }
}

/// One thing to do about a policy.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The server does not want it any longer.
    Remove {
        /// The policy's key.
        key: String,
    },
    /// The server wants it.
    Set {
        /// The policy's key.
        key: String,
        /// What it says.
        value: Value,
    },
}

/// A policy that cannot be followed.
#[derive(Debug, thiserror::Error)]
enum PolicyError {
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("the file is not UTF-8 text")]
    NotText,
    #[error(transparent)]
    Registry(#[from] registry::ValueError),
    #[error(transparent)]
    Defaults(#[from] defaults::ValueError),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What was done, in numbers of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// In force as the server wants them.
    pub in_force: usize,
    /// Removed.
    pub removed: usize,
    /// Could not be followed or removed.
    pub failed: usize,
}

/// Tells registrations apart without telling their keys.
pub fn registration_mark(agent_key: &Key) -> String {
    let mut mark = signature::sign(agent_key, b"registration that policies were applied under");
    mark.truncate(MARK_LENGTH);
    mark
}

/// Decides what to do about an answer. Removals come first, so that a policy may take the place of another one.
///
/// What the server no longer sends is removed only if it has answered under this registration before (`known`): its
/// first answer to a new computer never has policies, whatever there is.
pub fn decide(applied: &ScopePolicies, sent: &ScopePolicies, known: bool) -> Vec<Change> {
    let gone = applied.keys().filter(|key| known && !sent.contains_key(*key));
    let removals = gone.map(|key| Change::Remove { key: key.clone() });
    let wanted = sent.iter().map(|(key, value)| Change::Set {
        key: key.clone(),
        value: value.clone(),
    });
    removals.chain(wanted).collect()
}

/// Follows an answer's policies; `state` is the file that remembers what was applied. A policy that cannot be followed
/// costs itself only.
pub fn apply(
    host: &dyn Host,
    state: &Path,
    registration: &str,
    answer: &Policies,
) -> Result<Summary, HostError> {
    let stored = load(host, state)?;
    let sent = wanted(answer, host.os());
    let known = stored.notes.registration == registration;
    let changes = decide(&stored.machine, &sent, known);
    let (files, machine, mut summary) = by_file(changes, host.os());
    let mut scopes = vec![ScopeChanges::machine(machine)];
    if has_settings(host.os()) {
        scopes.extend(settings::of_users(
            &stored,
            answer,
            known,
            host.os(),
            &mut summary,
        ));
    }
    let mut next = stored.clone();
    registration.clone_into(&mut next.notes.registration);
    let edits: Vec<Edit> = files
        .into_iter()
        .filter_map(|(path, changes)| edit(host, path, changes, &mut next, &mut summary))
        .collect();
    // First everything that will have been applied, also what is about to be removed.
    let mut ahead = next.clone();
    for (key, value) in &stored.machine {
        ahead.machine.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for (file, objects) in &stored.notes.created {
        let known = ahead.notes.created.entry(file.clone()).or_default();
        known.extend(objects.iter().cloned());
    }
    for scope in &scopes {
        settings::announce(scope, &mut ahead);
    }
    store(host, state, &stored, &ahead)?;
    for edit in edits {
        if let Err(error) = edit.write(host) {
            tracing::error!(error = %with_causes(&error), "policies cannot be written");
            edit.undo(&stored, &mut next, &mut summary);
        }
    }
    for scope in &scopes {
        settings::follow(host, scope, &stored, &mut next, &mut summary);
    }
    store(host, state, &ahead, &next)?;
    Ok(summary)
}

/// Whether a system has something that each user has his own of: the registry, or settings.
fn has_settings(os: Os) -> bool {
    matches!(os, Os::Windows | Os::MacOs)
}

/// The policies that are for this computer. Those of users are for other systems.
fn wanted(answer: &Policies, os: Os) -> ScopePolicies {
    let others = answer
        .0
        .iter()
        .filter(|(scope, policies)| *scope != MACHINE_SCOPE && !policies.is_empty());
    let others: usize = others.map(|(_, policies)| policies.len()).sum();
    if others > 0 && !has_settings(os) {
        tracing::info!(policies = others, system = %os, "policies for users are not for this system");
    }
    answer.0.get(MACHINE_SCOPE).cloned().unwrap_or_default()
}

/// Changes of one file, with where they belong.
type FileChanges = Vec<(JsonTarget, Change)>;

/// Changes of the registry or of settings, with where they belong.
type SettingChanges = Vec<(SettingTarget, Change)>;

/// Sorts changes by file, and those of the registry or of settings. Keys that make no sense are left out.
fn by_file(changes: Vec<Change>, os: Os) -> (BTreeMap<String, FileChanges>, SettingChanges, Summary) {
    let mut settings = SettingChanges::new();
    let mut files: BTreeMap<String, FileChanges> = BTreeMap::new();
    let mut summary = Summary::default();
    let mut others = 0_usize;
    for change in changes {
        let (Change::Remove { key } | Change::Set { key, .. }) = &change;
        match PolicyKey::parse(key, os) {
            Ok(PolicyKey::Json(target)) => files
                .entry(target.path.clone())
                .or_default()
                .push((target, change)),
            Ok(PolicyKey::Setting(target)) => settings.push((target, change)),
            Ok(PolicyKey::OtherSystem) => others += 1,
            Err(error) => {
                tracing::error!(policy = %key, %error, "a policy is not followed");
                summary.failed += 1;
            }
        }
    }
    if others > 0 {
        tracing::info!(policies = others, system = %os, "policies for other systems are not followed");
    }
    (files, settings, summary)
}

/// A file with its changes, worked out but not written.
struct Edit {
    path: String,
    /// Its new content; none: it is removed.
    content: Option<String>,
    set: usize,
    /// Keys that were to be set or removed.
    keys: Vec<String>,
    removed: usize,
}

/// Works out a file's changes and takes note of them in `next`. None if there is nothing to write.
fn edit(
    host: &dyn Host,
    path: String,
    changes: FileChanges,
    next: &mut Applied,
    summary: &mut Summary,
) -> Option<Edit> {
    let before = match read(host, Path::new(&path)) {
        Ok(before) => before,
        Err(error) => {
            tracing::error!(file = %path, policies = changes.len(), error = %with_causes(&error), "policies are not followed");
            summary.failed += changes.len();
            return None;
        }
    };
    let mut document = match Document::parse(before.as_deref().unwrap_or_default()) {
        Ok(document) => document,
        Err(error) => {
            tracing::error!(file = %path, policies = changes.len(), error = %with_causes(&error), "policies are not followed");
            summary.failed += changes.len();
            return None;
        }
    };
    let mut edit = Edit {
        path,
        content: None,
        set: 0,
        keys: Vec::new(),
        removed: 0,
    };
    let mut created = next.notes.created.remove(&edit.path).unwrap_or_default();
    for (target, change) in changes {
        match change {
            Change::Remove { key } => {
                document.remove(&target.members, |object| created.contains(&object.join("\\")));
                next.machine.remove(&key);
                edit.removed += 1;
                edit.keys.push(key);
            }
            Change::Set { key, value } => match document.set(&target.members, &value) {
                Ok(objects) => {
                    created.extend(objects.iter().map(|object| object.join("\\")));
                    next.machine.insert(key.clone(), value);
                    edit.set += 1;
                    edit.keys.push(key);
                }
                Err(error) => {
                    tracing::error!(policy = %key, error = %with_causes(&error), "a policy is not followed");
                    summary.failed += 1;
                }
            },
        }
    }
    if edit.keys.is_empty() {
        // Nothing of it could be done: the file stays to the letter, whatever an editor would make of it.
        if !created.is_empty() {
            next.notes.created.insert(edit.path, created);
        }
        return None;
    }
    if before.is_none() && edit.set > 0 {
        created.insert(String::new());
    }
    summary.in_force += edit.set;
    summary.removed += edit.removed;
    let ours = created.contains("");
    let rest = next.machine.keys().any(|key| {
        matches!(PolicyKey::parse(key, host.os()), Ok(PolicyKey::Json(target)) if target.path == edit.path)
    });
    let obsolete = document.is_empty() && !rest;
    if rest && !created.is_empty() {
        next.notes.created.insert(edit.path.clone(), created);
    }
    edit.content = match before {
        None if obsolete => return None,
        Some(_) if obsolete && ours => None,
        Some(before) if document.content() == before => return None,
        _ => Some(document.content()),
    };
    Some(edit)
}

/// A file's content; none if there is no such file.
fn read(host: &dyn Host, path: &Path) -> Result<Option<String>, PolicyError> {
    let content = host.read_guarded(path)?.map(String::from_utf8);
    content.transpose().map_err(|_| PolicyError::NotText)
}

impl Edit {
    fn write(&self, host: &dyn Host) -> Result<(), HostError> {
        let path = Path::new(&self.path);
        match &self.content {
            Some(content) => host.replace_guarded(path, content.as_bytes()),
            None => host.remove_guarded(path),
        }
    }

    /// Takes back what was noted of changes that did not happen.
    fn undo(&self, stored: &Applied, next: &mut Applied, summary: &mut Summary) {
        for key in &self.keys {
            match stored.machine.get(key) {
                Some(value) => next.machine.insert(key.clone(), value.clone()),
                None => next.machine.remove(key),
            };
        }
        match stored.notes.created.get(&self.path) {
            Some(objects) => next.notes.created.insert(self.path.clone(), objects.clone()),
            None => next.notes.created.remove(&self.path),
        };
        summary.in_force -= self.set;
        summary.removed -= self.removed;
        summary.failed += self.keys.len();
    }
}

/// What was applied. A damaged file counts as nothing: then nothing is removed.
fn load(host: &dyn Host, state: &Path) -> Result<Applied, HostError> {
    let content = match host.read_file(state) {
        Ok(content) => content,
        Err(error) if error.is_not_found() => return Ok(Applied::default()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&content).unwrap_or_else(|error| {
        tracing::warn!(%error, file = %state.display(), "damaged: policies applied so far are not removed any more");
        Applied::default()
    }))
}

/// Writes what was applied if that is something else than before. Computers that never had policies have no such file.
fn store(host: &dyn Host, state: &Path, before: &Applied, next: &Applied) -> Result<(), HostError> {
    let nothing = |applied: &Applied| {
        applied.machine.is_empty() && applied.notes.created.is_empty() && applied.others.is_empty()
    };
    if before == next || nothing(before) && nothing(next) {
        return Ok(());
    }
    let content = serde_json::to_vec(next)
        .map_err(|error| HostError::new("write", state.display(), io::Error::other(error)))?;
    host.write_file(state, &content, Visibility::Private)
}

#[cfg(test)]
mod tests;
