//! wtmpdb, the database that has replaced `wtmp` in Debian 13 and openSUSE. It is a file of SQLite's, so its own program
//! (wtmpdb(8)) is asked. `lastlog2` is not: it has only the last login of each user, which is in here, too.

use super::Record;
use crate::host::Host;
use crate::inventory::field::{CollectError, Result, command_output};
use jiff::Timestamp;
use serde::Deserialize;
use std::path::Path;

/// Where the database is; the second since version 0.74.
const DATABASES: &[&str] = &["/var/lib/wtmpdb/wtmp.db", "/var/log/wtmp.db"];

/// Times in this notation have the offset of the local time zone, so any zone will do.
const ARGUMENTS: &[&str] = &["last", "--json", "--time-format=iso"];

/// Pseudo-users of starts and ends of the system.
const SYSTEM: [&str; 3] = ["reboot", "shutdown", "soft-reboot"];

/// The logins in the database; none where there is no database.
pub(super) fn read(host: &dyn Host) -> Result<Vec<Record>> {
    if !DATABASES.iter().any(|path| host.exists(Path::new(path))) {
        return Ok(Vec::new());
    }
    parse(&command_output(host, "wtmpdb", ARGUMENTS)?)
}

#[derive(Deserialize)]
struct Listing {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    user: String,
    #[serde(default)]
    tty: String,
    login: String,
}

/// Oldest first; the program prints the newest first.
fn parse(output: &[u8]) -> Result<Vec<Record>> {
    let listing: Listing = serde_json::from_slice(output)
        .map_err(|error| CollectError::malformed("the output of wtmpdb last --json", error))?;
    let entries = listing.entries.into_iter().rev();
    let logins = entries.filter(|entry| !SYSTEM.contains(&entry.user.as_str()));
    let records = logins.filter_map(|entry| {
        Some(Record {
            time: moment(entry.login.trim())?,
            user: entry.user,
            console: entry.tty,
        })
    });
    Ok(records.collect())
}

/// `2026-11-21T09:15:00+0100`.
fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text)
        .or_else(|_| text.parse())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OUTPUT: &str = r#"{"entries":[
 {"user":"bob","tty":"pts/1","hostname":"192.0.2.7","login":"2026-11-22T07:00:00+0100","logout":"still logged in "},
 {"user":"alice","tty":"tty2","hostname":"","login":"2026-11-21T08:15:00+00:00","logout":"2026-11-21T09:00:00+00:00","length":"(00:45)"},
 {"user":"carol","tty":"tty3","login":"yesterday"},
 {"user":"reboot","tty":"system boot","hostname":"6.12.41","login":"2026-11-21T08:00:00+0000","logout":"still running "}]}"#;

    #[test]
    fn sessions_of_users_are_logins_in_whatever_time_zone() {
        let records = parse(OUTPUT.as_bytes()).unwrap();
        let found: Vec<_> = records
            .iter()
            .map(|record| format!("{} {} {}", record.time, record.user, record.console))
            .collect();
        assert_eq!(
            found,
            [
                "2026-11-21T08:15:00Z alice tty2",
                "2026-11-22T06:00:00Z bob pts/1"
            ]
        );
    }

    #[test]
    fn an_older_program_without_json_is_an_error() {
        assert!(parse(b"alice tty2 Sat Nov 21 08:15 - still logged in\n").is_err());
        assert!(parse(b"").is_err());
    }

    proptest! {
        #[test]
        fn no_output_panics(output in "(\\{\"entries\":\\[|\\{\"user\":\"[a-z]\"|,\"login\":\"[0-9T:+-]{0,25}\"|\\}|\\]|\\PC)*") {
            let _ = parse(output.as_bytes());
        }

        #[test]
        fn every_login_is_found_again(user in "[a-z]{1,16}", tty in "[a-z/0-9:]{0,8}", seconds in 0i64..10_000_000_000) {
            let time = Timestamp::from_second(seconds).unwrap();
            let login = time.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string();
            let output = serde_json::json!({"entries": [{"user": user, "tty": tty, "login": login}]}).to_string();
            prop_assume!(!SYSTEM.contains(&user.as_str()));
            prop_assert_eq!(parse(output.as_bytes()).unwrap(), [Record { time, user, console: tty }]);
        }
    }
}
