//! The settings of programs on a virtual Mac: the computer's, and those of its users. It is generated without any, so there
//! is what was written.

use super::state::VirtualState;
use crate::generate::Profile;
use oco_agent::host::{PreferenceDomain, PreferenceValue, Preferences};
use std::io;
use std::path::Path;

/// The file that a state keeps them in. No machine has one of that name.
const WRITTEN: &str = "preferences";
/// Where the settings of the computer are.
const COMPUTER: &str = "/Library/Preferences";
/// The domain of all programs, as people call it, and its file's name.
const GLOBAL: [&str; 2] = ["NSGlobalDomain", ".GlobalPreferences"];

/// The settings of a domain; none where there is no such domain.
pub(super) fn of_domain(
    profile: &Profile,
    state: &VirtualState,
    domain: &PreferenceDomain,
) -> io::Result<Preferences> {
    let id = id(profile, domain)?;
    Ok(settings(&written(state)?, &id))
}

/// Sets one of a domain's settings.
pub(super) fn set(
    profile: &Profile,
    state: &mut VirtualState,
    domain: &PreferenceDomain,
    key: &str,
    value: &PreferenceValue,
) -> io::Result<()> {
    let id = id(profile, domain)?;
    let mut domains = written(state)?;
    let mut settings = settings(&domains, &id);
    settings.insert(key.to_owned(), value.clone());
    domains.insert(id, settings.into());
    store(domains, state)
}

/// Removes one of a domain's settings; one that is not there is no error.
pub(super) fn remove(
    profile: &Profile,
    state: &mut VirtualState,
    domain: &PreferenceDomain,
    key: &str,
) -> io::Result<()> {
    let id = id(profile, domain)?;
    let mut domains = written(state)?;
    let mut settings = settings(&domains, &id);
    if settings.remove(key).is_none() {
        return Ok(());
    }
    if settings.is_empty() {
        domains.remove(&id);
    } else {
        domains.insert(id, settings.into());
    }
    store(domains, state)
}

/// What tells domains apart: the file of a computer's, the user and the name of a user's. There is no user without an
/// account.
fn id(profile: &Profile, domain: &PreferenceDomain) -> io::Result<String> {
    let name = if domain.name == GLOBAL[0] {
        GLOBAL[1]
    } else {
        &domain.name
    };
    match domain.user {
        None if name.starts_with('/') => Ok(name.strip_suffix(".plist").unwrap_or(name).to_owned()),
        None => Ok(format!("{COMPUTER}/{name}")),
        Some(uid) if profile.accounts().iter().any(|account| account.number == uid) => {
            Ok(format!("{uid}/{name}"))
        }
        Some(_) => Err(io::ErrorKind::NotFound.into()),
    }
}

fn settings(domains: &Preferences, id: &str) -> Preferences {
    let known = domains.get(id).and_then(PreferenceValue::as_dictionary);
    known.cloned().unwrap_or_default()
}

/// All domains that were written, by their [`id`].
fn written(state: &VirtualState) -> io::Result<Preferences> {
    let files = state.extra.as_ref();
    let Some(content) = files.and_then(|files| files.get(Path::new(WRITTEN))?.as_deref()) else {
        return Ok(Preferences::new());
    };
    plist::from_bytes(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// As a property list, in which every value keeps its type.
fn store(domains: Preferences, state: &mut VirtualState) -> io::Result<()> {
    if domains.is_empty() {
        state.forget_extra(Path::new(WRITTEN));
        return Ok(());
    }
    let mut content = Vec::new();
    plist::to_writer_binary(&mut content, &PreferenceValue::from(domains)).map_err(io::Error::other)?;
    state.put_extra(Path::new(WRITTEN), Some(content.into()));
    Ok(())
}
