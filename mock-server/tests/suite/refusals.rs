//! Every refusal of the protocol: status, text, type, and no signature.

use crate::support::{REGISTRATION_KEY, Response, TestAgent, TestServer, hello_data, send};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};

fn assert_refused(response: &Response, status: u16, text: &str) {
    assert_eq!((response.status, response.text().as_str()), (status, text));
    assert!(response.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(response.header("x-oco-server-signature"), None);
}

#[tokio::test]
async fn only_the_exact_content_type_is_taken() {
    let server = TestServer::start().await;
    for headers in [
        &[][..],
        &[("content-type", "application/json; charset=utf-8")],
        &[("content-type", "Application/JSON")],
        &[("content-type", "text/plain")],
    ] {
        let response = send(server.addr, "POST", "/api-agent.php", headers, b"{}").await;
        assert_refused(&response, 400, "Content type mismatch");
    }
    assert_refused(
        &send(server.addr, "GET", "/api-agent.php", &[], b"").await,
        400,
        "Content type mismatch",
    );
}

#[tokio::test]
async fn wrong_envelopes_are_invalid_json_data_before_any_signature() {
    let server = TestServer::start().await;
    for body in [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "{}",
        r#"{"jsonrpc":"1.0","id":1,"method":"oco.agent.hello","params":{"hostname":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"oco.agent.hello","params":{"hostname":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":{"uid":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":{"hostname":"\ud800"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":{"hostname":"a"}}]"#,
    ] {
        let headers = [("content-type", "application/json")];
        let response = send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await;
        assert_refused(&response, 400, "Invalid JSON data");
    }
}

#[tokio::test]
async fn missing_or_empty_data_is_invalid() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    for method in ["hello", "update", "update_job_state", "events", "passwords"] {
        for data in [Value::Null, json!({}), json!([]), json!("x")] {
            assert_refused(&agent.call(&server, method, data).await, 400, "Invalid JSON data");
        }
    }
    for data in [
        json!({"job-id": 1, "state": 3, "message": ""}),
        json!({"job-id": 1, "state": 3, "return-code": 0}),
        json!({"job-id": 1, "state": 9, "return-code": 0, "message": ""}),
        json!({"state": 3, "return-code": 0, "message": ""}),
    ] {
        assert_refused(
            &agent.call(&server, "update_job_state", data).await,
            400,
            "Invalid JSON data",
        );
    }
}

#[tokio::test]
async fn unknown_methods_are_refused_signed_or_not() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    assert_refused(
        &agent.call(&server, "nonsense", json!({"a": 1})).await,
        400,
        "Unknown method",
    );
    let body = agent.body("nonsense", json!({"a": 1})).to_string();
    let headers = [("content-type", "application/json")];
    let response = send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await;
    assert_refused(&response, 400, "Unknown method");
}

#[tokio::test]
async fn a_missing_signature_is_named() {
    let server = TestServer::start().await;
    let body = TestAgent::new("pc").body("hello", hello_data()).to_string();
    let headers = [("content-type", "application/json")];
    for method in ["POST", "GET", "PUT"] {
        let response = send(server.addr, method, "/api-agent.php", &headers, body.as_bytes()).await;
        assert_refused(&response, 401, "Signature header missing");
    }
}

#[tokio::test]
async fn wrong_signatures_are_refused() {
    let server = TestServer::start().await;
    let mut unknown = TestAgent::new("unknown");
    unknown.agent_key = "wrong".into();
    assert_refused(
        &unknown.call(&server, "hello", hello_data()).await,
        401,
        "Invalid agent signature",
    );
    let mut agent = TestAgent::registered(&server, "pc").await;
    let own_key = std::mem::replace(&mut agent.agent_key, REGISTRATION_KEY.into());
    for method in ["hello", "update"] {
        assert_refused(
            &agent.call(&server, method, hello_data()).await,
            401,
            "Invalid agent signature",
        );
    }
    let body = agent.body("hello", hello_data()).to_string();
    let upper = signature::sign(&Key::new(&*own_key), body.as_bytes()).to_uppercase();
    let headers = [
        ("content-type", "application/json"),
        ("x-oco-agent-signature", upper.as_str()),
    ];
    let response = send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await;
    assert_refused(&response, 401, "Invalid agent signature");
    server.create("/computers", json!({"hostname": "new"})).await;
    let mut new = TestAgent::new("new");
    assert_refused(
        &new.call(&server, "update", json!({"os": "x"})).await,
        401,
        "Invalid agent signature",
    );
}

