use super::*;
use crate::host::Kernel;
use crate::host::recorded::{Machine, RecordedCommand, RecordedHost, Recording};
use serde_json::json;

const COMMAND: &str = "journalctl --quiet --no-pager --all --output=json \
    --output-fields=MESSAGE,PRIORITY,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,_COMM,_SYSTEMD_UNIT --since=@0";

fn host(os: Os, answers: &[(&str, Option<i32>, String)]) -> RecordedHost {
    let mut recording = Recording::new(Machine {
        os,
        hostname: "pc".into(),
        kernel: Kernel {
            release: "6.1".into(),
            machine: "x86_64".into(),
        },
        uptime_s: 1.0,
        now: "2026-11-22T06:00:00Z".into(),
        interfaces: Vec::new(),
        spaces: std::collections::BTreeMap::new(),
        unreadable: Vec::new(),
    });
    for (command, code, stdout) in answers {
        let answer = RecordedCommand {
            code: *code,
            stdout: stdout.clone().into_bytes(),
        };
        recording.commands.insert((*command).to_owned(), answer);
    }
    RecordedHost::new(recording)
}

fn query(log: &str, query: &str) -> EventQuery {
    EventQuery {
        since: "1970-01-01 00:00:00".into(),
        log: log.into(),
        query: query.into(),
    }
}

fn line(second: usize, message: &str) -> String {
    json!({"__REALTIME_TIMESTAMP": format!("{second}000000"), "MESSAGE": message}).to_string() + "\n"
}

#[test]
fn one_bad_query_costs_itself_only() {
    let host = host(Os::Linux, &[(COMMAND, Some(0), line(1, "hello"))]);
    let queries = [
        query("journalctl", "{"),
        query("System", "*[System[(EventID=1130)]]"),
        query("journalctl", r#"{"grep":"("}"#),
        query("journalctl", r#"{"unit":"no-such-answer"}"#),
        query("journalctl", "{}"),
    ];
    let events = collect(&host, &queries);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].data["message"], "hello");
}

#[test]
fn the_oldest_ten_thousand_are_found() {
    let lines: String = (0..MOST_EVENTS + 5).map(|second| line(second, "again")).collect();
    let host = host(Os::Linux, &[(COMMAND, Some(0), lines)]);
    let events = collect(&host, &[query("journalctl", "")]);
    assert_eq!(events.len(), MOST_EVENTS);
    assert_eq!(events[0].timestamp, "1970-01-01 00:00:00");
}

#[test]
fn the_report_of_a_check_in_is_bounded() {
    let long = "x".repeat(30_000);
    let lines: String = (0..400).map(|second| line(second, &long)).collect();
    let host = host(Os::Linux, &[(COMMAND, Some(0), lines)]);
    let events = collect(&host, &[query("journalctl", ""), query("journalctl", "")]);
    let bytes: usize = events
        .iter()
        .map(|event| event.data["message"].as_str().unwrap().len())
        .sum();
    assert!(bytes <= MOST_BYTES && bytes > MOST_BYTES - 100_000, "{bytes}");
}

#[test]
fn a_journalctl_without_field_selection_is_asked_again() {
    let old = "journalctl --quiet --no-pager --all --output=json --since=@0";
    let host = host(
        Os::Linux,
        &[(COMMAND, Some(1), String::new()), (old, Some(0), line(1, "old"))],
    );
    assert_eq!(collect(&host, &[query("journalctl", "")]).len(), 1);
}

#[test]
fn other_systems_have_no_journal() {
    let host = host(Os::Windows, &[(COMMAND, Some(0), line(1, "hello"))]);
    assert!(collect(&host, &[query("journalctl", "")]).is_empty());
}

#[test]
fn events_of_windows_logs_are_found_and_a_log_that_is_not_there_costs_nothing() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/windows/windows-11-pro");
    let host = RecordedHost::new(Recording::load(&folder).unwrap());
    let since = |log: &str, moment: &str| EventQuery {
        since: moment.into(),
        ..query(log, "*[System[(Level=1 or Level=2)]]")
    };
    let queries = [
        since("Microsoft-Windows-Missing/Operational", "1970-01-01 00:00:00"),
        since("System", "2026-11-22 05:00:00"),
        query("journalctl", "{}"),
        since("Application", "1970-01-01 00:00:00"),
        since("System", "yesterday"),
    ];
    let events = serde_json::to_value(collect(&host, &queries)).unwrap();
    assert_eq!(
        events,
        json!([
            {"log": "System", "provider": "Service Control Manager", "event_id": "7036", "level": "4",
             "timestamp": "2026-11-22 05:41:01",
             "data": {"param1": "Windows Update", "param2": "running", "Binary": "770075000000"}},
            {"log": "System", "provider": "Microsoft-Windows-GroupPolicy", "event_id": "1130", "level": "2",
             "timestamp": "2026-11-22 06:00:02",
             "data": {"SupportInfo1": "1", "ErrorCode": "1722", "GPOScriptCommandString": "\\\\corp\\netlogon\\logon & map.cmd"}},
            {"log": "Application", "provider": "MsiInstaller", "event_id": "1033", "level": "4",
             "timestamp": "2026-11-21 17:03:44", "data": {"Data1": "OCO Agent", "Data2": "2.0.0", "Data3": ""}},
            {"log": "Application", "provider": "Microsoft-Windows-RestartManager", "event_id": "10000", "level": "4",
             "timestamp": "2026-11-21 17:03:45", "data": {"RmSessionId": "0", "UTCStartTime": "2026-11-21T17:03:45Z"}},
        ])
    );
}

#[test]
fn the_queries_of_a_check_in_are_bounded_together_in_events_and_in_number() {
    let lines: String = (0..MOST_EVENTS - 5).map(|second| line(second, "again")).collect();
    let many = host(Os::Linux, &[(COMMAND, Some(0), lines)]);
    let queries = ["journalctl"; 3].map(|log| query(log, ""));
    assert_eq!(collect(&many, &queries).len(), MOST_EVENTS);
    let one = host(Os::Linux, &[(COMMAND, Some(0), line(1, "once"))]);
    let queries: Vec<_> = (0..MOST_QUERIES + 50).map(|_| query("journalctl", "")).collect();
    assert_eq!(collect(&one, &queries).len(), MOST_QUERIES);
}

#[test]
fn queries_together_take_no_longer_than_their_time_limit() {
    let host = host(Os::Linux, &[]);
    let room = |deadline| Room {
        events: 1,
        bytes: 1,
        deadline,
    };
    // The machine was started a second ago.
    assert_eq!(
        room(Some(Duration::from_secs(11))).time(&host),
        Duration::from_secs(10)
    );
    assert_eq!(room(Some(Duration::from_secs(1))).time(&host), Duration::ZERO);
    assert_eq!(room(Some(Duration::from_secs(1000))).time(&host), TIME_LIMIT);
    assert_eq!(room(None).time(&host), TIME_LIMIT);
}
