//! `/var/log/wtmp`: records of `struct utmp`, see utmp(5).

use crate::generate::Profile;
use crate::generate::logins::Session;
use std::time::SystemTime;

/// Types of records.
const BOOT_TIME: u16 = 2;
const USER_PROCESS: u16 = 7;
const DEAD_PROCESS: u16 = 8;

/// The file: every login with its logout, and what else is logged there.
pub(super) fn wtmp(profile: &Profile, now: SystemTime) -> Vec<u8> {
    // glibc has 64-bit times in it only on machines that never were 32 bits wide.
    let (length, seconds) = if profile.is_arm() { (400, 344) } else { (384, 340) };
    let sessions = profile.sessions(now);
    let mut file = Vec::with_capacity(length * (2 * sessions.len() + 2));
    let mut append = |kind: u16, terminal: &str, user: &str, at: u32| {
        let start = file.len();
        file.resize(start + length, 0u8);
        let record = &mut file[start..];
        record[..2].copy_from_slice(&kind.to_le_bytes());
        put(&mut record[8..40], terminal);
        put(&mut record[44..76], user);
        record[seconds..seconds + 4].copy_from_slice(&at.to_le_bytes());
    };
    append(
        BOOT_TIME,
        "~",
        "reboot",
        sessions.first().map_or(0, |session| session.at),
    );
    for Session { user, terminal, at } in &sessions {
        append(USER_PROCESS, terminal, user, *at);
        append(DEAD_PROCESS, terminal, "", at.saturating_add(600));
    }
    if profile.defects.legacy_encoding {
        // The power failed while a record was written.
        file.extend_from_slice(&USER_PROCESS.to_le_bytes());
        file.extend_from_slice(&[0; 60]);
    }
    file
}

/// A field without room for its last byte has no NUL at its end.
fn put(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}
