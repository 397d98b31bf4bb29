//! Faults on the wire: what a client gets to see of each of them, and that it is counted.

use crate::support::{Response, TestAgent, TestServer, hello_data, parse, send};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::io::{Cursor, ErrorKind};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Adds a rule; its id.
async fn fault(server: &TestServer, fault: Value) -> u64 {
    rule(server, json!({"fault": fault})).await
}

/// Adds a rule as a whole; its id.
pub(crate) async fn rule(server: &TestServer, rule: Value) -> u64 {
    server.create("/faults", rule).await["id"].as_u64().unwrap()
}

/// How often the fault of a rule was committed.
pub(crate) async fn committed(server: &TestServer, id: u64) -> u64 {
    server.get(&format!("/faults/{id}")).await["committed"]
        .as_u64()
        .unwrap()
}

/// Sends a hello and reads whatever comes, up to the end or the error of the connection.
async fn raw_hello(server: &TestServer, agent: &mut TestAgent) -> (Vec<u8>, Option<ErrorKind>) {
    let body = agent.body("hello", hello_data()).to_string();
    let signature = signature::sign(&Key::new(&*agent.agent_key), body.as_bytes());
    let request = format!(
        "POST /api-agent.php HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-oco-agent-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).await.err();
    (bytes, error.map(|error| error.kind()))
}

/// A server with a rule and a registered agent that it befalls from now on.
async fn befallen(fault_of: Value) -> (TestServer, TestAgent, u64) {
    let server = TestServer::start().await;
    let agent = TestAgent::registered(&server, "pc").await;
    let id = fault(&server, fault_of).await;
    (server, agent, id)
}

/// Whether the answer's signature is the one that the agent expects.
fn is_genuine(agent: &TestAgent, response: &Response) -> bool {
    let key = Key::new(&*agent.server_key);
    let signature = response.header("x-oco-server-signature");
    signature.is_some_and(|signature| signature::verify(&key, &response.body, signature))
}

/// A hello, whatever comes of it.
pub(crate) async fn hello(server: &TestServer, agent: &mut TestAgent) -> Response {
    agent.call(server, "hello", hello_data()).await
}

/// A package with a file and a job for it.
async fn deploy(server: &TestServer) -> i64 {
    let files = json!([{"name": "run.sh", "content": "ZWNobyBoZWxsbwo="}]);
    let package = json!({"name": "p", "version": "1", "procedure": "sh run.sh", "files": files});
    let id = server.create("/packages", package).await["id"].as_i64().unwrap();
    server
        .create(
            "/deployments",
            json!({"name": "d", "packages": [id], "computers": "all"}),
        )
        .await;
    id
}

/// What a befallen download brings.
async fn download(is: &str) -> (Response, TestServer) {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = deploy(&server).await;
    let id = fault(&server, json!({"kind": "package", "is": is})).await;
    agent.hello(&server).await;
    let response = agent.download(&server, package).await;
    assert_eq!(response.status, 200);
    assert_eq!(committed(&server, id).await, 1);
    (response, server)
}

#[tokio::test]
async fn a_delay_holds_the_request_back() {
    let delay = json!({"kind": "delay", "distribution": "fixed", "ms": 300});
    let (server, mut agent, id) = befallen(delay).await;
    let started = Instant::now();
    agent.hello(&server).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn a_bandwidth_limit_stretches_the_answer() {
    let (server, mut agent, id) = befallen(json!({"kind": "bandwidth", "bytes_per_second": 1000})).await;
    let started = Instant::now();
    let response = hello(&server, &mut agent).await;
    assert!(is_genuine(&agent, &response), "slow, but whole");
    // The body alone, but for the piece that goes out at once.
    let expected = Duration::from_millis(response.body.len() as u64 - 50);
    assert!(started.elapsed() >= expected, "{:?}", started.elapsed());
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn a_dribble_comes_in_drops() {
    let (server, mut agent, id) = befallen(json!({"kind": "dribble", "bytes": 40, "every_ms": 20})).await;
    let started = Instant::now();
    let response = hello(&server, &mut agent).await;
    assert!(is_genuine(&agent, &response));
    assert!(started.elapsed() >= Duration::from_millis(20 * (response.body.len() as u64 / 40)));
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn a_status_comes_instead_of_an_answer() {
    let status =
        json!({"kind": "status", "code": 503, "reason": "Gone Fishing", "retry_after": 7, "body": "later"});
    let (server, mut agent, id) = befallen(status).await;
    let (bytes, _) = raw_hello(&server, &mut agent).await;
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 Gone Fishing\r\n"), "{text}");
    let response = parse(&bytes);
    assert_eq!(
        (response.header("retry-after"), response.text().as_str()),
        (Some("7"), "later")
    );
    assert_eq!(committed(&server, id).await, 1);
    let requests = &server.get("/stats").await["requests"]["oco.agent.hello"];
    assert_eq!(requests["503"], 1);
    let seen = server.get("/computers/1").await["computer"]["agent_timestamp"].clone();
    server.rest("DELETE", &format!("/faults/{id}"), None).await;
    agent.hello(&server).await;
    let later = &server.get("/computers/1").await["computer"]["agent_timestamp"];
    assert_ne!(*later, seen, "only now it was served");
}

#[tokio::test]
async fn a_connection_is_reset_before_in_or_after_the_body() {
    for (at, served) in [
        ("request", false),
        ("before", true),
        ("in", true),
        ("after", true),
    ] {
        let (server, mut agent, id) = befallen(json!({"kind": "reset", "at": at})).await;
        let (bytes, error) = raw_hello(&server, &mut agent).await;
        assert_eq!(error, Some(ErrorKind::ConnectionReset), "{at}");
        let body = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|end| &bytes[end + 4..]);
        match (at, body) {
            ("request" | "before", None) => assert!(bytes.is_empty(), "{at}"),
            ("in", Some(body)) => {
                assert!(!body.is_empty() && serde_json::from_slice::<Value>(body).is_err());
            }
            ("after", Some(body)) => assert!(serde_json::from_slice::<Value>(body).is_ok()),
            other => panic!("{other:?}"),
        }
        assert_eq!(committed(&server, id).await, 1, "{at}");
        // The same timestamp again is refused only if it was seen.
        server.rest("DELETE", &format!("/faults/{id}"), None).await;
        agent.back(1);
        let again = hello(&server, &mut agent).await.status;
        assert_eq!(again, if served { 401 } else { 200 }, "{at}");
    }
}

#[tokio::test]
async fn an_idle_connection_says_nothing_and_is_closed() {
    for at in ["request", "before", "in"] {
        let (server, mut agent, id) = befallen(json!({"kind": "idle", "at": at, "for_ms": 300})).await;
        let started = Instant::now();
        let (bytes, _) = raw_hello(&server, &mut agent).await;
        assert!(started.elapsed() >= Duration::from_millis(300), "{at}");
        assert_eq!(bytes.is_empty(), at != "in", "{at}");
        assert_eq!(committed(&server, id).await, 1, "{at}");
    }
}

#[tokio::test]
async fn connections_are_refused_for_a_while() {
    let (server, mut agent, id) = befallen(json!({"kind": "refuse", "for_ms": 700})).await;
    let mut kept = TcpStream::connect(server.addr).await.unwrap();
    let (_, error) = raw_hello(&server, &mut agent).await;
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    let refusal = loop {
        match TcpStream::connect(server.addr).await {
            Err(error) => break error.kind(),
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(refusal, ErrorKind::ConnectionRefused);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "connections that there are stay: {answer}"
    );
    server.wait_until_up().await;
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn a_restart_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("oco.db").display());
    for database in [url.as_str(), "sqlite::memory:"] {
        let server = TestServer::start_with(|config| config.database = database.into()).await;
        let mut agent = TestAgent::registered(&server, "pc").await;
        let id = rule(
            &server,
            json!({"select": {"methods": ["hello"], "first": 1}, "fault": {"kind": "restart", "for_ms": 200}}),
        )
        .await;
        let mut idle = TcpStream::connect(server.addr).await.unwrap();
        let (bytes, _) = raw_hello(&server, &mut agent).await;
        assert!(bytes.is_empty());
        let mut rest = Vec::new();
        drop(idle.read_to_end(&mut rest).await);
        assert!(rest.is_empty(), "other connections are cut, too");
        server.wait_until_up().await;
        agent.hello(&server).await;
        assert_eq!(committed(&server, id).await, 1, "rules and counts stay");
        assert_eq!(server.get("/computers").await["total"], 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn json_is_truncated_or_garbage_and_signed_if_asked() {
    for is in ["truncated", "garbage"] {
        for signed in [false, true] {
            let (server, mut agent, id) = befallen(json!({"kind": "json", "is": is, "signed": signed})).await;
            let response = hello(&server, &mut agent).await;
            assert_eq!(response.status, 200);
            assert!(serde_json::from_slice::<Value>(&response.body).is_err());
            assert_eq!(is_genuine(&agent, &response), signed, "{is}");
            assert_eq!(committed(&server, id).await, 1);
        }
    }
}

#[tokio::test]
async fn the_content_type_is_another() {
    let (server, mut agent, id) = befallen(json!({"kind": "content-type", "value": "text/html"})).await;
    let response = hello(&server, &mut agent).await;
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert!(is_genuine(&agent, &response));
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn a_body_is_oversized() {
    let oversized = json!({"kind": "oversized", "bytes": 3_000_000, "signed": true});
    let (server, mut agent, id) = befallen(oversized).await;
    let response = hello(&server, &mut agent).await;
    assert_eq!(response.body.len(), 3_000_000);
    assert!(is_genuine(&agent, &response));
    assert_eq!(response.json()["result"]["success"], true);
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn signatures_are_wrong_missing_or_another_agents() {
    let server = TestServer::start().await;
    let other = TestAgent::registered(&server, "other").await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    for is in ["wrong", "missing", "other-agent"] {
        let id = fault(&server, json!({"kind": "signature", "is": is})).await;
        let response = hello(&server, &mut agent).await;
        assert!(!is_genuine(&agent, &response), "{is}");
        assert_eq!(
            response.header("x-oco-server-signature").is_none(),
            is == "missing"
        );
        assert_eq!(is_genuine(&other, &response), is == "other-agent");
        assert_eq!(committed(&server, id).await, 1);
        server.rest("DELETE", &format!("/faults/{id}"), None).await;
    }
}

#[tokio::test]
async fn timestamps_are_not_newer() {
    for is in ["replayed", "equal", "backward", "absent"] {
        let (server, mut agent, id) = befallen(json!({"kind": "timestamp", "is": is})).await;
        // The rule has to see an answer first, to send it again.
        let first = hello(&server, &mut agent).await;
        let second = hello(&server, &mut agent).await;
        assert!(is_genuine(&agent, &second), "{is}");
        let at = |response: &Response| response.json()["result"]["timestamp"].as_f64();
        match is {
            "replayed" => assert_eq!(first.body, second.body),
            "equal" => assert_eq!(at(&first), at(&second)),
            "backward" => assert!(at(&second).unwrap() < 1_800_000_000.0 - 3000.0),
            _ => assert_eq!(at(&second), None),
        }
        let expected = if ["replayed", "equal"].contains(&is) { 1 } else { 2 };
        assert_eq!(committed(&server, id).await, expected, "{is}");
    }
}

#[tokio::test]
async fn keys_change_unasked_and_are_signed_with_the_known_key() {
    for (keys, agent_key, server_key) in [
        ("agent", true, false),
        ("server", false, true),
        ("both", true, true),
    ] {
        let (server, mut agent, id) = befallen(json!({"kind": "key-change", "keys": keys})).await;
        let response = hello(&server, &mut agent).await;
        assert!(is_genuine(&agent, &response));
        let params = &response.json()["result"]["params"];
        assert_eq!(params["agent-key"].is_string(), agent_key, "{keys}");
        assert_eq!(params["server-key"].is_string(), server_key, "{keys}");
        assert_eq!(committed(&server, id).await, 1);
    }
}

#[tokio::test]
async fn jobs_have_unknown_fields_come_twice_or_are_for_another_system() {
    for kind in ["unknown-job-fields", "duplicate-jobs", "foreign-job"] {
        let (server, mut agent, id) = befallen(json!({"kind": kind})).await;
        hello(&server, &mut agent).await;
        assert_eq!(
            committed(&server, id).await,
            0,
            "without jobs there is nothing to do"
        );
        deploy(&server).await;
        let response = hello(&server, &mut agent).await;
        assert!(is_genuine(&agent, &response));
        let jobs = response.json()["result"]["params"]["software-jobs"].clone();
        match kind {
            "unknown-job-fields" => assert_eq!(jobs[0]["unknown-object"]["nested"][2], "two"),
            "duplicate-jobs" => assert_eq!(
                (jobs[0].clone(), jobs.as_array().unwrap().len()),
                (jobs[1].clone(), 2)
            ),
            _ => assert!(jobs[0]["procedure"].as_str().unwrap().contains("msiexec")),
        }
        assert_eq!(committed(&server, id).await, 1, "{kind}");
    }
}

#[tokio::test]
async fn packages_are_truncated_or_corrupt() {
    for is in ["truncated", "corrupt"] {
        let (response, server) = download(is).await;
        let read = zip::ZipArchive::new(Cursor::new(response.body.clone()));
        let content = read.ok().map(|mut archive| {
            let mut content = String::new();
            archive
                .by_name("run.sh")
                .ok()
                .map(|mut entry| std::io::Read::read_to_string(&mut entry, &mut content).is_ok())
        });
        assert_ne!(content, Some(Some(true)), "{is}");
        server.stop().await;
    }
}

#[tokio::test]
async fn packages_are_bombs_or_lead_out_of_their_folder() {
    for (is, name, size) in [
        ("zip-bomb", "bomb", 1 << 30),
        ("parent-entry", "../escaped", 36),
        ("absolute-entry", "/tmp/escaped", 36),
        ("link-entry", "link", 5),
    ] {
        let (response, _server) = download(is).await;
        let mut archive = zip::ZipArchive::new(Cursor::new(response.body)).unwrap();
        let entry = archive.by_index(0).unwrap();
        assert_eq!((&*entry.name().unwrap(), entry.size()), (name, size), "{is}");
    }
}

#[tokio::test]
async fn a_package_is_shorter_than_announced() {
    let (response, _server) = download("wrong-length").await;
    let announced: usize = response.header("content-length").unwrap().parse().unwrap();
    assert!(announced > response.body.len() && !response.body.is_empty());
}

#[tokio::test]
async fn a_range_is_ignored() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = deploy(&server).await;
    let id = fault(&server, json!({"kind": "package", "is": "range-ignored"})).await;
    agent.hello(&server).await;
    let whole = agent.download(&server, package).await;
    assert_eq!(committed(&server, id).await, 0, "nobody asked for a range");
    let mut body = agent.body("download", Value::Null);
    body["params"].as_object_mut().unwrap().remove("data");
    body["params"]["package-id"] = package.into();
    let body = body.to_string();
    let signature = signature::sign(&Key::new(&*agent.agent_key), body.as_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("range", "bytes=10-"),
        ("x-oco-agent-signature", signature.as_str()),
    ];
    let response = send(server.addr, "GET", "/api-agent.php", &headers, body.as_bytes()).await;
    assert_eq!((response.status, response.body), (200, whole.body));
    assert_eq!(committed(&server, id).await, 1);
}

#[tokio::test]
async fn rules_are_listed_counted_and_removed() {
    let server = TestServer::start_with(|config| {
        let text =
            json!({"name": "of the file", "select": {"first": 1}, "fault": {"kind": "status", "code": 500}});
        config.faults = vec![serde_json::from_value(text).unwrap()];
    })
    .await;
    let mut agent = TestAgent::new("pc");
    assert_eq!(hello(&server, &mut agent).await.status, 500);
    assert_eq!(hello(&server, &mut agent).await.status, 200);
    let listed = server.get("/faults").await;
    let expected = json!({"id": 1, "name": "of the file", "select": {"first": 1},
        "fault": {"kind": "status", "code": 500, "body": ""}, "matched": 2, "committed": 1});
    assert_eq!(listed["faults"], json!([expected]));
    assert_eq!(server.rest("DELETE", "/faults/1", None).await, (200, expected));
    assert_eq!(
        server.get("/faults").await,
        json!({"faults": [], "committed": {"status": 1}})
    );
    assert_eq!(server.rest("DELETE", "/faults/1", None).await.0, 404);
    let (status, error) = server
        .rest(
            "POST",
            "/faults",
            Some(json!({"fault": {"kind": "status", "code": 200}})),
        )
        .await;
    assert_eq!(status, 400);
    assert!(error["error"].as_str().unwrap().contains("fault.code"));
}

#[tokio::test]
async fn a_fault_that_is_over_leaves_the_connection_as_it_was() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    rule(
        &server,
        json!({"select": {"first": 1}, "fault": {"kind": "dribble", "bytes": 100, "every_ms": 50}}),
    )
    .await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..2 {
        let body = agent.body("hello", hello_data()).to_string();
        let signature = signature::sign(&Key::new(&*agent.agent_key), body.as_bytes());
        let request = format!(
            "POST /api-agent.php HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             x-oco-agent-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let started = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}}") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        times.push(started.elapsed());
    }
    assert!(times[0] >= Duration::from_millis(200), "{times:?}");
    assert!(times[1] < times[0] / 2, "{times:?}");
}
