use super::*;
use crate::config::ConfigError;
use crate::host::Visibility;
use crate::host::recorded::{RecordedHost, Recording};
use std::path::Path;

fn host(config: &str) -> RecordedHost {
    let machine = serde_json::json!({
        "os": "linux", "hostname": "pc.example", "kernel": {"release": "6.1", "machine": "x86_64"},
        "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
    });
    let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
    host.write_file(
        Path::new("/state/oco-agent.ini"),
        config.as_bytes(),
        Visibility::Private,
    )
    .unwrap();
    host
}

fn no_client(_: &Config) -> Result<HttpClient, HttpError> {
    panic!("nobody is to be asked")
}

fn checked(host: &RecordedHost) -> Report {
    run(host, &Paths::beside(Path::new("/state/oco-agent.ini")), no_client).unwrap()
}

fn find<'a>(report: &'a Report, name: &str) -> Vec<&'a Item> {
    report.items.iter().filter(|item| item.name == name).collect()
}

#[test]
fn without_a_server_the_rest_is_still_looked_at() {
    let report = checked(&host("[agent]\nagent-key = s3cret\n"));
    assert!(!report.ok);
    let verdicts: Vec<_> = report
        .items
        .iter()
        .map(|item| (item.name, item.verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("configuration", Verdict::Ok),
            ("identity", Verdict::Warn),
            ("state", Verdict::Ok),
            ("lock", Verdict::Ok),
            ("server", Verdict::Fail),
            ("name", Verdict::Skipped),
            ("connection", Verdict::Skipped),
            ("certificate", Verdict::Skipped),
            ("agent API", Verdict::Skipped),
            ("clock", Verdict::Skipped),
            ("keys", Verdict::Ok),
        ]
    );
    assert!(find(&report, "keys")[0].finding.contains("not registered yet"));
    assert!(!format!("{report}{report:?}").contains("s3cret"));
}

#[test]
fn a_disk_that_cannot_be_written_and_missing_keys_are_found() {
    let host = host("[agent]\nmachine-uid = u\n[server]\nserver-key = s3cret\n");
    host.set_read_only(true);
    let report = checked(&host);
    assert_eq!(find(&report, "state")[0].verdict, Verdict::Fail);
    assert!(find(&report, "keys")[0].finding.contains("no agent key"));
    assert_eq!(find(&report, "identity")[0].finding, "host name pc, uid u");
    assert!(!report.to_string().contains("s3cret"));
}

#[test]
fn timestamps_that_are_yet_to_come_are_warned_of() {
    let host = host("[agent]\nagent-key = k\n[server]\nserver-key = s\n");
    for file in ["oco-agent.timestamp", "oco-agent.sent-timestamp"] {
        host.write_file(
            &Path::new("/state").join(file),
            b"4000000000.5",
            Visibility::AsBefore,
        )
        .unwrap();
    }
    let report = checked(&host);
    let keys = find(&report, "keys");
    assert_eq!(
        keys.iter().filter(|item| item.verdict == Verdict::Warn).count(),
        2,
        "{keys:?}"
    );
    assert!(
        keys[2].hint.as_ref().unwrap().contains(
            &Path::new("/state")
                .join("oco-agent.timestamp")
                .display()
                .to_string()
        )
    );
}

#[test]
fn a_report_is_aligned_for_people_and_plain_for_machines() {
    let report = Report::from(vec![
        Item::ok("lock", "free"),
        Item::warn("clock", "40 s behind", "set it"),
        Item::skipped("certificate", "no TLS"),
        Item::fail("keys", "none", "set one"),
    ]);
    let text = "ok    lock         free\n\
                warn  clock        40 s behind\n                   \
                -> set it\n\
                -     certificate  no TLS\n\
                FAIL  keys         none\n                   \
                -> set one\n";
    assert_eq!(report.to_string(), text);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(
        json["items"][3],
        serde_json::json!({"name": "keys", "verdict": "fail", "finding": "none", "hint": "set one"})
    );
    assert_eq!(json["items"][2]["verdict"], "skipped");
}

#[test]
fn every_wrong_line_of_a_configuration_is_told() {
    let text = "[agent]\ndebug = 7\nread-timeout = x\ndebugg = 1\n";
    let report = checked(&host(text));
    let lines = find(&report, "configuration");
    let count = |verdict| lines.iter().filter(|item| item.verdict == verdict).count();
    assert_eq!(
        (count(Verdict::Ok), count(Verdict::Fail), count(Verdict::Warn)),
        (1, 2, 1)
    );
    let report = checked(&host(""));
    let empty = ConfigError::Empty("/state/oco-agent.ini".into()).to_string();
    assert_eq!(report.items[0].finding, empty);
}
