//! Logins of a Mac: `/var/run/utmpx` and what last(1) says, between them a line of `====`. No more logins than records and
//! lines, each of somebody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::host::Os;
use oco_fuzz::{answer, inventory, machine_with, parts};

/// Of a record in the file.
const RECORD: usize = 628;

fuzz_target!(|bytes: &[u8]| {
    let [utmpx, last] = parts::<2>(bytes);
    let mut machine = machine_with("/var/run/utmpx", utmpx);
    machine.machine.os = Os::MacOs;
    answer(&mut machine, "env TZ=UTC LC_ALL=C last", last);
    let logins = inventory(machine, bytes.len()).logins.expect("a list");
    let lines = last.split(|byte| *byte == b'\n').count();
    assert!(logins.len() <= utmpx.len() / RECORD + lines);
    assert!(
        logins.iter().all(|login| !login.username.is_empty()),
        "{logins:?}"
    );
    assert!(
        logins.is_sorted_by(|one, next| one.timestamp <= next.timestamp),
        "{logins:?}"
    );
});
