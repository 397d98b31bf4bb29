//! CUPS's `printers.conf` and a PPD file: no queue without a name, and no password of a print server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_fuzz::{inventory, machine_with, parts, put};

fuzz_target!(|bytes: &[u8]| {
    let [config, ppd] = parts(bytes);
    let mut machine = machine_with("/etc/cups/printers.conf", config);
    put(&mut machine, "/etc/cups/ppd/Office.ppd", ppd);
    let printers = inventory(machine, bytes.len()).printers.expect("a list");
    for printer in printers {
        assert!(
            !printer.name.is_empty() && !printer.driver.is_empty() && !printer.uri.is_empty(),
            "{printer:?}"
        );
        assert!(
            !printer.paper.is_empty() && !printer.dpi.is_empty() && !printer.status.is_empty(),
            "{printer:?}"
        );
        if let Some((_, rest)) = printer.uri.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            assert!(!host.contains('@'), "{printer:?}");
        }
    }
});
