//! `/var/log/wtmp` in both of its layouts: no login before the moment asked for, no more of them than records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{inventory, machine_with, put};

fuzz_target!(|wtmp: &[u8]| {
    for (architecture, record) in [("x86_64", 384), ("aarch64", 400)] {
        let mut machine = machine_with("/var/log/wtmp", wtmp);
        put(
            &mut machine,
            "/etc/passwd",
            b"alice:x:1000:1000:Alice:/home/alice:/bin/sh\n",
        );
        architecture.clone_into(&mut machine.machine.kernel.machine);
        let logins = inventory(machine, wtmp.len()).logins.expect("a list");
        assert!(logins.len() <= wtmp.len() / record);
        for login in logins {
            assert!(login.timestamp.as_str() >= "1970-01-01 00:00:00" && login.timestamp.as_str() < "2107");
            assert!(login.username.chars().count() <= 32 && login.console.chars().count() <= 32);
            assert_eq!(login.display_name == "Alice", login.username == "alice");
        }
    }
});
