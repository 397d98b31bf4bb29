//! `/etc/os-release`: what a shell would make of plain values, and never nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{inventory, machine_with};

fuzz_target!(|text: &[u8]| {
    let found = inventory(machine_with("/etc/os-release", text), text.len());
    let (name, version) = (found.os.expect("a name"), found.os_version.expect("a version"));
    assert!(!name.is_empty() && !version.is_empty(), "{name:?} {version:?}");
    // What was read, quoted and read again, is the same.
    let quoted = |value: &str| {
        let value = value.replace('\\', r"\\").replace('"', "\\\"");
        format!("\"{value}\"")
    };
    let again = format!("NAME={}\nVERSION_ID={}\n", quoted(&name), quoted(&version));
    let again = inventory(machine_with("/etc/os-release", again.as_bytes()), 2 * again.len());
    assert_eq!((again.os, again.os_version), (Some(name), Some(version)));
});
