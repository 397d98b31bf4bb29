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
    let mut records = records(host)?;
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
fn records(host: &dyn Host) -> Result<Vec<Record>> {
    let layout = wtmp::Layout::of(&host.kernel()?.machine);
    let file = optional(host.read_file(Path::new("/var/log/wtmp")))?;
    let mut records: Vec<_> = wtmp::parse(file.as_deref().unwrap_or_default(), layout).collect();
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
