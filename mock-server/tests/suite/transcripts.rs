//! The recorded exchanges of existing agents and real servers, replayed: same statuses, same answers.
//!
//! Here jobs of containers and of rules share their ids, so some differ: requests are sent with ours, signed again.
//! Left out of the comparison: a 500 that the real server's database answered under load.

use crate::support::{ScriptedKeys, TestServer, send};
use oco_mock_server::ServerGeneration;
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AGENT_KEY: &str = "j2oijn45xofcfg68tfbcj7oliidlz3";
const SERVER_KEY: &str = "3z7ry2fi245dfgy5zhflhm7cv8zetw";
const KEYED_AGENT_KEY: &str = "tdbzbttf358vw49ns46pmwanjgup5h";
const KEYED_SERVER_KEY: &str = "1qq2m1iz5shx61nw5u8wg53b3g5y82";

struct Recorded {
    name: String,
    method: String,
    path: String,
    signature: Option<String>,
    body: Vec<u8>,
    status: u16,
    reason: String,
    answer: Vec<u8>,
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap()
}

fn parse(path: &Path) -> Recorded {
    let bytes = std::fs::read(path).unwrap();
    let middle = find(&bytes, b"\n<<<<<<<<<< RESPONSE");
    let (request, response) = (&bytes[..middle], &bytes[middle + 1..]);
    let head = |part: &[u8]| {
        String::from_utf8(part[find(part, b"\n") + 1..find(part, b"\r\n\r\n")].to_vec()).unwrap()
    };
    let body = |part: &[u8]| part[find(part, b"\r\n\r\n") + 4..].to_vec();
    let request_head = head(request);
    Recorded {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        method: request_head.split(' ').next().unwrap().into(),
        path: request_head.split(' ').nth(1).unwrap().into(),
        signature: request_head
            .lines()
            .find_map(|line| line.strip_prefix("x-oco-agent-signature: "))
            .map(str::to_owned),
        body: body(request).trim_ascii_end().to_vec(),
        status: head(response).split(' ').nth(1).unwrap().parse().unwrap(),
        reason: head(response)
            .lines()
            .next()
            .unwrap()
            .splitn(3, ' ')
            .nth(2)
            .unwrap()
            .into(),
        answer: body(response).trim_ascii_end().to_vec(),
    }
}

fn recorded(folder: &str, count: usize) -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= count);
    files.iter().map(|path| parse(path)).collect()
}

async fn add_package(server: &TestServer, name: &str, procedure: &str, change: Value) {
    let mut package = json!({"name": name, "version": "1", "procedure": procedure});
    package
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    server.create("/packages", package).await;
}

async fn add_deployment(server: &TestServer, packages: Value, change: Value) {
    let mut deployment = json!({"name": "d", "packages": packages, "computers": [1]});
    deployment
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    server.create("/deployments", deployment).await;
}

