//! What the targets share: a machine that answers with the fuzzer's bytes, and what must hold of everything that the agent
//! makes of such answers.
//!
//! The targets go through the agent's seam, `Host`: they make a recorded machine and have the agent collect from it, so
//! that they fuzz what is in use and see what would be sent.

use oco_agent::host::recorded::{Machine, RecordedCommand, RecordedHost, Recording};
use oco_agent::host::{Kernel, Os, Space};
use oco_agent::inventory::{Options, collect};
use oco_protocol::inventory::{Inventory, OrFalse};
use serde_json::Value;
use std::collections::BTreeMap;

/// A Linux machine without anything.
pub fn machine() -> Recording {
    let space = Space {
        used: 1 << 30,
        available: 3 << 30,
    };
    Recording::new(Machine {
        os: Os::Linux,
        hostname: "fuzz".to_owned(),
        kernel: Kernel {
            release: "6.12.0".to_owned(),
            machine: "x86_64".to_owned(),
        },
        uptime_s: 1.5,
        now: "2026-11-22T07:00:00Z".to_owned(),
        interfaces: Vec::new(),
        spaces: ["/", "/boot", "/home", "/data"]
            .map(|mountpoint| (mountpoint.to_owned(), space))
            .into(),
        unreadable: Vec::new(),
    })
}

/// A Linux machine with one file.
pub fn machine_with(path: &str, content: &[u8]) -> Recording {
    let mut machine = machine();
    put(&mut machine, path, content);
    machine
}

/// Puts a file on a machine.
pub fn put(machine: &mut Recording, path: &str, content: &[u8]) {
    machine.files.insert(path.to_owned(), content.to_owned());
}

/// Lets a command answer.
pub fn answer(machine: &mut Recording, command: &str, stdout: &[u8]) {
    let stdout = stdout.to_owned();
    let answer = RecordedCommand {
        code: Some(0),
        stdout,
    };
    machine.commands.insert(command.to_owned(), answer);
}

/// The parts of the fuzzer's bytes between lines that say `====`; the last one is empty if there are no more.
pub fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut rest = bytes;
    std::array::from_fn(|_| {
        let separator = b"\n====\n";
        match rest
            .windows(separator.len())
            .position(|window| window == separator)
        {
            Some(at) => {
                let part = &rest[..at];
                rest = &rest[at + separator.len()..];
                part
            }
            None => std::mem::take(&mut rest),
        }
    })
}

/// Collects a machine's inventory and checks what must hold of every inventory. `size` is that of the fuzzer's bytes.
pub fn inventory(machine: Recording, size: usize) -> Inventory {
    let inventory = collect(&RecordedHost::new(machine), &Options::default());
    check(&inventory, size);
    inventory
}

/// What must hold of an inventory, whatever a machine says.
fn check(inventory: &Inventory, size: usize) {
    let json = serde_json::to_string(inventory).expect("an inventory is JSON");
    // Six bytes may stand for one (\u00e4), and names of fields for little.
    assert!(
        json.len() <= 4096 + 200 * size,
        "{size} bytes became {}",
        json.len()
    );
    let back: Inventory = serde_json::from_str(&json).expect("an inventory can be read again");
    assert_eq!(&back, inventory);
    for (name, value) in &serde_json::from_str::<BTreeMap<String, Value>>(&json).expect("an object") {
        check_texts(name, value, matches!(name.as_str(), "cpu" | "gpu"));
    }
    for software in inventory.software.iter().flatten() {
        assert!(software.description.chars().count() <= 4097);
        assert!(!software.name.is_empty() && !software.version.is_empty());
    }
    for partition in inventory.partitions.iter().flatten() {
        assert!(partition.free <= partition.size && !partition.mountpoint.is_empty());
    }
    for login in inventory.logins.iter().flatten() {
        let moment = login.timestamp.as_bytes();
        assert!(
            moment.len() >= 19 && moment[4] == b'-' && moment[10] == b' ',
            "{login:?}"
        );
        assert!(login.guid.as_ref().is_none_or(|guid| guid.len() == 36));
    }
    if let Some(OrFalse::Value(level)) = inventory.battery_level {
        assert!((0.0..=1.0).contains(&level));
    }
}

/// Texts hold no control characters, or none but line ends.
pub fn check_texts(name: &str, value: &Value, with_lines: bool) {
    match value {
        Value::String(text) => {
            let bad = text
                .chars()
                .find(|c| c.is_control() && !(with_lines && *c == '\n'));
            assert_eq!(bad, None, "{name}: {text:?}");
        }
        Value::Array(items) => items.iter().for_each(|item| check_texts(name, item, with_lines)),
        Value::Object(fields) => {
            for (field, value) in fields {
                check_texts(&format!("{name}.{field}"), value, with_lines);
            }
        }
        _ => {}
    }
}
