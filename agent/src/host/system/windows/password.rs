//! Passwords of local accounts.

use super::text::{check, wide};
use crate::host::{HostError, Result};
use std::io;
use windows::Win32::NetworkManagement::NetManagement::{NetUserSetInfo, USER_INFO_1003};
use windows::core::{PCWSTR, PWSTR};
use zeroize::Zeroizing;

/// What sets nothing but the password.
const PASSWORD_ONLY: u32 = 1003;
/// There is no such account.
const NO_SUCH_USER: u32 = 2221;

/// Sets a password. It goes to the account database directly, through no other program.
pub(super) fn set(username: &str, password: &str) -> Result<()> {
    let failed = |source: io::Error| HostError::new("set the password of", username, source);
    let name = wide(username).map_err(failed)?;
    // Allocated once: what a reallocation leaves behind would not be wiped.
    let mut text = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    text.extend(password.encode_utf16());
    if text.is_empty() || text.contains(&0) {
        let reason = "the password is empty, or has a character that cannot be passed on";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    text.push(0);
    let information = USER_INFO_1003 {
        usri1003_password: PWSTR(text.as_mut_ptr()),
    };
    // SAFETY: both texts have their end marks, the structure is that of the level, and all live until the function returns.
    let code = unsafe {
        let information = (&raw const information).cast();
        NetUserSetInfo(None, PCWSTR(name.as_ptr()), PASSWORD_ONLY, information, None)
    };
    match code {
        NO_SUCH_USER => Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            "there is no such account",
        ))),
        code => check(code).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_passed_on_is_refused() {
        assert!(set("a\0b", "x").is_err() && set("a", "").is_err() && set("a", "x\0y").is_err());
    }

    #[test]
    #[ignore = "wine has no NetUserSetInfo and ends the process"]
    fn an_account_that_is_missing_is_named_and_the_password_is_not() {
        let error = set("oco-no-such-user", "s3cret-word").unwrap_err();
        assert_eq!(error.to_string(), "cannot set the password of oco-no-such-user");
        assert!(!format!("{error:?}").contains("s3cret"));
    }
}
