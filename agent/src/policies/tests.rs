use super::*;
use crate::host::Kernel;
use crate::host::recorded::{Machine, RecordedHost, Recording};
use proptest::prelude::*;
use serde_json::json;

const STATE: &str = "/var/lib/oco-agent/policies.json";
const FILE: &str = "/etc/opt/browser/managed.json";

fn host(files: &[(&str, &str)]) -> RecordedHost {
    let mut recording = Recording::new(Machine {
        os: Os::Linux,
        hostname: "pc".into(),
        kernel: Kernel {
            release: "6.1".into(),
            machine: "x86_64".into(),
        },
        uptime_s: 1.0,
        now: "2026-11-22T06:00:00Z".into(),
        interfaces: Vec::new(),
        spaces: BTreeMap::new(),
        unreadable: vec!["/etc/secret.json".into()],
    });
    recording.links.insert("/etc/link.json".into(), FILE.into());
    for (path, content) in files {
        let content = content.as_bytes().to_vec();
        recording.files.insert((*path).to_owned(), content);
    }
    RecordedHost::new(recording)
}

fn answer(policies: &[(&str, Value)]) -> Policies {
    let machine: ScopePolicies = policies
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    Policies(BTreeMap::from([(MACHINE_SCOPE.to_owned(), machine)]))
}

fn key(members: &str) -> String {
    format!("JSON:{FILE}:{members}")
}

fn content(host: &RecordedHost, path: &str) -> Option<String> {
    host.read_file(Path::new(path))
        .ok()
        .map(|content| String::from_utf8(content).unwrap())
}

fn follow(host: &RecordedHost, policies: &[(&str, Value)]) -> Summary {
    apply(host, Path::new(STATE), "mark", &answer(policies)).unwrap()
}

#[test]
fn what_is_not_sent_any_longer_is_removed_only_after_an_answer_under_this_registration() {
    let policies =
        |keys: &[&str]| -> ScopePolicies { keys.iter().map(|key| ((*key).to_owned(), json!(1))).collect() };
    let remove = |key: &str| Change::Remove { key: key.into() };
    let set = |key: &str| Change::Set {
        key: key.into(),
        value: json!(1),
    };
    assert_eq!(
        decide(&policies(&["a", "b"]), &policies(&["b", "c"]), true),
        [remove("a"), set("b"), set("c")]
    );
    assert_eq!(
        decide(&policies(&["a", "b"]), &policies(&["b"]), false),
        [set("b")]
    );
    assert_eq!(decide(&policies(&["a"]), &policies(&[]), false), []);
    assert_eq!(decide(&policies(&["a"]), &policies(&[]), true), [remove("a")]);
}

#[test]
fn a_new_registration_keeps_policies_until_its_second_answer() {
    let host = host(&[]);
    let policy = key("Homepage");
    follow(&host, &[(&policy, json!("https://example.org"))]);
    let under = |mark: &str, policies: &[(&str, Value)]| {
        apply(&host, Path::new(STATE), mark, &answer(policies)).unwrap()
    };
    assert_eq!(under("new mark", &[]), Summary::default());
    assert!(content(&host, FILE).is_some());
    assert_eq!(under("new mark", &[]).removed, 1);
    assert_eq!(content(&host, FILE), None);
}

#[test]
fn a_file_that_no_policy_can_be_put_into_stays_to_the_letter() {
    for before in ["\n5", " [1]\n\n", "\n\"text\"  "] {
        let host = host(&[(FILE, before)]);
        let summary = follow(&host, &[(&key("Homepage"), json!("https://example.org"))]);
        assert_eq!((summary.in_force, summary.failed), (0, 1), "{before:?}");
        assert_eq!(content(&host, FILE).unwrap(), before);
    }
}

#[test]
fn marks_differ_by_key_and_do_not_show_it() {
    let mark = registration_mark(&Key::new("agent-key-of-a-test"));
    assert_eq!(mark.len(), MARK_LENGTH);
    assert_ne!(mark, registration_mark(&Key::new("another-key")));
}

#[test]
fn policies_are_merged_and_removed_again_without_a_trace() {
    let before = "{\n  \"theirs\": {\"kept\": 1},\n  \"more\": 2.50\n}\n";
    let host = host(&[(FILE, before)]);
    let (inner, list) = (key(r"theirs\ours\Max"), key("List"));
    let summary = follow(
        &host,
        &[
            (&inner, json!("7")),
            (&list, json!(["a"])),
            ("REGISTRY:X:y", json!(1)),
        ],
    );
    assert_eq!((summary.in_force, summary.failed), (2, 0));
    let after: Value = serde_json::from_str(&content(&host, FILE).unwrap()).unwrap();
    assert_eq!(
        after,
        json!({"theirs": {"kept": 1, "ours": {"Max": 7}}, "more": 2.5, "List": ["a"]})
    );
    assert_eq!(host.written(Path::new(FILE)), Some(Visibility::AsBefore));
    assert_eq!(host.written(Path::new(STATE)), Some(Visibility::Private));
    assert_eq!(follow(&host, &[]).removed, 2);
    let after: Value = serde_json::from_str(&content(&host, FILE).unwrap()).unwrap();
    assert_eq!(after, json!({"theirs": {"kept": 1}, "more": 2.50}));
    assert!(content(&host, FILE).unwrap().contains("2.50"));
}

