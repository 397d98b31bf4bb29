//! dpkg's `status`: packages are there once, sorted, and each of them is in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{inventory, machine_with};

fuzz_target!(|status: &[u8]| {
    let machine = machine_with("/var/lib/dpkg/status", status);
    let software = inventory(machine, status.len()).software.expect("a list");
    assert!(software.is_sorted());
    assert!(software.windows(2).all(|pair| pair[0] != pair[1]));
    let text = String::from_utf8_lossy(status);
    assert!(software.len() <= text.matches("Package:").count());
});
