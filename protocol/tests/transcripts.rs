//! Every exchange in `transcripts`, recorded between existing agents and real servers, as a test vector: signatures
//! verify over the exact bytes, every body parses into our types, and nothing is lost on the way back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use oco_protocol::inventory::Inventory;
use oco_protocol::job::{JobReport, JobReportAnswer};
use oco_protocol::password::PasswordsData;
use oco_protocol::policy::UpdateAnswer;
use oco_protocol::rpc::{
    DownloadParams, EventsData, HelloAnswer, HelloData, Method, Params, Request, Response,
};
use oco_protocol::{Key, keyed, signature};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const REGISTRATION_KEY: &str = "regkey-test-0123456789";
const AGENT_KEY: &str = "j2oijn45xofcfg68tfbcj7oliidlz3";
const SERVER_KEY: &str = "3z7ry2fi245dfgy5zhflhm7cv8zetw";

struct Message {
    start_line: String,
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Splits a recorded file into request and response. The body ends before the newline of the next marker line.
fn exchange(path: &Path) -> (Message, Message) {
    let text = fs::read(path).unwrap();
    let at = find(&text, b"\n<<<<<<<<<< RESPONSE").unwrap();
    (message(&text[..at]), message(&text[at + 1..]))
}

fn message(part: &[u8]) -> Message {
    let start = find(part, b"\n").unwrap() + 1;
    let split = find(part, b"\r\n\r\n").unwrap();
    let head = String::from_utf8(part[start..split].to_vec()).unwrap();
    let mut body = part[split + 4..].to_vec();
    if body.last() == Some(&b'\n') {
        body.pop();
    }
    Message {
        start_line: head.lines().next().unwrap().to_owned(),
        head,
        body,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn recorded() -> Vec<PathBuf> {
    let files = files("signed");
    assert!(files.len() >= 20, "transcripts are missing: {files:?}");
    files
}

fn files(generation: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("transcripts")
        .join(generation);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Parses a body; what it says is all in what is written again.
fn survives<T: Serialize + DeserializeOwned>(body: &[u8], file: &Path) -> T {
    let typed: T = serde_json::from_slice(body).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let before: Value = serde_json::from_slice(body).unwrap();
    let after = serde_json::to_value(&typed).unwrap();
    assert!(
        same(&before, &after),
        "{}: {before} became {after}",
        file.display()
    );
    typed
}

/// Equality in which an empty list and an empty object are the same, as they are to a PHP server.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(list), Value::Object(map)) | (Value::Object(map), Value::Array(list)) => {
            list.is_empty() && map.is_empty()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn every_signature_verifies_over_the_exact_bytes() {
    for file in recorded() {
        let (request, response) = exchange(&file);
        let key = if file.to_string_lossy().contains("001-") {
            REGISTRATION_KEY
        } else {
            AGENT_KEY
        };
        let signature = request.header(signature::AGENT_SIGNATURE_HEADER).unwrap();
        assert!(
            signature::verify(&Key::new(key), &request.body, signature),
            "{}",
            file.display()
        );
        match response.header(signature::SERVER_SIGNATURE_HEADER) {
            Some(signature) => {
                assert!(
                    signature::verify(&Key::new(SERVER_KEY), &response.body, signature),
                    "{}",
                    file.display()
                );
            }
            None => assert!(
                !response.start_line.contains("200") || file.to_string_lossy().contains("download"),
                "only errors and downloads are unsigned: {}",
                file.display()
            ),
        }
    }
}

#[test]
fn every_request_survives_a_round_trip() {
    for file in recorded() {
        let (request, _) = exchange(&file);
        let method: Request<Value> = serde_json::from_slice(&request.body).unwrap();
        let body = &request.body;
        match Method::from_name(&method.method).unwrap() {
            Method::Hello => drop(survives::<Request<Params<HelloData>>>(body, &file)),
            Method::Update => {
                let update = survives::<Request<Params<Inventory>>>(body, &file);
                assert!(
                    update
                        .params
                        .data
                        .software
                        .is_some_and(|software| software.len() > 500)
                );
            }
            Method::Download => drop(survives::<Request<DownloadParams>>(body, &file)),
            Method::UpdateJobState => drop(survives::<Request<Params<JobReport>>>(body, &file)),
            Method::Events => drop(survives::<Request<Params<EventsData>>>(body, &file)),
            Method::Passwords => drop(survives::<Request<Params<PasswordsData>>>(body, &file)),
        }
    }
}

#[test]
fn every_answer_survives_a_round_trip() {
    let mut last = oco_protocol::Timestamp::ZERO;
    for file in recorded() {
        let (request, response) = exchange(&file);
        if !response.start_line.contains("200") || file.to_string_lossy().contains("download") {
            continue;
        }
        let method: Request<Value> = serde_json::from_slice(&request.body).unwrap();
        let body = &response.body;
        let timestamp = match Method::from_name(&method.method).unwrap() {
            Method::Hello => survives::<Response<HelloAnswer>>(body, &file).result.timestamp,
            Method::Update => survives::<Response<UpdateAnswer>>(body, &file).result.timestamp,
            Method::UpdateJobState => {
                survives::<Response<JobReportAnswer>>(body, &file)
                    .result
                    .timestamp
            }
            _ => survives::<Response<Value>>(body, &file).result.timestamp,
        };
        assert!(
            timestamp > last,
            "answers are recorded in order: {}",
            file.display()
        );
        last = timestamp;
    }
}

/// Like [`survives`], where our types write more than the first agents and servers did.
fn is_kept<T: Serialize + DeserializeOwned>(body: &[u8], file: &Path) -> T {
    let typed: T = serde_json::from_slice(body).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let before: Value = serde_json::from_slice(body).unwrap();
    let after = serde_json::to_value(&typed).unwrap();
    assert!(
        contains(&after, &before),
        "{}: {before} became {after}",
        file.display()
    );
    typed
}

/// Whether all that `part` says is said in `whole`.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        _ => whole == part,
    }
}

const KEYED_AGENT_KEY: &str = "tdbzbttf358vw49ns46pmwanjgup5h";
const KEYED_SERVER_KEY: &str = "1qq2m1iz5shx61nw5u8wg53b3g5y82";

#[test]
fn every_keyed_exchange_survives_a_round_trip() {
    let mut seen = std::collections::BTreeSet::new();
    for file in files("keyed") {
        let (request, response) = exchange(&file);
        let (body, answer) = (&request.body, &response.body);
        if request.start_line.starts_with("GET ") {
            assert_eq!(
                request.start_line,
                format!("GET /api-agent.php?hostname=vm&agent-key={KEYED_AGENT_KEY}&id=1 HTTP/1.1")
            );
            continue;
        }
        if request.header(signature::AGENT_SIGNATURE_HEADER).is_some() {
            // A signed hello at a server of 2022: refused in the reason phrase.
            assert_eq!(response.start_line, "HTTP/1.1 400 Parameter Mismatch");
            assert!(response.body.is_empty());
            continue;
        }
        let name = serde_json::from_slice::<Request<Value>>(body).unwrap().method;
        let method = keyed::Method::from_name(&name).unwrap();
        seen.insert(method);
        let (key, server_key) = match method {
            keyed::Method::Hello => {
                let hello = survives::<Request<keyed::Params<keyed::HelloData>>>(body, &file);
                let answer = is_kept::<keyed::Response<HelloAnswer>>(answer, &file);
                assert_eq!(answer.result.timestamp, None);
                (hello.params.agent_key, answer.result.params.server_key)
            }
            keyed::Method::Update => {
                let update = is_kept::<Request<keyed::Params<keyed::UpdateData>>>(body, &file);
                let answer = is_kept::<keyed::Response<UpdateAnswer>>(answer, &file);
                (update.params.agent_key, answer.result.params.server_key)
            }
            keyed::Method::UpdateDeployStatus => {
                let status = survives::<Request<keyed::Params<keyed::DeployStatus>>>(body, &file);
                let answer = survives::<keyed::Response<JobReportAnswer>>(answer, &file);
                (status.params.agent_key, answer.result.params.server_key)
            }
            other => panic!("{other} is not of 2022"),
        };
        let registering = file.to_string_lossy().contains("001-");
        let expected = if registering {
            REGISTRATION_KEY
        } else {
            KEYED_AGENT_KEY
        };
        assert_eq!(key, Key::new(expected), "{}", file.display());
        assert_eq!(server_key, Some(Key::new(KEYED_SERVER_KEY)), "{}", file.display());
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}
