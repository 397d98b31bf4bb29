//! Logins: `/var/run/utmpx` has the last one, which is not over, and last(1) all of them, to the minute.

use crate::generate::Profile;
use std::fmt::Write;
use std::time::SystemTime;

/// Length of `struct utmpx` in files.
const RECORD: usize = 628;
const SIGNATURE: u16 = 10;
const USER_PROCESS: u16 = 7;

pub(super) fn utmpx(profile: &Profile, now: SystemTime) -> Vec<u8> {
    let mut file = record(SIGNATURE, "utmpx-1.00", "", 0);
    if let Some(session) = profile.sessions(now).last() {
        file.extend(record(USER_PROCESS, &session.user, session.terminal, session.at));
    }
    file
}

fn record(kind: u16, user: &str, line: &str, at: u32) -> Vec<u8> {
    let mut record = vec![0; RECORD];
    record[..user.len()].copy_from_slice(user.as_bytes());
    record[260..260 + line.len()].copy_from_slice(line.as_bytes());
    record[296..298].copy_from_slice(&kind.to_le_bytes());
    record[300..304].copy_from_slice(&at.to_le_bytes());
    record
}

/// Newest first, without the year.
pub(super) fn last(profile: &Profile, now: SystemTime) -> String {
    let mut text = String::new();
    for (number, session) in profile.sessions(now).iter().rev().enumerate() {
        let moment = jiff::Timestamp::from_second(session.at.into()).unwrap_or_default();
        let end = if number == 0 {
            "  still logged in"
        } else {
            "- 23:59  (01:00)"
        };
        writeln!(
            text,
            "{:<9} {:<8} {:<17}{} {end}",
            session.user,
            session.terminal,
            "",
            moment.strftime("%a %b %e %H:%M")
        )
        .ok();
    }
    text + "reboot time                                Thu Jan  1 00:00\n\nwtmp begins Thu Jan  1 00:00"
}
