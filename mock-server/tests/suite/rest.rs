//! The REST surface.

use crate::support::{API_KEY, TestAgent, TestServer, send};
use serde_json::json;

#[tokio::test]
async fn only_the_api_key_opens_it() {
    let server = TestServer::start().await;
    let wrong = format!("Bearer {API_KEY}x");
    let basic = format!("Basic {API_KEY}");
    for headers in [
        &[][..],
        &[("authorization", wrong.as_str())],
        &[("authorization", basic.as_str())],
        &[("authorization", API_KEY)],
    ] {
        for path in ["/mock/v1/stats", "/mock/v1/computers", "/mock/v1/nothing"] {
            let response = send(server.addr, "GET", path, headers, b"").await;
            assert_eq!(response.status, 401, "{path}");
            assert!(
                response.json()["error"]
                    .as_str()
                    .unwrap()
                    .contains("Authorization")
            );
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(send(server.addr, "GET", "/healthz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn wrong_requests_get_a_reason() {
    let server = TestServer::start().await;
    TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    for (method, path, body, status) in [
        ("GET", "/nothing", None, 404),
        ("DELETE", "/stats", None, 405),
        ("GET", "/computers/9", None, 404),
        ("GET", "/computers/x", None, 400),
        ("GET", "/computers?limit=0", None, 400),
        ("GET", "/computers?nonsense=1", None, 400),
        ("GET", "/jobs?state=done", None, 400),
        ("GET", "/deployments/9", None, 404),
        ("POST", "/packages", Some(json!({"name": "p"})), 422),
        (
            "POST",
            "/packages",
            Some(json!({"name": "p", "version": "1"})),
            409,
        ),
        (
            "POST",
            "/packages",
            Some(json!({"name": " ", "version": "1"})),
            400,
        ),
        (
            "POST",
            "/packages",
            Some(json!({"name": "q", "version": "1", "success_codes": "ok"})),
            400,
        ),
        (
            "POST",
            "/packages",
            Some(json!({"name": "q", "version": "1", "files": [{"name": "../x", "content": ""}]})),
            400,
        ),
        (
            "POST",
            "/deployments",
            Some(json!({"name": "d", "packages": [99], "computers": "all"})),
            404,
        ),
        (
            "POST",
            "/deployments",
            Some(json!({"name": "d", "packages": [package], "computers": [99]})),
            404,
        ),
        (
            "POST",
            "/deployments",
            Some(json!({"name": "d", "packages": [package], "computers": "some"})),
            422,
        ),
        (
            "POST",
            "/deployments",
            Some(json!({"name": "d", "packages": [package], "computers": []})),
            400,
        ),
        (
            "POST",
            "/deployments",
            Some(json!({"name": "d", "packages": [], "computers": "all"})),
            400,
        ),
        (
            "POST",
            "/deployments",
            Some(json!({"name": "d", "packages": [package], "computers": "all", "start": 9, "end": 9})),
            400,
        ),
        (
            "POST",
            "/password-rules",
            Some(json!({"username": "a", "alphabet": "", "length": 5})),
            400,
        ),
        ("PUT", "/settings", Some(json!({"nonsense": 1})), 422),
    ] {
        let (found, answer) = server.rest(method, path, body.clone()).await;
        assert_eq!(found, status, "{method} {path} {body:?}: {answer}");
        assert!(!answer["error"].as_str().unwrap().is_empty(), "{method} {path}");
    }
    assert_eq!(
        server.get("/jobs").await["total"],
        0,
        "what was refused left nothing behind"
    );
}

#[tokio::test]
async fn computers_are_listed_by_page_and_name() {
    let server = TestServer::start().await;
    for index in 0..12 {
        TestAgent::registered(&server, &format!("PC_{index}")).await;
    }
    let page = server.get("/computers?offset=10&limit=5").await;
    assert_eq!(
        (&page["total"], page["computers"].as_array().unwrap().len()),
        (&json!(12), 2)
    );
    assert_eq!(server.get("/computers?hostname=pc_1").await["total"], 3);
    assert_eq!(
        server.get("/computers?hostname=%25").await["total"],
        0,
        "wildcards are taken literally"
    );
}

#[tokio::test]
async fn rules_reach_the_hello_and_their_results_are_kept() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    server
        .create("/event-rules", json!({"log": "journalctl", "query": "{}"}))
        .await;
    server
        .create(
            "/password-rules",
            json!({"username": "admin", "alphabet": "ab", "length": 9, "valid_for": 100}),
        )
        .await;
    let hello = agent.hello(&server).await;
    assert_eq!(
        hello["events"],
        json!([{"since": "1970-01-01 00:00:00", "log": "journalctl", "query": "{}"}])
    );
    assert_eq!(
        hello["update-passwords"],
        json!([{"username": "admin", "alphabet": "ab", "length": 9}])
    );
    let event = json!({"log": "l", "provider": "p", "event_id": 4, "level": "4", "timestamp": "2026-01-01 00:00:00", "data": {"a": 1}});
    for _ in 0..2 {
        agent.ask(&server, "events", json!({"events": [event]})).await;
    }
    assert_eq!(
        server.get("/computers/1/events").await["events"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let secrets = json!({"passwords": [{"username": "admin", "password": "s3cret"}, {"username": "nobody", "password": "x"}]});
    agent.ask(&server, "passwords", secrets).await;
    let passwords = server.get("/computers/1/passwords").await["passwords"].clone();
    assert_eq!(
        (passwords.as_array().unwrap().len(), &passwords[0]["password"]),
        (1, &json!("s3cret"))
    );
    let hello = agent.hello(&server).await;
    assert_eq!(
        (&hello["events"][0]["since"], &hello["update-passwords"]),
        (&json!("2026-01-01 00:00:00"), &json!([]))
    );
    server.clock.forward(100);
    assert_eq!(
        agent.hello(&server).await["update-passwords"][0]["username"],
        "admin"
    );
    for rule in ["/event-rules/1", "/password-rules/1"] {
        assert_eq!(server.rest("DELETE", rule, None).await.0, 204);
        assert_eq!(server.rest("DELETE", rule, None).await.0, 404);
    }
    let hello = agent.hello(&server).await;
    assert_eq!(
        (&hello["events"], &hello["update-passwords"]),
        (&json!([]), &json!([]))
    );
    let kept = server.get("/computers/1/passwords").await["passwords"].clone();
    assert_eq!(kept.as_array().unwrap().len(), 1, "what was sent stays");
}

#[tokio::test]
async fn a_text_with_nul_is_taken_by_every_database() {
    let server = TestServer::start().await;
    let group = server
        .create("/groups/computers", json!({"name": "a\u{0}b"}))
        .await;
    assert_eq!(group["id"], 1);
    let name = &server.get("/groups/computers").await["groups"][0]["name"];
    assert!(
        ["a\u{0}b", "a\u{fffd}b"].contains(&name.as_str().unwrap()),
        "{name}"
    );
}

#[tokio::test]
async fn a_password_is_revoked_within_five_minutes_only() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    server
        .create(
            "/password-rules",
            json!({"username": "admin", "alphabet": "ab", "length": 9}),
        )
        .await;
    let store = json!({"passwords": [{"username": "admin", "password": "new"}]});
    let revoke = json!({"passwords": [{"username": "admin", "password": "new", "revoke": true}]});
    let success = async |agent: &mut TestAgent, data| {
        agent.call(&server, "passwords", data).await.json()["result"]["success"].clone()
    };
    assert_eq!(success(&mut agent, store.clone()).await, "1");
    assert_eq!(success(&mut agent, revoke.clone()).await, true);
    assert_eq!(success(&mut agent, store).await, "2");
    server.clock.forward(300);
    assert_eq!(success(&mut agent, revoke).await, false);
    assert_eq!(
        server.get("/computers/1/passwords").await["passwords"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
