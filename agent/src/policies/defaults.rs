//! Policies of the module `DEFAULTS`: settings of programs on macOS, the computer's or a user's.

use super::PolicyError;
use super::key::SettingTarget;
use super::settings::Settings;
use crate::host::{Host, HostError, PreferenceDomain, PreferenceValue};
use crate::inventory::macos::users;
use oco_protocol::policy::MACHINE_SCOPE;
use serde_json::Value;
use std::collections::BTreeSet;

/// Lists and objects within each other, at most. The system's own tools give up not far behind.
const MOST_DEPTH: usize = 64;

/// A value that settings cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("settings have no null: expected a text, a number, true, false, a list or an object")]
    Null,
    #[error("the number is out of bounds: expected one of 64 bits")]
    Number,
    #[error("a text has a character that property lists cannot have: U+{0:04X}")]
    Character(u32),
    #[error("more than {MOST_DEPTH} lists and objects are within each other")]
    Depth,
    #[error("for users, a domain is expected and no path")]
    Path,
}

/// The settings of a scope; none if it is a user's who has no account here.
pub(super) fn open<'a>(host: &'a dyn Host, scope: &str) -> Result<Option<Box<dyn Settings + 'a>>, HostError> {
    let user = if scope == MACHINE_SCOPE {
        None
    } else {
        match user_id(host, scope)? {
            None => return Ok(None),
            user => user,
        }
    };
    Ok(Some(Box::new(Domains { host, user })))
}

fn user_id(host: &dyn Host, guid: &str) -> Result<Option<u32>, HostError> {
    users::uid_of(host, guid)
        .map_err(|error| HostError::new("find the account", guid, std::io::Error::other(error)))
}

/// The domains of a scope.
struct Domains<'a> {
    host: &'a dyn Host,
    user: Option<u32>,
}

impl Settings for Domains<'_> {
    fn change(
        &self,
        target: &SettingTarget,
        before: Option<&Value>,
        wanted: Option<&Value>,
        _created: &mut BTreeSet<String>,
    ) -> Result<(), PolicyError> {
        if self.user.is_some() && target.path.contains('/') {
            return Err(ValueError::Path.into());
        }
        let domain = PreferenceDomain {
            user: self.user,
            name: target.path.clone(),
        };
        let Some(wanted) = wanted else {
            // What settings cannot hold was never written.
            return match before.map(setting) {
                Some(Ok(_)) => Ok(self.host.remove_preference(&domain, &target.name)?),
                _ => Ok(()),
            };
        };
        let wanted = setting(wanted)?;
        // Programs that watch their settings are not woken up for nothing.
        let present = self.host.preferences(&domain).unwrap_or_default();
        if present.get(&target.name) != Some(&wanted) {
            self.host.set_preference(&domain, &target.name, &wanted)?;
        }
        Ok(())
    }
}

/// What a policy's value is in a property list.
fn setting(value: &Value) -> Result<PreferenceValue, ValueError> {
    setting_within(value, MOST_DEPTH)
}

fn setting_within(value: &Value, depth: usize) -> Result<PreferenceValue, ValueError> {
    let inner = || depth.checked_sub(1).ok_or(ValueError::Depth);
    Ok(match value {
        Value::Null => return Err(ValueError::Null),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number_setting(number)?,
        Value::String(text) => checked(text)?.into(),
        Value::Array(items) => {
            let depth = inner()?;
            let items = items.iter().map(|item| setting_within(item, depth));
            PreferenceValue::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let depth = inner()?;
            let members = members
                .iter()
                .map(|(name, member)| Ok((checked(name)?, setting_within(member, depth)?)));
            PreferenceValue::Dictionary(members.collect::<Result<_, _>>()?)
        }
    })
}

fn number_setting(number: &serde_json::Number) -> Result<PreferenceValue, ValueError> {
    if let Some(number) = number.as_i64() {
        return Ok(number.into());
    }
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(number) if number.is_finite() => Ok(number.into()),
        // The system's numbers have a sign.
        _ => Err(ValueError::Number),
    }
}

/// A text that XML can have.
fn checked(text: &str) -> Result<String, ValueError> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    match text.chars().find(|c| !allowed(*c)) {
        Some(character) => Err(ValueError::Character(character.into())),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
