use super::super::{Policies, Summary, apply};
use super::*;
use crate::host::recorded::{RecordedCommand, RecordedHost};
use crate::host::{Preferences, Visibility};
use crate::inventory::macos::tests::recording;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

const STATE: &str = "/var/lib/oco-agent/policies.json";
const GUID: &str = "5F1C0A3E-7B2D-4C55-9E21-0123456789AB";
const ACCOUNTS: &str = "<plist><array><dict>\
    <key>dsAttrTypeStandard:GeneratedUID</key><array><string>5F1C0A3E-7B2D-4C55-9E21-0123456789AB</string></array>\
    <key>dsAttrTypeStandard:UniqueID</key><array><string>501</string></array></dict></array></plist>";

fn mac() -> RecordedHost {
    let accounts = RecordedCommand {
        code: Some(0),
        stdout: ACCOUNTS.as_bytes().to_vec(),
    };
    RecordedHost::new(recording(&[(
        "dscl -plist . -readall /Users GeneratedUID UniqueID",
        accounts,
    )]))
}

fn follow(host: &RecordedHost, scope: &str, policies: &[(&str, Value)]) -> Summary {
    let policies = policies
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let answer = Policies(BTreeMap::from([(scope.to_owned(), policies.collect())]));
    apply(host, Path::new(STATE), "mark", &answer).unwrap()
}

fn settings(host: &RecordedHost, user: Option<u32>, name: &str) -> Preferences {
    let name = name.to_owned();
    host.preferences(&PreferenceDomain { user, name }).unwrap()
}

fn in_force(number: usize) -> Summary {
    Summary {
        in_force: number,
        ..Summary::default()
    }
}

#[test]
fn each_kind_of_value_keeps_its_type() {
    let value = json!({"list": [1, "1", true, 0.5, []], "": {"deep": -7}});
    let mut inner = Preferences::new();
    inner.insert("deep".to_owned(), (-7_i64).into());
    let list = vec![
        1_i64.into(),
        "1".into(),
        true.into(),
        0.5.into(),
        PreferenceValue::Array(Vec::new()),
    ];
    let mut expected = Preferences::new();
    expected.insert("list".to_owned(), PreferenceValue::Array(list));
    expected.insert(String::new(), PreferenceValue::Dictionary(inner));
    assert_eq!(setting(&value), Ok(PreferenceValue::Dictionary(expected)));
    assert_eq!(setting(&json!([null])), Err(ValueError::Null));
    assert_eq!(setting(&json!(u64::MAX)), Err(ValueError::Number));
    assert_eq!(setting(&json!("bell \u{7}")), Err(ValueError::Character(7)));
    assert_eq!(
        setting(&json!({"\u{FFFE}": 1})),
        Err(ValueError::Character(0xFFFE))
    );
    let deep = (0..=MOST_DEPTH).fold(json!(1), |value, _| json!([value]));
    assert_eq!(setting(&deep), Err(ValueError::Depth));
    assert!(setting(&deep[0]).is_ok());
}

#[test]
fn settings_of_the_computer_come_change_and_go() {
    let host = mac();
    let key = "DEFAULTS:com.apple.loginwindow:LoginwindowText";
    let list = "DEFAULTS:/Library/Preferences/com.google.Chrome:URLBlocklist";
    let first = follow(
        &host,
        "machine",
        &[(key, json!("Hello")), (list, json!(["a", "b"]))],
    );
    assert_eq!((first, host.preference_changes()), (in_force(2), 2));
    let chrome = || settings(&host, None, "/Library/Preferences/com.google.Chrome");
    let texts = |texts: &[&str]| PreferenceValue::Array(texts.iter().map(|text| (*text).into()).collect());
    assert_eq!(chrome().get("URLBlocklist"), Some(&texts(&["a", "b"])));

    follow(
        &host,
        "machine",
        &[(key, json!("Hello")), (list, json!(["a", "b"]))],
    );
    assert_eq!(
        host.preference_changes(),
        2,
        "what is there already is not written"
    );

    let next = follow(&host, "machine", &[(list, json!(["c"]))]);
    assert_eq!((next.in_force, next.removed, next.failed), (1, 1, 0));
    assert_eq!(chrome().get("URLBlocklist"), Some(&texts(&["c"])));
    assert!(settings(&host, None, "com.apple.loginwindow").is_empty());
    follow(&host, "machine", &[]);
    assert!(chrome().is_empty());
    assert_eq!(follow(&host, "machine", &[]), Summary::default());
}