#[tokio::test]
async fn replayed_and_missing_timestamps_are_refused_on_hello_only() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let body = agent.body("hello", hello_data()).to_string();
    assert_eq!(
        server
            .agent_request(body.as_bytes(), &agent.agent_key)
            .await
            .status,
        200
    );
    let replay = server.agent_request(body.as_bytes(), &agent.agent_key).await;
    assert_refused(&replay, 401, "Agent timestamp too old");
    for timestamp in [Value::Null, json!("soon"), json!([]), json!(1.5), json!(-1)] {
        let mut body = agent.body("hello", hello_data());
        body["params"]["timestamp"] = timestamp.clone();
        let response = server
            .agent_request(body.to_string().as_bytes(), &agent.agent_key)
            .await;
        assert_refused(&response, 401, "Agent timestamp too old");
        let mut body = agent.body("update", json!({"os": "x"}));
        body["params"]["timestamp"] = timestamp;
        assert_eq!(
            server
                .agent_request(body.to_string().as_bytes(), &agent.agent_key)
                .await
                .status,
            200
        );
    }
    let mut body = agent.body("hello", hello_data());
    body["params"]["timestamp"] = body["params"]["timestamp"].to_string().into();
    assert_eq!(
        server
            .agent_request(body.to_string().as_bytes(), &agent.agent_key)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn unknown_computers_are_told_so() {
    let server = TestServer::start_with(|config| config.self_registration = Some(false)).await;
    let mut agent = TestAgent::new("pc");
    let hello = agent.call(&server, "hello", hello_data()).await;
    assert_refused(&hello, 401, "Client self-registration is disabled");
    for method in ["update", "update_job_state", "events", "passwords", "download"] {
        let response = agent.call(&server, method, json!({"a": 1})).await;
        assert_refused(&response, 401, "Computer not found");
    }
}

#[tokio::test]
async fn a_forced_update_right_after_another_is_refused() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.ask(&server, "update", json!({"os": "x"})).await;
    agent.ask(&server, "update", json!({"os": "x"})).await;
    let (status, computer) = server
        .rest("PUT", "/computers/1", Some(json!({"force_update": true})))
        .await;
    assert_eq!((status, &computer["force_update"]), (200, &json!(true)));
    let refused = agent.call(&server, "update", json!({"os": "x"})).await;
    assert_refused(&refused, 400, "Update refused (too often or invalid data)");
    assert_eq!(agent.hello(&server).await["update"], 1);
    server.clock.forward(25);
    agent.ask(&server, "update", json!({"os": "x"})).await;
    assert_eq!(agent.hello(&server).await["update"], 0);
}

#[tokio::test]
async fn downloads_need_a_package_and_a_job() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let without_file = server.package("plain", "0").await;
    let files = json!([{"name": "a", "content": "YQ=="}]);
    let package = server
        .create("/packages", json!({"name": "p", "version": "1", "files": files}))
        .await["id"]
        .clone();
    let package = package.as_i64().unwrap();
    assert_refused(&agent.download(&server, 99).await, 400, "Package not found");
    assert_refused(
        &agent.download(&server, without_file).await,
        400,
        "Package not found",
    );
    assert_refused(
        &agent.download(&server, package).await,
        400,
        "No active job for this package",
    );
}

