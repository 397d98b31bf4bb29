//! The faults that the tests commit, and all that there are, by the server's own description of them.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Faults that an agent does not mind.
pub(super) fn harmless() -> Vec<Value> {
    vec![
        json!({"kind": "delay", "distribution": "fixed", "ms": 200}),
        json!({"kind": "delay", "distribution": "uniform", "min": 1, "max": 200}),
        json!({"kind": "delay", "distribution": "log-normal", "median": 20, "sigma": 0.5}),
        json!({"kind": "bandwidth", "bytes_per_second": 1000}),
        json!({"kind": "dribble", "bytes": 20, "every_ms": 20}),
        json!({"kind": "reset", "at": "after"}),
        json!({"kind": "idle", "at": "after"}),
        json!({"kind": "oversized", "bytes": 100_000, "signed": true}),
        json!({"kind": "content-type", "value": "text/html"}),
        // A server's key that is stored is never replaced.
        json!({"kind": "key-change", "keys": "server"}),
    ]
}

/// Faults of servers and networks, and what an agent says of each.
pub(super) fn costly() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"kind": "status", "code": 503, "retry_after": 5, "body": "busy"}),
            "status 503",
        ),
        (json!({"kind": "status", "code": 500}), "status 500"),
        (
            json!({"kind": "reset", "at": "request"}),
            "the connection was reset",
        ),
        (
            json!({"kind": "reset", "at": "before"}),
            "the connection was reset",
        ),
        (json!({"kind": "reset", "at": "in"}), "the connection was reset"),
        (json!({"kind": "idle", "at": "request"}), "did not answer in time"),
        (json!({"kind": "idle", "at": "before"}), "did not answer in time"),
        (json!({"kind": "idle", "at": "in"}), "did not answer in time"),
        (
            json!({"kind": "refuse", "for_ms": 300}),
            "the connection was reset",
        ),
        (json!({"kind": "restart", "for_ms": 300}), "oco.agent.hello"),
    ]
}

/// Answers that are not genuine or make no sense, and what an agent says of each.
pub(super) fn unusable() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"kind": "json", "is": "truncated"}), "not trusted"),
        (json!({"kind": "json", "is": "garbage"}), "not trusted"),
        (
            json!({"kind": "json", "is": "truncated", "signed": true}),
            "makes no sense",
        ),
        (
            json!({"kind": "json", "is": "garbage", "signed": true}),
            "makes no sense",
        ),
        (
            json!({"kind": "oversized", "bytes": 9_000_000, "signed": true}),
            "longer than 8388608 bytes",
        ),
        (
            json!({"kind": "oversized", "bytes": 100_000}),
            "does not fit the server key",
        ),
        (
            json!({"kind": "signature", "is": "wrong"}),
            "does not fit the server key",
        ),
        (
            json!({"kind": "signature", "is": "missing"}),
            "carries no signature",
        ),
        (
            json!({"kind": "signature", "is": "other-agent"}),
            "does not fit the server key",
        ),
        (json!({"kind": "timestamp", "is": "replayed"}), "is not newer"),
        (json!({"kind": "timestamp", "is": "equal"}), "is not newer"),
        (json!({"kind": "timestamp", "is": "backward"}), "is not newer"),
        (json!({"kind": "timestamp", "is": "absent"}), "makes no sense"),
    ]
}

/// Oddities of jobs, what becomes of the job, its return code, and how often it runs.
pub(super) const ODD_JOBS: [(&str, &str, i64, usize); 3] = [
    ("unknown-job-fields", "succeeded", 0, 1),
    ("duplicate-jobs", "succeeded", 0, 1),
    ("foreign-job", "failed", 127, 0),
];

/// Faults of packages, and what an agent says of each.
pub(super) const BAD_PACKAGES: [(&str, &str); 7] = [
    ("truncated", "not a complete ZIP archive"),
    ("corrupt", "not a complete ZIP archive"),
    ("zip-bomb", "unpacks to more than"),
    ("parent-entry", "leads out of its folder"),
    ("absolute-entry", "leads out of its folder"),
    ("link-entry", "is a link"),
    ("wrong-length", "ended early"),
];

/// The fault of packages that befalls only who asks for a part of one.
pub(super) const RANGE_IGNORED: &str = "range-ignored";

/// Changes of keys that an agent follows, as the server proves that they are its own.
pub(super) const KEYS_TAKEN: [&str; 2] = ["agent", "both"];

/// The fault that changes these keys.
pub(super) fn key_change(keys: &str) -> Value {
    json!({"kind": "key-change", "keys": keys})
}

/// This fault of a package.
pub(super) fn package(is: &str) -> Value {
    json!({"kind": "package", "is": is})
}

/// All faults that the tests commit.
pub(super) fn all() -> Vec<Value> {
    let named = costly().into_iter().chain(unusable()).map(|(fault, _)| fault);
    let jobs = ODD_JOBS.iter().map(|(kind, ..)| json!({ "kind": kind }));
    let packages = BAD_PACKAGES.iter().map(|(is, _)| package(is));
    harmless()
        .into_iter()
        .chain(named)
        .chain(jobs)
        .chain(packages)
        .chain(KEYS_TAKEN.map(key_change))
        .chain([package(RANGE_IGNORED)])
        .collect()
}

/// What a fault is called here: its kind and the way that was chosen.
pub(super) fn name_of(fault: &Value) -> String {
    let ways = ["distribution", "at", "is", "keys"].map(|way| fault[way].as_str());
    let words = std::iter::once(fault["kind"].as_str()).chain(ways).flatten();
    words.collect::<Vec<_>>().join(" ")
}

/// The same of all faults in the description of the server's REST surface.
pub(super) fn committable() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&oco_mock_server::openapi()).unwrap();
    let fault = resolved(
        &document,
        &document["components"]["schemas"]["FaultRule"]["properties"]["fault"],
    );
    let variants = fault["oneOf"].as_array().unwrap().iter();
    let names = variants.flat_map(|variant| {
        let mut choices = choices(&document, variant);
        let kind = choices.remove("kind").unwrap().pop_first().unwrap();
        let ways: BTreeSet<_> = choices.into_values().flatten().collect();
        match ways.is_empty() {
            true => vec![kind],
            false => ways.iter().map(|way| format!("{kind} {way}")).collect(),
        }
    });
    names.collect()
}

/// The fields of a schema that take one of some texts, and these.
fn choices(document: &Value, schema: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let schema = resolved(document, schema);
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let texts = texts(document, field);
        if !texts.is_empty() {
            found.entry(name.clone()).or_default().extend(texts);
        }
    }
    for part in parts(schema) {
        for (name, texts) in choices(document, part) {
            found.entry(name).or_default().extend(texts);
        }
    }
    found
}

/// The texts that a schema allows, where it lists them.
fn texts(document: &Value, schema: &Value) -> BTreeSet<String> {
    let schema = resolved(document, schema);
    let listed = schema["enum"].as_array().into_iter().flatten();
    let own = listed.filter_map(|text| text.as_str().map(str::to_owned));
    own.chain(parts(schema).flat_map(|part| texts(document, part)))
        .collect()
}

/// What a schema is made of, together or one of them.
fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let parts = ["allOf", "oneOf"].map(|name| schema[name].as_array());
    parts.into_iter().flatten().flatten()
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}
