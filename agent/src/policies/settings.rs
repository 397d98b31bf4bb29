//! Policies of scopes: what the registry of Windows and the settings of macOS have in common.

use super::key::{PolicyKey, SettingTarget};
use super::{Applied, Change, PolicyError, Summary, decide, defaults, registry};
use crate::errors::with_causes;
use crate::host::{Host, Os};
use oco_protocol::policy::{MACHINE_SCOPE, Policies, ScopePolicies};
use serde_json::Value;
use std::collections::BTreeSet;

/// The registry or the settings of one scope.
pub(super) trait Settings {
    /// Brings a policy from what was applied to what is wanted; `created` are the keys that policies have made.
    fn change(
        &self,
        target: &SettingTarget,
        before: Option<&Value>,
        wanted: Option<&Value>,
        created: &mut BTreeSet<String>,
    ) -> Result<(), PolicyError>;
}

/// The changes of one scope.
#[derive(Debug, Default)]
pub(super) struct ScopeChanges {
    scope: String,
    changes: Vec<(SettingTarget, Change)>,
}

impl ScopeChanges {
    /// Those of the computer.
    pub(super) fn machine(changes: Vec<(SettingTarget, Change)>) -> Self {
        Self {
            scope: MACHINE_SCOPE.to_owned(),
            changes,
        }
    }
}

/// The changes for users, whose policies are in the registry or the settings only.
pub(super) fn of_users(
    stored: &Applied,
    answer: &Policies,
    known: bool,
    os: Os,
    summary: &mut Summary,
) -> Vec<ScopeChanges> {
    let sent = answer.0.keys().filter(|scope| *scope != MACHINE_SCOPE);
    let scopes: BTreeSet<&String> = sent.chain(stored.others.keys()).collect();
    let none = ScopePolicies::new();
    scopes
        .into_iter()
        .map(|scope| {
            let wanted = answer.0.get(scope).unwrap_or(&none);
            let mut changes = Vec::new();
            for change in decide(&stored.scope(scope), wanted, known) {
                let (Change::Remove { key } | Change::Set { key, .. }) = &change;
                match PolicyKey::parse(key, os) {
                    Ok(PolicyKey::Setting(target)) => changes.push((target, change)),
                    Ok(_) => {
                        tracing::info!(policy = %key, "for users, only policies of the registry and of settings are followed");
                    }
                    Err(error) => {
                        tracing::error!(policy = %key, %error, "a policy is not followed");
                        summary.failed += 1;
                    }
                }
            }
            ScopeChanges {
                scope: scope.clone(),
                changes,
            }
        })
        .filter(|scope| !scope.changes.is_empty())
        .collect()
}

/// Notes what may be there soon, in addition to what was applied.
pub(super) fn announce(scope: &ScopeChanges, ahead: &mut Applied) {
    let applied = ahead.scope(&scope.scope);
    for (_, change) in &scope.changes {
        if let Change::Set { key, value } = change {
            let value = match applied.get(key) {
                Some(before) => covering(before, value),
                None => value.clone(),
            };
            ahead.note(&scope.scope, key, Some(value));
        }
    }
}

/// A value that has all entries of both, where they are of one kind.
pub(super) fn covering(before: &Value, next: &Value) -> Value {
    match (before, next) {
        (Value::Array(a), Value::Array(b)) if a.len() > b.len() => before.clone(),
        (Value::Object(a), Value::Object(b)) => {
            let both = a
                .iter()
                .chain(b)
                .map(|(name, value)| (name.clone(), value.clone()));
            Value::Object(both.collect())
        }
        _ => next.clone(),
    }
}

/// Follows a scope's changes. One that cannot be followed costs itself only.
pub(super) fn follow(
    host: &dyn Host,
    scope: &ScopeChanges,
    stored: &Applied,
    next: &mut Applied,
    summary: &mut Summary,
) {
    if scope.changes.is_empty() {
        return;
    }
    let opened = match host.os() {
        Os::MacOs => defaults::open(host, &scope.scope),
        _ => registry::open(host, &scope.scope),
    };
    let settings = match opened {
        Ok(Some(settings)) => settings,
        Ok(None) => return forget_user(scope, next),
        Err(error) => {
            tracing::error!(scope = %scope.scope, policies = scope.changes.len(), error = %with_causes(&error), "policies are not followed");
            summary.failed += scope.changes.len();
            return;
        }
    };
    let applied = stored.scope(&scope.scope);
    // Only the registry has such keys.
    let created = format!("REGISTRY:{}", scope.scope);
    let mut keys = next.notes.created.remove(&created).unwrap_or_default();
    for (target, change) in &scope.changes {
        let (Change::Remove { key } | Change::Set { key, .. }) = change;
        let value = match change {
            Change::Set { value, .. } => Some(value),
            Change::Remove { .. } => None,
        };
        match settings.change(target, applied.get(key), value, &mut keys) {
            Ok(()) => {
                next.note(&scope.scope, key, value.cloned());
                match value {
                    Some(_) => summary.in_force += 1,
                    None => summary.removed += 1,
                }
            }
            Err(error) => {
                tracing::error!(policy = %key, scope = %scope.scope, error = %with_causes(&error), "a policy is not followed");
                summary.failed += 1;
            }
        }
    }
    if !keys.is_empty() {
        next.notes.created.insert(created, keys);
    }
}

/// A user who is not known here has neither a registry nor settings.
fn forget_user(scope: &ScopeChanges, next: &mut Applied) {
    tracing::info!(scope = %scope.scope, policies = scope.changes.len(), "policies for a user who is not known on this computer");
    for (_, change) in &scope.changes {
        if let Change::Remove { key } = change {
            next.note(&scope.scope, key, None);
        }
    }
}
