//! What the logs of Windows say: every event that is reported has its fields, within their limits, and is wanted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::events::collect;
use oco_agent::host::Os;
use oco_agent::host::recorded::RecordedHost;
use oco_fuzz::{machine, parts};
use oco_protocol::rpc::EventQuery;

const SINCE: &str = "2026-11-21 08:15:00";

fuzz_target!(|bytes: &[u8]| {
    let log = parts::<4>(bytes).map(|event| String::from_utf8_lossy(event).into_owned());
    let mut machine = machine();
    machine.machine.os = Os::Windows;
    machine.events.insert("System".to_owned(), log.to_vec());
    let query = EventQuery {
        since: SINCE.to_owned(),
        log: "System".to_owned(),
        query: String::new(),
    };
    let events = collect(&RecordedHost::new(machine), &[query]);
    assert!(events.len() <= log.len());
    for event in &events {
        assert!(event.log == "System" && !event.provider.is_empty(), "{event:?}");
        // Years of more than four digits have a sign.
        assert!(event.timestamp.as_str() >= SINCE, "{event:?}");
        let is_number =
            |value: &serde_json::Value| value.as_str().is_some_and(|text| text.parse::<u32>().is_ok());
        assert!(is_number(&event.event_id) && is_number(&event.level), "{event:?}");
        for value in event.data.values() {
            assert!(value.as_str().is_some_and(|text| text.len() <= (32 << 10) + 3));
        }
    }
});