#[tokio::test]
async fn reports_of_unknown_and_foreign_jobs_are_refused() {
    let server = TestServer::start().await;
    let mut owner = TestAgent::registered(&server, "owner").await;
    let mut other = TestAgent::registered(&server, "other").await;
    let package = server.package("p", "0").await;
    let deployment = json!({"name": "d", "packages": [package], "computers": [1]});
    server.create("/deployments", deployment).await;
    let data = |id: Value| json!({"job-id": id, "state": 3, "return-code": 0, "message": ""});
    let response = owner.call(&server, "update_job_state", data(json!(77))).await;
    assert_refused(&response, 400, "Job »77« not found");
    let response = owner
        .call(&server, "update_job_state", data(json!("dynamic-7")))
        .await;
    assert_refused(&response, 400, "Job »dynamic-7« not found");
    let response = other.call(&server, "update_job_state", data(json!(1))).await;
    assert_refused(&response, 401, "Computer not allowed to update job »1«");
    assert_eq!(
        owner
            .call(&server, "update_job_state", data(json!("1")))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn passwords_that_cannot_be_decrypted_are_refused() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    for password in [
        json!({"iv": "AAAA", "data": "AAAA"}),
        json!({"iv": "1UD8D4tZeg17LGednogkbw==", "data": "NRuidrKYjwxC3/e1kYU9mQ=="}),
    ] {
        let data = json!({"passwords": [{"username": "a", "password": password}]});
        assert_refused(
            &agent.call(&server, "passwords", data).await,
            400,
            "Invalid password data",
        );
    }
}

#[tokio::test]
async fn what_a_database_refuses_is_500_with_an_empty_body() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut twin = TestAgent::new("twin");
    twin.uid = agent.uid.to_uppercase();
    assert_refused(&twin.call(&server, "hello", hello_data()).await, 500, "");
    twin.uid = "own".into();
    twin.hello(&server).await;
    twin.uid.clone_from(&agent.uid);
    assert_refused(&twin.call(&server, "hello", hello_data()).await, 500, "");
    // What was refused was not accepted: the same timestamp is still good, once.
    twin.uid = "own".into();
    twin.back(1);
    twin.hello(&server).await;
    twin.back(1);
    assert_refused(
        &twin.call(&server, "hello", hello_data()).await,
        401,
        "Agent timestamp too old",
    );
    server.create("/computers", json!({"hostname": "awaited"})).await;
    let mut awaited = TestAgent::new("awaited");
    awaited.uid.clone_from(&agent.uid);
    assert_refused(&awaited.call(&server, "hello", hello_data()).await, 500, "");
    awaited.uid = "another".into();
    awaited.back(1);
    awaited.hello(&server).await;
    let software = json!({"software": [{"name": "a", "description": ""}]});
    assert_refused(&agent.call(&server, "update", software).await, 500, "");
    let event = json!({"log": "l", "provider": "p", "event_id": "four", "level": "4",
        "timestamp": "2026-01-01 00:00:00", "data": {}});
    assert_refused(
        &agent.call(&server, "events", json!({"events": [event]})).await,
        500,
        "",
    );
}

#[tokio::test]
async fn values_that_cannot_be_read_back_are_refused_and_hide_nothing() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent
        .ask(&server, "update", json!({"os": "Debian", "ram": 5}))
        .await;
    for value in [
        "1e999".to_owned(),
        format!("{}{}", "[".repeat(500), "]".repeat(500)),
    ] {
        for (method, field) in [("update", "ram"), ("hello", "networks")] {
            let body = agent.body(method, json!({ field: "HERE" })).to_string();
            let body = body.replace("\"HERE\"", &value);
            let response = server.agent_request(body.as_bytes(), &agent.agent_key).await;
            assert_refused(&response, 400, "Invalid JSON data");
        }
    }
    let inventory = server.get("/computers/1").await["inventory"].clone();
    assert_eq!(
        (&inventory["os"], &inventory["ram"]),
        (&json!("Debian"), &json!(5))
    );
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut data = hello_data();
    data["agent_version"] = "1".repeat(64).into();
    agent.ask(&server, "hello", data.clone()).await;
    data["agent_version"] = "1".repeat(65).into();
    assert_refused(
        &agent.call(&server, "hello", data).await,
        400,
        "Invalid JSON data",
    );
    for (method, data) in [
        ("events", json!({"events": vec![0; 10_001]})),
        (
            "passwords",
            json!({"passwords": vec![json!({"username": "u", "password": "p"}); 10_001]}),
        ),
    ] {
        assert_refused(&agent.call(&server, method, data).await, 400, "Invalid JSON data");
    }
}

#[tokio::test]
async fn a_refusal_repeats_a_job_id_escaped_and_cut() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let id = format!("<script>{}", "x".repeat(100_000));
    let data = json!({"job-id": id, "state": 3, "return-code": 0, "message": ""});
    let expected = format!("Job »&lt;script&gt;{}« not found", "x".repeat(56));
    assert_refused(
        &agent.call(&server, "update_job_state", data).await,
        400,
        &expected,
    );
}
