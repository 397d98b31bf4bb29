//! Local accounts.

use super::{registry, wmi};
use crate::host::{Host, RegistryKey, WmiRow};
use crate::inventory::field::{Result, field, optional};
use oco_protocol::inventory::{UNKNOWN, User};
use serde_json::Value;

pub(super) fn collect(host: &dyn Host) -> Result<Vec<User>> {
    // Without the condition, a domain controller is asked for all accounts of the domain.
    let query =
        "SELECT Name, FullName, SID, Disabled, LocalAccount FROM Win32_UserAccount WHERE LocalAccount = TRUE";
    let accounts = wmi::rows(host, query)?;
    let local = accounts
        .iter()
        .filter(|account| wmi::flag(account, "LocalAccount") != Some(false));
    Ok(local.map(|account| user(host, account)).collect())
}

fn user(host: &dyn Host, account: &WmiRow) -> User {
    let sid = wmi::text(account, "SID");
    User {
        username: wmi::text(account, "Name"),
        display_name: wmi::text(account, "FullName"),
        home: field("users.home", home(host, &sid))
            .flatten()
            .unwrap_or_else(|| UNKNOWN.to_owned()),
        uid: Value::String(sid),
        gid: Value::Null,
        shell: UNKNOWN.to_owned(),
        disabled: wmi::flag(account, "Disabled").unwrap_or_default(),
    }
}

/// What Windows keeps of a user's profile, local or of a directory; none before the first logon.
pub(super) fn profile(host: &dyn Host, sid: &str) -> Result<Option<registry::Values>> {
    let profiles = RegistryKey::machine(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList");
    optional(host.registry_values(&profiles.subkey(sid)))
}

/// The profile's folder; none before the first logon.
fn home(host: &dyn Host, sid: &str) -> Result<Option<String>> {
    let profile = profile(host, sid)?;
    Ok(profile.and_then(|profile| registry::text(&profile, "ProfileImagePath")))
}
