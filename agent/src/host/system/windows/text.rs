//! Texts as Windows' functions take and give them: UTF-16 with a zero at the end.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use windows::core::PWSTR;

/// The text with its end mark. One that has a zero within would end there, and is refused.
pub(super) fn wide(text: impl AsRef<OsStr>) -> io::Result<Vec<u16>> {
    let mut wide: Vec<u16> = text.as_ref().encode_wide().collect();
    if wide.contains(&0) {
        let reason = "it has a character that ends a text";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    wide.push(0);
    Ok(wide)
}

/// The text in a buffer, up to its end mark.
pub(super) fn from_wide(buffer: &[u16]) -> OsString {
    let end = buffer.iter().position(|unit| *unit == 0).unwrap_or(buffer.len());
    OsString::from_wide(&buffer[..end])
}

/// The text that a pointer leads to; empty where it leads nowhere.
///
/// # Safety
/// The pointer is null or leads to units with a zero among them, which stay as they are meanwhile.
pub(super) unsafe fn from_pointer(text: PWSTR) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    String::from_utf16_lossy(unsafe { text.as_wide() })
}

/// The error with the system's code, so that its kind can be told.
pub(super) fn error(error: windows::core::Error) -> io::Error {
    // Codes of the plain interface are wrapped: 0x8007 and then the code.
    const WRAPPED: i32 = 0x8007_0000_u32.cast_signed();
    let code = error.code().0;
    if code & WRAPPED == WRAPPED && code & 0x7fff_0000 == 0x0007_0000 {
        return io::Error::from_raw_os_error(code & 0xffff);
    }
    io::Error::other(error)
}

/// The error of a function that returns its code; none for 0.
pub(super) fn check(code: u32) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows::core::HRESULT;

    #[test]
    fn texts_get_an_end_mark_and_cannot_have_one_within() {
        assert_eq!(wide("aß").unwrap(), [97, 223, 0]);
        assert!(wide("a\0b").is_err());
        assert_eq!(from_wide(&[97, 0, 98]), "a");
    }

    #[test]
    fn errors_keep_their_kind() {
        let wrapped = windows::core::Error::from_hresult(HRESULT::from_win32(2));
        assert_eq!(error(wrapped).kind(), io::ErrorKind::NotFound);
        let other = windows::core::Error::from_hresult(HRESULT(0x8004_100e_u32.cast_signed()));
        assert_eq!(error(other).kind(), io::ErrorKind::Other);
        assert_eq!(check(5).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(check(0).is_ok());
    }
}
