//! The registries of users who are not logged on: loaded from their files, and unloaded, as a user whose file is in use cannot
//! log on to his profile.

use super::privilege::Privilege;
use super::registry::subkeys;
use super::text::{check, wide};
use crate::errors::with_causes;
use crate::host::{Hive, HostError, LOADED_HIVE, RegistryKey, RegistryView, Result};
use std::io;
use std::path::Path;
use std::time::Duration;
use windows::Win32::Foundation::ERROR_ACCESS_DENIED;
use windows::Win32::System::Registry::{HKEY_USERS, RegLoadKeyW, RegUnLoadKeyW};
use windows::core::PCWSTR;

/// How often, and after which pause each time, an unload is tried again: it fails as long as anybody has a key of it open, as
/// virus scanners and searches have for moments.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// Loads a user's hive below `HKEY_USERS`, as happens when he logs on. One of that name that is there is unloaded before, as an
/// earlier unload has failed.
pub(super) fn load(name: &str, file: &Path) -> Result<()> {
    if loaded()?.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        unload(name)?;
    }
    let load = || {
        let _privileges = Privilege::enable_all(&Privilege::HIVES)?;
        let (name, file) = (wide(name)?, wide(file)?);
        // SAFETY: both texts have their end mark and live until the function returns.
        check(unsafe { RegLoadKeyW(HKEY_USERS, PCWSTR(name.as_ptr()), PCWSTR(file.as_ptr())) }.0)
    };
    load().map_err(|error| HostError::new("load registry hive", file.display(), error))
}

/// Unloads it again.
pub(super) fn unload(name: &str) -> Result<()> {
    let unload = || {
        let name = wide(name)?;
        let in_use = ERROR_ACCESS_DENIED.0.cast_signed();
        let unload_now = || {
            let _privileges = Privilege::enable_all(&Privilege::HIVES)?;
            // SAFETY: the text has its end mark and lives until the function returns.
            check(unsafe { RegUnLoadKeyW(HKEY_USERS, PCWSTR(name.as_ptr())) }.0)
        };
        for _ in 0..TRIES {
            match unload_now() {
                Err(error) if error.raw_os_error() == Some(in_use) => std::thread::park_timeout(PAUSE),
                unloaded => return unloaded,
            }
        }
        Err(io::Error::from_raw_os_error(in_use))
    };
    unload().map_err(|error| HostError::new("unload registry hive", name, error))
}

/// Unloads what agents have left that were killed. What cannot be unloaded is left, and the log says why.
pub(super) fn unload_leftovers() {
    let unload_all = || {
        for name in loaded()? {
            unload(&name)?;
            tracing::info!(hive = %name, "unloaded what an earlier agent had loaded");
        }
        Ok(())
    };
    let unloaded: Result<()> = unload_all();
    if let Err(error) = unloaded {
        tracing::error!(error = %with_causes(&error), "a user may not be able to log on");
    }
}

/// The names of the hives that an agent has loaded.
fn loaded() -> Result<Vec<String>> {
    let mut names = subkeys(&RegistryKey {
        hive: Hive::Users,
        view: RegistryView::Native,
        path: String::new(),
    })?;
    names.retain(|name| name.to_ascii_lowercase().starts_with(LOADED_HIVE));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_loaded_is_not_unloaded() {
        assert!(loaded().unwrap().is_empty());
        unload_leftovers();
        assert!(unload("oco-agent-S-1-5-21-0").is_err());
    }
}
