//! Logins, from the file that login(1) and its kin append to, and from the database that took its place on newer systems.

use super::sssd::Directory;
use super::users;
use crate::host::Host;
use crate::inventory::field::{Result, optional};
use jiff::Timestamp;
use oco_protocol::inventory::Login;
use std::path::Path;

mod wtmp;
mod wtmpdb;

/// One login, as the system logged it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    time: Timestamp,
    user: String,
    console: String,
}

/// Logins at or after `since` (`YYYY-MM-DD HH:MM:SS`, UTC), oldest first. A system that keeps no log has none.
pub(super) fn collect(host: &dyn Host, since: Option<&str>) -> Result<Vec<Login>> {
    let mut records = records(host, since)?;
    // In this notation, texts sort as the moments do.
    records.retain(|record| since.is_none_or(|since| timestamp(record).as_str() >= since));
    let full_names = users::full_names(host)?;
    let from_directory = records
        .iter()
        .any(|record| !full_names.contains_key(&record.user));
    // Reading the caches takes a while, so it is done only where they have something to say.
    let directory = if from_directory {
        Directory::read(host)
    } else {
        Directory::default()
    };
    let logins = records.into_iter().map(|record| {
        // As when logging in, a local account goes before one of the directory.
        let local = full_names.get(&record.user);
        let user = directory.find(&record.user).filter(|_| local.is_none());
        Login {
            guid: user.and_then(|user| user.guid.clone()),
            display_name: local
                .or(user.map(|user| &user.full_name))
                .cloned()
                .unwrap_or_default(),
            timestamp: timestamp(&record),
            username: record.user,
            console: record.console,
        }
    });
    Ok(logins.collect())
}

/// What both logs have. A system that was upgraded has both; what is in both of them counts once.
fn records(host: &dyn Host, since: Option<&str>) -> Result<Vec<Record>> {
    let layout = wtmp::Layout::of(&host.kernel()?.machine);
    let read = |path| optional(host.read_file(Path::new(path)));
    let file = read("/var/log/wtmp")?;
    let mut records: Vec<_> = wtmp::parse(file.as_deref().unwrap_or_default(), layout).collect();
    // When logrotate(8) begins a new file, what is not reported yet is in the one before.
    let begins_later = |since| {
        records
            .first()
            .is_none_or(|first| timestamp(first).as_str() > since)
    };
    if file.is_some() && since.is_some_and(begins_later) {
        let before = read("/var/log/wtmp.1")?.unwrap_or_default();
        records.splice(0..0, wtmp::parse(&before, layout));
    }
    match wtmpdb::read(host) {
        Ok(newer) => {
            let newer: Vec<_> = newer
                .into_iter()
                .filter(|record| !records.contains(record))
                .collect();
            if !newer.is_empty() {
                records.extend(newer);
                // Stable, so that the file's order stays where moments are the same.
                records.sort_by_key(|record| record.time);
            }
        }
        // Where there is the file, its logins are better than none.
        Err(error) if file.is_some() => {
            tracing::warn!(%error, "logins of the database wtmpdb are left out");
        }
        Err(error) => return Err(error),
    }
    Ok(records)
}

fn timestamp(record: &Record) -> String {
    record.time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::recorded::{RecordedCommand, RecordedHost, Recording};

    const WTMPDB: &str = "wtmpdb last --json --time-format=iso";

    fn machine() -> Recording {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/linux/debian-13-desktop-sssd"
        );
        Recording::load(Path::new(folder)).unwrap()
    }

    fn consoles(recording: Recording, since: &str) -> Vec<String> {
        let logins = collect(&RecordedHost::new(recording), Some(since)).unwrap();
        logins.into_iter().map(|login| login.console).collect()
    }

    #[test]
    fn logins_before_the_logs_rotation_are_found_where_they_are_not_reported_yet() {
        let mut recording = machine();
        recording.files.remove("/var/lib/wtmpdb/wtmp.db");
        let mut before = recording.files["/var/log/wtmp"].clone();
        before[8..12].copy_from_slice(b"tty9");
        before[340..344].copy_from_slice(&1_795_162_500_u32.to_le_bytes());
        recording.files.insert("/var/log/wtmp.1".to_owned(), before);
        assert_eq!(
            consoles(recording.clone(), "2026-11-20 00:00:00"),
            ["tty9", "tty1"]
        );
        assert_eq!(consoles(recording, "2026-11-21 08:15:00"), ["tty1"]);
    }

    #[test]
    fn a_database_that_does_not_answer_costs_its_own_logins_or_the_field() {
        let mut recording = machine();
        let failed = RecordedCommand {
            code: Some(1),
            stdout: b"wtmpdb: unrecognized option '--json'".to_vec(),
        };
        recording.commands.insert(WTMPDB.to_owned(), failed);
        assert_eq!(consoles(recording.clone(), "2026-01-01 00:00:00"), ["tty1"]);
        recording.files.remove("/var/log/wtmp");
        assert!(collect(&RecordedHost::new(recording), None).is_err());
    }

    #[test]
    fn what_both_logs_have_counts_once() {
        let consoles = consoles(machine(), "2026-11-21 00:00:00");
        assert_eq!(consoles, ["tty1", "pts/4", ":0", "tty3"]);
    }
}
