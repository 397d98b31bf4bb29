//! The recorded exchanges of the client API, replayed: same statuses, same codes, same shapes.
//!
//! The state of the recorded server is brought about first. Ids differ, so requests are sent with ours.

use crate::support::{API_KEY, TestAgent, TestServer, send};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Our ids by those of the recording: (what it is, recorded id) -> ours.
type Ids = BTreeMap<(&'static str, i64), i64>;

fn recorded() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/client-api");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 48);
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (
            name,
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(),
        )
    };
    files.iter().map(read).collect()
}

/// A computer with an inventory and an installed package, and one that never came.
async fn prepare(server: &TestServer) -> Ids {
    let mut agent = TestAgent::registered(server, "vm").await;
    let inventory = json!({"os": "Debian GNU/Linux", "os_version": "12", "ram": 25_276_502_016_i64,
        "networks": [{"addr": "-", "netmask": "-", "broadcast": "-", "mac": "1e:26:69:94:4f:90", "interface": "ifb0"}],
        "screens": [], "printers": [],
        "partitions": [{"device": "/dev/vda", "mountpoint": "/", "filesystem": "ext4", "size": 97_572_749_312_i64,
            "free": 57_395_318_784_i64, "name": "", "uuid": "", "encrypted": false}],
        "software": [{"name": "adduser", "version": "3.134", "description": ""}],
        "logins": [{"guid": "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "display_name": "Alice", "username": "alice",
            "console": "pts/0", "timestamp": "2026-11-22 06:00:00"}]});
    let prereg = json!({"hostname": "prereg-pc", "notes": "pre-registered"});
    server
        .client("admin:admin", "oco.computer.create", prereg)
        .await
        .unwrap();
    let packages = [
        server.package("EmptyProc", "0").await,
        server.package("AfterFail", "0").await,
    ];
    let computers = server.group("computers", "TestGroup", None, &[1]).await;
    let group = server.group("packages", "RulePkgs", None, &packages[..1]).await;
    let rule = json!({"name": "Rule1", "computer_group": computers, "package_group": group, "priority": 7});
    let rule = server.create("/deployment-rules", rule).await["id"]
        .as_i64()
        .unwrap();
    for job in agent.jobs(server).await {
        assert!(agent.report(server, &job, 3, Some(0)).await);
    }
    agent.ask(server, "update", inventory).await;
    Ids::from([
        (("computer", 5), 1),
        (("computer_group", 1), computers),
        (("package_group", 1), group),
        (("rule", 1), rule),
        (("report", 8), 8),
    ])
}

/// What an id in a request is about.
fn kind(method: &str, field: &str) -> &'static str {
    match (field, method) {
        ("computer_id" | "computer_ids", _) => "computer",
        ("package_id" | "package_ids", _) => "package",
        ("computer_group_id", _) => "computer_group",
        ("package_group_id", _) => "package_group",
        ("package_family_id", _) => "family",
        ("id", "oco.job_container.job.remove") => "job",
        ("id", method) if method.starts_with("oco.job_container") => "container",
        ("id", method) if method.starts_with("oco.computer") => "computer",
        ("id", method) if method.starts_with("oco.package") => "package",
        ("id", method) if method.starts_with("oco.deployment_rule") => "rule",
        ("id", method) if method.starts_with("oco.report") => "report",
        _ => "",
    }
}

/// Puts our ids in the place of the recorded ones, as the same type.
fn translate(ids: &Ids, kind: &'static str, value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| translate(ids, kind, item)),
        Value::Number(number) => {
            if let Some(id) = ids.get(&(kind, number.as_i64().unwrap_or(0))) {
                *value = json!(id);
            }
        }
        Value::String(text) => {
            if let Some(id) = text.parse().ok().and_then(|id| ids.get(&(kind, id))) {
                *value = json!(id.to_string());
            }
        }
        _ => {}
    }
}

/// Remembers the ids of what was created.
fn learn(ids: &mut Ids, name: &str, answer: &Value) {
    let created = || answer["result"]["data"]["id"].as_str().unwrap().parse().unwrap();
    match &name[..2] {
        "11" => drop(ids.insert(("computer", 693), created())),
        "19" => {
            ids.insert(("package", 7), created());
            // Its family is as new as it is, and the third one here.
            ids.insert(("family", 7), 3);
        }
        "28" => drop(ids.insert(("container", 11), created())),
        "35" => {
            let jobs = answer["result"]["data"].as_array().unwrap();
            let job = jobs.iter().find(|job| job["computer_id"] == 1).unwrap();
            ids.insert(("job", 33), job["id"].as_i64().unwrap());
        }
        _ => {}
    }
}

/// Types and keys; what is null on either side may be anything.
fn assert_same_shape(name: &str, path: &str, ours: &Value, recorded: &Value) {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            let keys = |entries: &serde_json::Map<String, Value>| entries.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(ours), keys(recorded), "{name}: {path}");
            for (key, value) in ours {
                assert_same_shape(name, &format!("{path}.{key}"), value, &recorded[key]);
            }
        }
        (Value::Array(ours), Value::Array(recorded)) => {
            assert_eq!(ours.is_empty(), recorded.is_empty(), "{name}: {path}");
            for item in ours {
                assert_same_shape(name, &format!("{path}[]"), item, &recorded[0]);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (ours, recorded) => assert_eq!(
            std::mem::discriminant(ours),
            std::mem::discriminant(recorded),
            "{name}: {path}: {ours} for {recorded}"
        ),
    }
}

#[tokio::test]
async fn every_exchange_of_the_client_api_is_answered_alike() {
    let server = TestServer::start().await;
    let mut ids = prepare(&server).await;
    for (name, exchange) in recorded() {
        let request = &exchange["request"];
        let mut body = request["body"].clone();
        if body["params"]["api_key"] == "clientapikey-test" {
            body["params"]["api_key"] = API_KEY.into();
        }
        let method = body["method"].as_str().unwrap_or_default().to_owned();
        if let Some(data) = body.pointer_mut("/params/data").and_then(Value::as_object_mut) {
            for (field, value) in data {
                translate(&ids, kind(&method, field), value);
            }
        }
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let authorization = request["basic"]
            .as_str()
            .map(|basic| format!("Basic {}", STANDARD.encode(basic)));
        let mut headers = vec![("content-type", request["content_type"].as_str().unwrap())];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let response = send(server.addr, "POST", "/api-client.php", &headers, body.as_bytes()).await;
        assert_eq!(response.status, exchange["status"], "{name}: {}", response.text());
        assert_eq!(
            response.header("content-type"),
            exchange["content_type"].as_str(),
            "{name}"
        );
        let recorded = &exchange["response"];
        if let Some(text) = recorded.as_str() {
            assert_eq!(response.text(), text, "{name}");
            continue;
        }
        let answer = response.json();
        assert_eq!(
            answer["error"]["code"], recorded["error"]["code"],
            "{name}: {answer}"
        );
        assert_same_shape(&name, "", &answer, recorded);
        learn(&mut ids, &name, &answer);
    }
}
