//! Texts and UUID of the firmware, and the device tree's: an identity that the server takes, whatever they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::host::recorded::RecordedHost;
use oco_agent::inventory::{Options, identity};
use oco_fuzz::{inventory, machine_with, parts, put};

fuzz_target!(|bytes: &[u8]| {
    let [uuid, serial, vendor, product, bios, model] = parts(bytes);
    let mut machine = machine_with("/sys/class/dmi/id/product_uuid", uuid);
    put(&mut machine, "/sys/class/dmi/id/sys_vendor", vendor);
    put(&mut machine, "/sys/class/dmi/id/bios_version", bios);
    put(&mut machine, "/sys/firmware/devicetree/base/model", model);
    if !product.is_empty() {
        put(&mut machine, "/sys/class/dmi/id/product_name", product);
        put(&mut machine, "/sys/class/dmi/id/product_serial", serial);
    }
    let found = inventory(machine.clone(), bytes.len());
    for text in [found.serial, found.manufacturer, found.model, found.bios_version] {
        let text = text.expect("a text");
        assert_eq!(text, text.trim());
    }
    let identity = identity(&RecordedHost::new(machine), &Options::default()).expect("an identity");
    let is_uuid =
        identity.uid.len() == 36 && identity.uid.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
    assert!(is_uuid || identity.uid == "fuzz", "{identity:?}");
});
