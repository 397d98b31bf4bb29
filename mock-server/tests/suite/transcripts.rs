//! The recorded exchanges of an existing agent and a real server, replayed: same statuses, same answers.
//!
//! Left out of the comparison: jobs of deployment rules, which this server does not make (their reports are refused),
//! and a 500 that the real server's database answered under load.

use crate::support::{ScriptedKeys, TestServer, send};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AGENT_KEY: &str = "j2oijn45xofcfg68tfbcj7oliidlz3";
const SERVER_KEY: &str = "3z7ry2fi245dfgy5zhflhm7cv8zetw";

struct Recorded {
    name: String,
    method: String,
    signature: String,
    body: Vec<u8>,
    status: u16,
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
        signature: request_head
            .lines()
            .find_map(|line| line.strip_prefix("x-oco-agent-signature: "))
            .unwrap()
            .into(),
        body: body(request),
        status: head(response).split(' ').nth(1).unwrap().parse().unwrap(),
        answer: body(response).trim_ascii_end().to_vec(),
    }
}

fn recorded() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/transcripts/signed");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 25);
    files.iter().map(|path| parse(path)).collect()
}

/// Brings about what the administrator of the real server had done before an exchange.
async fn administer(server: &TestServer, next: &str) {
    let package = async |name: &str, procedure: &str, change: Value| {
        let mut package = json!({"name": name, "version": "1", "procedure": procedure});
        package
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        server.create("/packages", package).await;
    };
    let deploy = async |package: Value, change: Value| {
        let mut deployment = json!({"name": "d", "packages": package, "computers": [1]});
        deployment
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        server.create("/deployments", deployment).await;
    };
    if next.starts_with("006") {
        package(
            "hello",
            "sh run.sh",
            json!({"files": [{"name": "run.sh", "content": "ZWNobw=="}]}),
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
        package("uninstall", "echo uninstalled", json!({})).await;
        deploy(json!([1]), json!({})).await;
        deploy(json!([2, 3]), json!({"sequence_mode": 1})).await;
        deploy(json!([4]), json!({"priority": 1})).await;
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
        deploy(json!([6]), json!({})).await;
    }
}

/// What of an answer must be the same: all but its time, the ids of inserts, and jobs of deployment rules.
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
    if let Some(jobs) = result["params"].get_mut("software-jobs") {
        let jobs = jobs.as_array_mut().unwrap();
        jobs.retain(|job| job["id"].is_number());
        for job in jobs {
            job["package-id"] = job["package-id"].is_number().into();
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
    for exchange in recorded() {
        administer(&server, &exchange.name).await;
        let request: Value = serde_json::from_slice(&exchange.body).unwrap();
        let sent_at = request["params"]["timestamp"].as_f64().unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        server.clock.set_micros((sent_at * 1e6) as u64);
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", exchange.signature.as_str()),
        ];
        let response = send(
            server.addr,
            &exchange.method,
            "/api-agent.php",
            &headers,
            &exchange.body,
        )
        .await;
        let name = &exchange.name;
        if request["params"]["data"]["job-id"] == "dynamic-1" {
            assert_eq!(
                (response.status, response.text().as_str()),
                (400, "Job »dynamic-1« not found"),
                "{name}"
            );
            continue;
        }
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
        assert_eq!(comparable(&response.body), comparable(&exchange.answer), "{name}");
        let signature = response.header("x-oco-server-signature").unwrap();
        assert!(
            signature::verify(&Key::new(SERVER_KEY), &response.body, signature),
            "{name}"
        );
    }
    assert!(compared >= 25, "only {compared} exchanges were compared");
    assert_eq!(server.get("/jobs?state=failed").await["total"], 2);
    // Deployment rules are not made here, so reports about their jobs are refused.
    crate::conformance::assert_only(&server, &["job.unknown"]).await;
}
