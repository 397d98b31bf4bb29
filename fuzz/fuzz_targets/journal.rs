//! Queries for events and what `journalctl` prints: all events have their fields, within their limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::events::collect;
use oco_agent::host::recorded::RecordedHost;
use oco_fuzz::{answer, machine, parts};
use oco_protocol::rpc::EventQuery;

/// What is asked for with a query that filters only by message.
const COMMAND: &str = "journalctl --quiet --no-pager --all --output=json \
    --output-fields=MESSAGE,PRIORITY,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,_COMM,_SYSTEMD_UNIT --since=@1795248900";

fuzz_target!(|bytes: &[u8]| {
    let [query, output] = parts(bytes);
    let mut machine = machine();
    answer(&mut machine, COMMAND, output);
    let host = RecordedHost::new(machine);
    let query = EventQuery {
        since: "2026-11-21 08:15:00".to_owned(),
        log: "journalctl".to_owned(),
        query: String::from_utf8_lossy(query).into_owned(),
    };
    let all = EventQuery {
        query: "{}".to_owned(),
        ..query.clone()
    };
    let (events, all) = (collect(&host, &[query]), collect(&host, &[all]));
    assert!(all.len() <= output.split(|byte| *byte == b'\n').count());
    assert!(events.iter().all(|event| all.contains(event)));
    for event in &all {
        assert!(!event.log.is_empty() && !event.provider.is_empty(), "{event:?}");
        assert!(event.timestamp.len() >= 19, "{event:?}");
        let message = event.data.get("message").and_then(|message| message.as_str());
        assert!(message.is_some_and(|message| message.len() <= (32 << 10) + 3));
    }
});
