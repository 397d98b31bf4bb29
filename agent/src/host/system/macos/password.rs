//! Passwords of local accounts, set through Open Directory: no other program gets to see them.

use crate::host::{HostError, Result};
use objc2_core_foundation::{CFError, CFRetained, CFString, CFStringBuiltInEncodings, kCFAllocatorNull};
use objc2_open_directory::{
    ODFrameworkErrors, ODFrameworkErrors as Error, ODNodeRef, kODNodeTypeLocalNodes, kODRecordTypeUsers,
};
use std::io;
use std::ptr::{self, NonNull};

/// Sets a password. With the one that the account has, what is locked with that one opens with the new one, too: the
/// disk (FileVault) above all. Without it, the system refuses where there is such a thing.
pub(crate) fn set(username: &str, password: &str, old: Option<&str>) -> Result<()> {
    change(username, password, old).map_err(|error| HostError::new("set the password of", username, error))
}

fn change(username: &str, password: &str, old: Option<&str>) -> io::Result<()> {
    if username.is_empty() || password.is_empty() {
        let reason = "the account's name or the password is empty";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let new = text(password)?;
    let old = old.map(text).transpose()?;
    let name = CFString::from_str(username);
    let mut error = ptr::null_mut();
    // SAFETY: the default session is asked, and `error` is a valid place for an error.
    let node = unsafe { ODNodeRef::with_node_type(None, None, kODNodeTypeLocalNodes, &raw mut error) };
    let node = node.ok_or_else(|| reason("open the local directory", error))?;
    // SAFETY: a constant of the framework.
    let users = unsafe { kODRecordTypeUsers };
    // SAFETY: no attributes are asked for, and `error` is a valid place for an error.
    let record = unsafe { node.copy_record(users, Some(&name), None, &raw mut error) };
    let record = match record {
        Some(record) => record,
        None if error.is_null() => {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such local account",
            ));
        }
        None => return Err(reason("find the account", error)),
    };
    // SAFETY: both texts live on, and `error` is a valid place for an error.
    if unsafe { record.change_password(old.as_deref(), Some(&new), &raw mut error) } {
        Ok(())
    } else {
        Err(reason("change the password", error))
    }
}

/// A text in the form of the framework, which reads it where it is: nothing has to be wiped but the original.
fn text(password: &str) -> io::Result<CFRetained<CFString>> {
    let length = isize::try_from(password.len()).map_err(io::Error::other)?;
    // SAFETY: the bytes are UTF-8 of that length. They outlive the text, which frees nothing.
    let text = unsafe {
        CFString::with_bytes_no_copy(
            None,
            password.as_ptr(),
            length,
            CFStringBuiltInEncodings::EncodingUTF8.0,
            false,
            kCFAllocatorNull,
        )
    };
    text.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Why something did not work, by the framework's number: its texts might repeat what they were given.
fn reason(what: &str, error: *mut CFError) -> io::Error {
    // SAFETY: the framework has left an error that is ours now, or none.
    let error = NonNull::new(error).map(|error| unsafe { CFRetained::from_raw(error) });
    let Some(error) = error else {
        return io::Error::other(format!("Open Directory does not {what}, and does not say why"));
    };
    let code = error.code();
    io::Error::other(format!(
        "Open Directory does not {what}: error {code}{}",
        meaning(code)
    ))
}

/// What the numbers mean that an administrator can do something about.
fn meaning(code: isize) -> &'static str {
    let code = u32::try_from(code).map(ODFrameworkErrors);
    match code {
        Ok(Error::ErrorRecordPermissionError | Error::ErrorCredentialsNotAuthorized) => {
            " (this user may not do that: the agent has to run as root)"
        }
        Ok(Error::ErrorCredentialsInvalid) => " (the password so far is another one, or has to be known)",
        Ok(Error::ErrorCredentialsAccountDisabled) => " (the account is disabled)",
        Ok(Error::ErrorCredentialsAccountExpired) => " (the account has expired)",
        Ok(Error::ErrorCredentialsAccountLocked | Error::ErrorCredentialsAccountTemporarilyLocked) => {
            " (the account is locked)"
        }
        Ok(
            Error::ErrorCredentialsPasswordQualityFailed
            | Error::ErrorCredentialsPasswordTooShort
            | Error::ErrorCredentialsPasswordTooLong
            | Error::ErrorCredentialsPasswordNeedsLetter
            | Error::ErrorCredentialsPasswordNeedsDigit,
        ) => " (the account's policy wants another alphabet or length)",
        Ok(Error::ErrorCredentialsPasswordChangeTooSoon) => {
            " (the password was changed too short a time ago for the account's policy)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_not_there_is_named_and_the_password_is_not() {
        let error = set("oco-no-such-account", "s3cret-word", Some("0ld-word")).unwrap_err();
        let told = format!("{error}: {}", error.source);
        assert!(told.contains("oco-no-such-account"), "{told}");
        assert!(
            !told.contains("s3cret-word") && !told.contains("0ld-word"),
            "{told}"
        );
        assert!(set("", "x", None).is_err() && set("x", "", None).is_err());
    }
}
