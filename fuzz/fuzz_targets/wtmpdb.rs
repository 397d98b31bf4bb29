//! The output of `wtmpdb last --json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{answer, inventory, machine_with, put};

fuzz_target!(|output: &[u8]| {
    let mut machine = machine_with("/var/lib/wtmpdb/wtmp.db", b"SQLite format 3\0");
    put(
        &mut machine,
        "/etc/passwd",
        b"alice:x:1000:1000:Alice:/home/alice:/bin/sh\n",
    );
    answer(&mut machine, "wtmpdb last --json --time-format=iso", output);
    let Some(logins) = inventory(machine, output.len()).logins else {
        return;
    };
    assert!(
        logins.is_sorted_by_key(|login| &login.timestamp)
            || logins.iter().any(|login| login.timestamp.starts_with('-'))
    );
    assert!(logins.iter().all(|login| login.username != "reboot"));
});