#[test]
fn a_file_that_policies_made_goes_with_the_last_of_them() {
    let host = host(&[]);
    let (a, b) = (key(r"policies\A"), key(r"policies\B"));
    follow(&host, &[(&a, json!(1)), (&b, json!(2))]);
    follow(&host, &[(&b, json!(2))]);
    assert_eq!(
        content(&host, FILE).as_deref(),
        Some("{\n    \"policies\": {\n        \"B\": 2\n    }\n}\n")
    );
    follow(&host, &[]);
    assert_eq!(content(&host, FILE), None);
    let state: Value = serde_json::from_str(&content(&host, STATE).unwrap()).unwrap();
    assert_eq!(
        (&state["machine"], &state["oco-agent"]["created"]),
        (&json!({}), &json!({}))
    );
}

#[test]
fn a_file_that_somebody_added_to_stays() {
    let host = host(&[]);
    let policy = key("A");
    follow(&host, &[(&policy, json!(1))]);
    host.write_file(Path::new(FILE), b"{\"A\":1,\"mine\":2}", Visibility::AsBefore)
        .unwrap();
    follow(&host, &[]);
    assert_eq!(content(&host, FILE).as_deref(), Some("{\"mine\":2}"));
}

#[test]
fn a_policy_that_cannot_be_followed_costs_itself_only() {
    let host = host(&[("/etc/broken.json", "{"), (FILE, "{\"a\": 5}")]);
    let good = key("good");
    let (bad, worse) = (key(r"a\b"), "JSON:relative.json:a");
    let summary = follow(
        &host,
        &[
            (&bad, json!(1)),
            ("JSON:/etc/broken.json:a", json!(1)),
            ("JSON:/etc/link.json:a", json!(1)),
            ("JSON:/etc/secret.json:a", json!(1)),
            (worse, json!(1)),
            (&good, json!(true)),
        ],
    );
    assert_eq!(
        summary,
        Summary {
            in_force: 1,
            removed: 0,
            failed: 5
        }
    );
    assert_eq!(
        content(&host, FILE).as_deref(),
        Some("{\"a\": 5, \"good\": true}")
    );
    assert_eq!(content(&host, "/etc/broken.json").as_deref(), Some("{"));
    // Nothing of what failed is taken for applied.
    assert_eq!(follow(&host, &[]).removed, 1);
    assert_eq!(content(&host, FILE).as_deref(), Some("{\"a\": 5}"));
}

#[test]
fn a_policy_may_take_the_place_of_another_one() {
    let host = host(&[]);
    let (outer, inner) = (key("a"), key(r"a\b"));
    follow(&host, &[(&outer, json!(1))]);
    assert_eq!(follow(&host, &[(&inner, json!(2))]).failed, 0);
    let after: Value = serde_json::from_str(&content(&host, FILE).unwrap()).unwrap();
    assert_eq!(after, json!({"a": {"b": 2}}));
}

#[test]
fn policies_of_users_and_damaged_or_older_state_do_no_harm() {
    let damaged = host(&[(STATE, "\0\0\0")]);
    let mut policies = answer(&[]);
    let user = ScopePolicies::from([(key("a"), json!(1))]);
    policies.0.insert("{1B2C}".into(), user);
    let summary = apply(&damaged, Path::new(STATE), "mark", &policies).unwrap();
    assert_eq!(summary, Summary::default());
    assert_eq!(content(&damaged, FILE), None);

    let policy = key("a");
    let older = json!({"machine": {&policy: 1}, "{1B2C}": {"x": 1}}).to_string();
    let older = host(&[(STATE, &older), (FILE, "{\"a\":1}")]);
    assert_eq!(follow(&older, &[(&policy, json!(1))]).in_force, 1);
    assert_eq!(follow(&older, &[]).removed, 1);
    assert_eq!(content(&older, FILE).as_deref(), Some("{}"));
    let state: Value = serde_json::from_str(&content(&older, STATE).unwrap()).unwrap();
    assert_eq!(state["{1B2C}"], json!({"x": 1}));
}

#[test]
fn computers_without_policies_keep_no_file() {
    let host = host(&[]);
    follow(&host, &[]);
    follow(&host, &[]);
    assert_eq!(content(&host, STATE), None);
}

proptest! {
    #[test]
    fn whatever_was_applied_leaves_no_trace(
        paths in proptest::collection::btree_set("[a-c](\\\\[a-c]){0,2}", 0..5), existing: bool,
    ) {
        let before = "{\n\t\"theirs\": [1, 2],\n\t\"d\": {}\n}\n";
        let files: &[(&str, &str)] = if existing { &[(FILE, before)] } else { &[] };
        let host = host(files);
        let keys: Vec<String> = paths.iter().map(|path| key(path)).collect();
        let policies: Vec<(&str, Value)> = keys.iter().map(|key| (key.as_str(), json!(1))).collect();
        follow(&host, &policies);
        follow(&host, &[]);
        prop_assert_eq!(content(&host, FILE), existing.then(|| before.to_owned()));
    }
}
