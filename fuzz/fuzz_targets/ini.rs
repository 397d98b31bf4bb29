//! The configuration: a value that is set can be read, and everything else stays as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::config::{Config, Document, Entry};
use oco_agent::host::Os;
use std::path::Path;

const VALUE: &str = "k3y with = and ; and # in it";

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let Ok(before) = Document::parse(&text) else {
        return;
    };
    assert!(before.text().len() <= text.len());
    let _ = Config::from_document(&before, Os::Linux, Path::new("/etc/oco-agent.ini"));
    for (section, key) in [
        ("agent", "agent-key"),
        ("server", "server-key"),
        ("new", "section"),
    ] {
        let written = before.with_value(section, key, VALUE);
        let after = Document::parse(&written).expect("what was written can be read");
        assert_eq!(
            after.get(section, key).map(|entry| entry.value.as_str()),
            Some(VALUE)
        );
        assert_eq!(others(&after, section, key), others(&before, section, key));
        // Setting it again changes nothing.
        assert_eq!(after.with_value(section, key, VALUE), written);
        let lost = before
            .text()
            .lines()
            .filter(|line| !written.contains(line))
            .count();
        assert!(lost <= 1, "{lost} lines are gone");
    }
});

fn others(document: &Document, section: &str, key: &str) -> Vec<(String, String, String)> {
    let other = |entry: &&Entry| (entry.section.as_str(), entry.key.as_str()) != (section, key);
    let others = document.entries().iter().filter(other);
    others
        .map(|entry| (entry.section.clone(), entry.key.clone(), entry.value.clone()))
        .collect()
}
