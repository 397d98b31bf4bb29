//! Privileges of this process, which are off until they are asked for.

use super::text::{error, wide};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::sync::{Mutex, MutexGuard, PoisonError};
use windows::Win32::Foundation::{ERROR_NOT_ALL_ASSIGNED, HANDLE, LUID};
use windows::Win32::Security::{
    AdjustTokenPrivileges, LUID_AND_ATTRIBUTES, LookupPrivilegeValueW, SE_PRIVILEGE_ENABLED,
    TOKEN_ADJUST_PRIVILEGES, TOKEN_PRIVILEGES, TOKEN_PRIVILEGES_ATTRIBUTES, TOKEN_QUERY,
};
use windows::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows::core::PCWSTR;

/// Privileges belong to the whole process, so their users take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Privileges that are on until this value is dropped.
#[derive(Debug)]
pub(super) struct Privilege {
    token: OwnedHandle,
    names: &'static [&'static str],
    _turn: MutexGuard<'static, ()>,
}

impl Privilege {
    /// For loading and unloading registry hives.
    pub(super) const HIVES: [&'static str; 2] = ["SeBackupPrivilege", "SeRestorePrivilege"];
    /// For giving files to others.
    pub(super) const RESTORE: [&'static str; 1] = ["SeRestorePrivilege"];

    /// Turns privileges on. An error if this process may not have one of them.
    pub(super) fn enable_all(names: &'static [&'static str]) -> io::Result<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut token = HANDLE::default();
        // SAFETY: the pointer is to a handle that lives until the function returns; it is owned by nobody else.
        let token = unsafe {
            let access = TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY;
            OpenProcessToken(GetCurrentProcess(), access, &raw mut token).map_err(error)?;
            OwnedHandle::from_raw_handle(token.0)
        };
        let privileges = Self {
            token,
            names,
            _turn: turn,
        };
        for name in names {
            privileges.set(name, SE_PRIVILEGE_ENABLED)?;
        }
        Ok(privileges)
    }

    fn set(&self, name: &str, attributes: TOKEN_PRIVILEGES_ATTRIBUTES) -> io::Result<()> {
        let text = wide(name)?;
        let mut id = LUID::default();
        // SAFETY: the text has its end mark, and both live until the function returns.
        unsafe { LookupPrivilegeValueW(None, PCWSTR(text.as_ptr()), &raw mut id) }.map_err(error)?;
        let state = TOKEN_PRIVILEGES {
            PrivilegeCount: 1,
            Privileges: [LUID_AND_ATTRIBUTES {
                Luid: id,
                Attributes: attributes,
            }],
        };
        let token = HANDLE(self.token.as_raw_handle());
        // SAFETY: the token is open, and the state has as many privileges as it says.
        unsafe { AdjustTokenPrivileges(token, false, Some(&raw const state), 0, None, None) }
            .map_err(error)?;
        // Success is also said where nothing was granted.
        let granted = io::Error::last_os_error();
        if granted.raw_os_error() == Some(ERROR_NOT_ALL_ASSIGNED.0.cast_signed()) {
            let reason = format!("this process has no {name}: run it as an administrator");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        Ok(())
    }
}

impl Drop for Privilege {
    fn drop(&mut self) {
        for name in self.names {
            if let Err(error) = self.set(name, TOKEN_PRIVILEGES_ATTRIBUTES::default()) {
                tracing::debug!(%error, name, "a privilege stays on");
            }
        }
    }
}
