//! Policies in JSON files: after a policy is set the file says so and nothing else has changed, and after it is removed the
//! file says what it said before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oco_agent::host::Host;
use oco_agent::host::recorded::RecordedHost;
use oco_agent::policies::apply;
use oco_fuzz::{machine_with, parts};
use oco_protocol::policy::Policies;
use serde_json::{Value, json};
use std::path::Path;

const FILE: &str = "/etc/app/policies.json";
const STATE: &str = "/var/lib/oco-agent/policies.json";

fuzz_target!(|bytes: &[u8]| {
    let [content, members, value] = parts(bytes);
    let (members, value) = (String::from_utf8_lossy(members), String::from_utf8_lossy(value));
    let host = RecordedHost::new(machine_with(FILE, content));
    let before = serde_json::from_slice::<Value>(content);
    let summary = follow(
        &host,
        json!({"machine": {format!("JSON:{FILE}:{members}"): value}}),
    );
    if summary.failed > 0 {
        assert_eq!(host.read_file(Path::new(FILE)).expect("the file"), content);
        return;
    }
    let after = parsed(&host);
    let names: Vec<&str> = members.split('\\').collect();
    let set = names.iter().try_fold(&after, |object, name| object.get(name));
    let wanted = serde_json::from_str(&value).unwrap_or_else(|_| Value::from(&*value));
    assert_eq!(set, Some(&wanted));
    if let Ok(before) = &before {
        assert_eq!(without(after, &names), without(before.clone(), &names));
    }

    follow(&host, json!({"machine": []}));
    if let Ok(before) = before {
        let left = host
            .read_file(Path::new(FILE))
            .map_or(json!({}), |_| parsed(&host));
        assert_eq!(without(left.clone(), &names), without(before, &names));
        assert_eq!(
            names.iter().try_fold(&left, |object, name| object.get(name)),
            None
        );
    }
});

fn follow(host: &RecordedHost, policies: Value) -> oco_agent::policies::Summary {
    let policies: Policies = serde_json::from_value(policies).expect("policies");
    apply(host, Path::new(STATE), "registration", &policies).expect("memory takes everything")
}

fn parsed(host: &RecordedHost) -> Value {
    let content = host.read_file(Path::new(FILE)).expect("the file");
    serde_json::from_slice(&content).expect("a file with policies is JSON")
}

/// The value without a member, and without the objects that would be empty without it.
fn without(mut value: Value, names: &[&str]) -> Value {
    if let (Some(object), Some((name, inner))) = (value.as_object_mut(), names.split_first())
        && let Some(member) = object.remove(*name)
        && !inner.is_empty()
    {
        let rest = without(member, inner);
        if rest != json!({}) {
            object.insert((*name).to_owned(), rest);
        }
    }
    value
}
