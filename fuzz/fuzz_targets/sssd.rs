//! SSSD's cache: damage in it costs GUIDs and nothing else, and a GUID is a UUID.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{inventory, machine_with, put};

fuzz_target!(|cache: &[u8]| {
    let mut machine = machine_with("/var/lib/sss/db/cache_example.org.ldb", cache);
    put(
        &mut machine,
        "/etc/passwd",
        b"local:x:1000:1000:Local:/home/local:/bin/sh\n",
    );
    put(&mut machine, "/var/log/wtmp", &wtmp());
    let logins = inventory(machine, cache.len() + 4000).logins.expect("a list");
    assert_eq!(logins.len(), USERS.len());
    for (login, name) in logins.iter().zip(USERS) {
        assert_eq!(login.username, name);
        let hexadecimal = |guid: &String| guid.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        assert!(login.guid.as_ref().is_none_or(hexadecimal));
    }
    let local = &logins[0];
    assert_eq!(
        (local.guid.as_deref(), local.display_name.as_str()),
        (None, "Local")
    );
});

const USERS: [&str; 4] = ["local", "alice", "alice@example.org", "EXAMPLE\\alice"];

fn wtmp() -> Vec<u8> {
    let records = USERS.map(|user| {
        let mut record = [0; 384];
        record[0] = 7;
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record
    });
    records.concat()
}