#[test]
fn settings_of_a_user_are_his_own_and_need_a_domain() {
    let host = mac();
    let key = "DEFAULTS:com.apple.screensaver:idleTime";
    let guid = format!("{{{}}}", GUID.to_ascii_lowercase());
    assert_eq!(follow(&host, &guid, &[(key, json!(300))]), in_force(1));
    let idle = Some(&PreferenceValue::from(300_i64)).cloned();
    let screensaver = |user| {
        settings(&host, user, "com.apple.screensaver")
            .get("idleTime")
            .cloned()
    };
    assert_eq!((screensaver(Some(501)), screensaver(None)), (idle, None));
    let path = "DEFAULTS:/Library/Preferences/com.apple.screensaver:idleTime";
    let refused = follow(&host, &guid, &[(path, json!(1))]);
    assert_eq!((refused.in_force, refused.removed, refused.failed), (0, 1, 1));
    assert_eq!(screensaver(Some(501)), None);
}

#[test]
fn a_user_without_an_account_here_costs_nothing() {
    let host = mac();
    let stranger = "00000000-0000-0000-0000-000000000001";
    let summary = follow(&host, stranger, &[("DEFAULTS:com.x:k", json!(1))]);
    assert_eq!((summary, host.preference_changes()), (Summary::default(), 0));
}

#[test]
fn one_that_cannot_be_followed_costs_itself_only() {
    let host = mac();
    let policies = [
        ("DEFAULTS:com.x:null", json!(null)),
        ("DEFAULTS:com.x:-int", json!(1)),
        ("DEFAULTS:com.x:good", json!(1)),
        ("REGISTRY:Software\\X:n", json!(1)),
    ];
    let summary = follow(&host, "machine", &policies);
    assert_eq!((summary.in_force, summary.failed), (1, 2));
    assert_eq!(settings(&host, None, "com.x").len(), 1);
    // What was never written is not removed either.
    host.set_preference(
        &PreferenceDomain {
            user: None,
            name: "com.x".into(),
        },
        "null",
        &"somebody else's".into(),
    )
    .unwrap();
    assert_eq!(follow(&host, "machine", &[]).removed, 1);
    assert_eq!(settings(&host, None, "com.x").len(), 1);
}

#[test]
fn what_another_agent_has_applied_is_removed_too() {
    let host = mac();
    let state = br#"{"machine":{"DEFAULTS:com.x:k":"v"},"oco-agent":{"registration":"mark"}}"#;
    host.write_file(Path::new(STATE), state, Visibility::Private)
        .unwrap();
    let name = "com.x".to_owned();
    host.set_preference(&PreferenceDomain { user: None, name }, "k", &"v".into())
        .unwrap();
    assert_eq!(follow(&host, "machine", &[]).removed, 1);
    assert!(settings(&host, None, "com.x").is_empty());
}

#[test]
fn a_value_that_could_not_be_written_is_tried_again() {
    let host = mac();
    let policy = [("DEFAULTS:com.x:k", json!([1]))];
    follow(&host, "machine", &[("DEFAULTS:com.x:other", json!(1))]);
    host.remove_preference(
        &PreferenceDomain {
            user: None,
            name: "com.x".into(),
        },
        "other",
    )
    .unwrap();
    assert_eq!(follow(&host, "machine", &policy).in_force, 1);
    assert_eq!(settings(&host, None, "com.x").len(), 1);
}

proptest! {
    #[test]
    fn what_settings_can_hold_is_read_back_the_same(texts in proptest::collection::vec("\\PC{0,8}", 0..5), number: i64, real: f64) {
        let value = json!({"texts": texts, "number": number, "real": real});
        match setting(&value) {
            Ok(setting) => {
                let mut xml = Vec::new();
                plist::to_writer_xml(&mut xml, &setting).unwrap();
                prop_assert_eq!(plist::from_bytes::<PreferenceValue>(&xml).unwrap(), setting);
            }
            Err(error) => prop_assert!(matches!(error, ValueError::Character(_) | ValueError::Null)),
        }
    }
}