/// Brings about what the administrator of the real server had done before an exchange of the signed generation.
async fn administer(server: &TestServer, next: &str) {
    let package = async |name, procedure, change| add_package(server, name, procedure, change).await;
    let deploy = async |packages, change| add_deployment(server, packages, change).await;
    if next.starts_with("006") {
        package(
            "hello",
            "sh run.sh",
            json!({"files": [{"name": "run.sh", "content": "ZWNobw=="}], "uninstall_procedure": "echo uninstalled"}),
        )
        .await;
        package("fails", "echo going to fail; exit 3", json!({})).await;
        package("never", "echo never", json!({})).await;
        package(
            "three",
            "echo exit 3 is fine; exit 3",
            json!({"success_codes": "0,3"}),
        )
        .await;
        package("exit", "echo restart", json!({"post_action": 3})).await;
        package("empty", "true", json!({})).await;
        deploy(json!([1]), json!({})).await;
        deploy(json!([2, 3]), json!({"sequence_mode": 1})).await;
        deploy(json!([4]), json!({"priority": 1})).await;
        let computers = server.group("computers", "g", None, &[1]).await;
        let packages = server.group("packages", "g", None, &[6]).await;
        let rule =
            json!({"name": "r", "computer_group": computers, "package_group": packages, "priority": 7});
        server.create("/deployment-rules", rule).await;
        let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890";
        for (username, alphabet, length) in [("localadmin", letters, 15), ("ghostuser", "abcdef123456", 12)] {
            server
                .create(
                    "/password-rules",
                    json!({"username": username, "alphabet": alphabet, "length": length}),
                )
                .await;
        }
        for (log, query) in [
            ("journalctl", r#"{"unit":"ssh.service","priority":"4"}"#),
            ("journalctl", r#"{"identifier":"kernel","grep":"oops [0-9]*5"}"#),
            (
                "System",
                "<QueryList><Query><Select>*[System[(EventID=1130)]]</Select></Query></QueryList>",
            ),
        ] {
            server
                .create("/event-rules", json!({"log": log, "query": query}))
                .await;
        }
    } else if next.starts_with("030") {
        deploy(json!([5]), json!({"restart_timeout": 7})).await;
    } else if next.starts_with("034") {
        let computer = server
            .client("admin:admin", "oco.computer.get", json!({"id": 1}))
            .await
            .unwrap();
        let installed = computer["installed_packages"].as_array().unwrap();
        let hello = installed.iter().find(|row| row["package_id"] == 1).unwrap();
        let data = json!({"name": "u", "installation_ids": [hello["id"]]});
        server
            .client("admin:admin", "oco.job_container.uninstall", data)
            .await
            .unwrap();
    }
}

/// Our ids of jobs whose recorded ones are others.
fn job_ids() -> [(Value, Value); 3] {
    [
        ("dynamic-1".into(), "dynamic-5".into()),
        (5.into(), 6.into()),
        (6.into(), 7.into()),
    ]
}

/// What of an answer must be the same: all but its time and the ids of inserts.
fn comparable(answer: &[u8]) -> Value {
    let mut answer: Value = serde_json::from_slice(answer).unwrap();
    let result = answer["result"].as_object_mut().unwrap();
    assert!(result.remove("timestamp").unwrap().is_number());
    if result["success"]
        .as_str()
        .is_some_and(|id| id.parse::<u64>().is_ok())
    {
        result["success"] = "an id".into();
    }
    answer
}

/// An answer of ours with the recorded ids of jobs.
fn comparable_ours(answer: &[u8]) -> Value {
    let mut answer = comparable(answer);
    if let Some(jobs) = answer["result"]["params"].get_mut("software-jobs") {
        for job in jobs.as_array_mut().unwrap() {
            if let Some((recorded, _)) = job_ids().iter().find(|(_, ours)| *ours == job["id"]) {
                job["id"] = recorded.clone();
            }
        }
    }
    answer
}

#[tokio::test]
async fn every_exchange_is_answered_as_the_real_server_did() {
    let server = TestServer::start_with(|config| {
        config.random = Arc::new(ScriptedKeys::new(&[AGENT_KEY, SERVER_KEY]));
    })
    .await;
    let mut compared = 0;
    for exchange in recorded("../protocol/transcripts/signed", 25) {
        administer(&server, &exchange.name).await;
        let mut request: Value = serde_json::from_slice(&exchange.body).unwrap();
        let (mut body, mut signature) = (exchange.body, exchange.signature.unwrap());
        if let Some(id) = request.pointer_mut("/params/data/job-id")
            && let Some((_, ours)) = job_ids().iter().find(|(recorded, _)| recorded == id)
        {
            *id = ours.clone();
            body = request.to_string().into_bytes();
            signature = signature::sign(&Key::new(AGENT_KEY), &body);
        }
        let sent_at = request["params"]["timestamp"].as_f64().unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        server.clock.set_micros((sent_at * 1e6) as u64);
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", signature.as_str()),
        ];
        let response = send(server.addr, &exchange.method, "/api-agent.php", &headers, &body).await;
        let name = &exchange.name;
        if exchange.status == 500 {
            assert_eq!(response.status, 200, "{name}");
            continue;
        }
        assert_eq!(response.status, exchange.status, "{name}: {}", response.text());
        compared += 1;
        if request["method"] == "oco.agent.download" {
            assert_eq!(
                response.header("content-disposition"),
                Some("attachment; filename=\"1.zip\"")
            );
            continue;
        }
        assert_eq!(
            response.header("content-type"),
            Some("application/json"),
            "{name}"
        );
        assert_eq!(
            comparable_ours(&response.body),
            comparable(&exchange.answer),
            "{name}"
        );
        let signature = response.header("x-oco-server-signature").unwrap();
        assert!(
            signature::verify(&Key::new(SERVER_KEY), &response.body, signature),
            "{name}"
        );
    }
    assert!(compared >= 27, "only {compared} exchanges were compared");
    assert_eq!(server.get("/jobs?state=failed").await["total"], 2);
    crate::conformance::assert_only(&server, &[]).await;
}

#[tokio::test]
async fn every_exchange_with_the_server_of_2022_is_answered_alike() {
    let server = TestServer::start_with(|config| {
        config.random = Arc::new(ScriptedKeys::new(&[KEYED_AGENT_KEY, KEYED_SERVER_KEY]));
        config.server_generation = ServerGeneration::September2022;
    })
    .await;
    for exchange in recorded("tests/transcripts/keyed", 11) {
        let name = &exchange.name;
        if name.starts_with("004") {
            let files = json!({"files": [{"name": "run.sh", "content": "ZWNobw=="}]});
            add_package(&server, "hello", "sh run.sh", files).await;
            add_package(&server, "fails", "echo fail; exit 3", json!({})).await;
            add_package(&server, "never", "echo never", json!({})).await;
            add_deployment(&server, json!([1]), json!({})).await;
            add_deployment(&server, json!([2, 3]), json!({"sequence_mode": 1})).await;
        }
        let mut headers = vec![("content-type", "application/json")];
        // That of an agent of today, which this server does not understand.
        headers.extend(
            exchange
                .signature
                .iter()
                .map(|signature| ("x-oco-agent-signature", signature.as_str())),
        );
        if exchange.body.is_empty() {
            headers.clear();
        }
        let response = send(
            server.addr,
            &exchange.method,
            &exchange.path,
            &headers,
            &exchange.body,
        )
        .await;
        assert_eq!(
            (response.status, response.reason()),
            (exchange.status, exchange.reason.as_str()),
            "{name}"
        );
        assert_eq!(response.header("x-oco-server-signature"), None, "{name}");
        if exchange.method == "GET" {
            let disposition = response.header("content-disposition");
            assert_eq!(disposition, Some("attachment; filename=\"1.zip\""), "{name}");
        } else if exchange.status == 200 {
            let recorded: Value = serde_json::from_slice(&exchange.answer).unwrap();
            assert_eq!(response.json(), recorded, "{name}");
        } else {
            assert_eq!(response.text(), "", "{name}");
        }
    }
    let jobs = server.get("/jobs").await;
    let ends: Vec<_> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["return_code"])
        .collect();
    assert_eq!(ends, [&json!(0), &json!(3), &json!(-8888)]);
    crate::conformance::assert_only(&server, &[]).await;
}
