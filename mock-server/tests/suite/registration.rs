//! Trust on first use, pre-registration and what a hello answers.

use crate::support::{TestAgent, TestServer, hello_data};
use serde_json::json;

#[tokio::test]
async fn the_first_hello_brings_keys_and_later_ones_bring_none() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::new("PC-1");
    let first = agent.hello(&server).await;
    assert_eq!(agent.agent_key.len(), 30);
    assert_eq!(agent.server_key.len(), 30);
    assert_ne!(agent.agent_key, agent.server_key);
    assert_eq!(first["update"], 1);
    assert_eq!(first["logins-since"], "1970-01-01 00:00:00");
    let second = agent.hello(&server).await;
    assert!(second["agent-key"].is_null() && second["server-key"].is_null());
    assert_eq!(second["software-jobs"], json!([]));
    assert_eq!(
        (&second["events"], &second["update-passwords"]),
        (&json!([]), &json!([]))
    );
    server.stop().await;
}

#[tokio::test]
async fn host_names_compare_case_insensitively() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "Straße-ÄPC").await;
    agent.hostname = "straße-äpc".into();
    agent.hello(&server).await;
    assert_eq!(server.get("/computers").await["total"], 1);
}

#[tokio::test]
async fn a_pre_registered_computer_registers_while_self_registration_is_off() {
    let server = TestServer::start_with(|config| config.self_registration = Some(false)).await;
    let id = server
        .create("/computers", json!({"hostname": "known", "notes": "n"}))
        .await["id"]
        .clone();
    assert_eq!(
        server.get(&format!("/computers/{id}")).await["computer"]["state"],
        "pre-registered"
    );
    TestAgent::registered(&server, "KNOWN").await;
    assert_eq!(
        server.get(&format!("/computers/{id}")).await["computer"]["state"],
        "registered"
    );
    let (status, _) = server
        .rest("POST", "/computers", Some(json!({"hostname": "Known"})))
        .await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn answers_grow_in_time_even_where_the_clock_stands_still() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut last = 0.0;
    for _ in 0..5 {
        let response = agent.call(&server, "hello", hello_data()).await;
        let timestamp = response.json()["result"]["timestamp"].as_f64().unwrap();
        assert!(timestamp > last);
        last = timestamp;
    }
}

#[tokio::test]
async fn an_inventory_is_asked_for_after_the_interval_or_when_forced() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.ask(&server, "update", json!({"os": "Debian"})).await;
    assert_eq!(agent.hello(&server).await["update"], 0);
    let mut forced = hello_data();
    forced["force_update"] = true.into();
    assert_eq!(agent.ask(&server, "hello", forced).await["update"], 1);
    server.clock.forward(2 * 3600);
    assert_eq!(agent.hello(&server).await["update"], 1);
    agent.ask(&server, "update", json!({"os": "Debian"})).await;
    server.clock.forward(60);
    assert_eq!(agent.hello(&server).await["update"], 0);
    let (status, settings) = server
        .rest("PUT", "/settings", Some(json!({"update_interval": 60})))
        .await;
    assert_eq!((status, &settings["update_interval"]), (200, &json!(60)));
    assert_eq!(agent.hello(&server).await["update"], 1);
}

#[tokio::test]
async fn a_changed_uid_and_version_are_kept() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.uid = "other".into();
    let mut data = hello_data();
    data["agent_version"] = "9.9".into();
    agent.ask(&server, "hello", data).await;
    let computer = server.get("/computers/1").await["computer"].clone();
    assert_eq!(
        (&computer["uid"], &computer["agent_version"]),
        (&json!("other"), &json!("9.9"))
    );
    assert_eq!(computer["uptime"], 5.5);
    assert!(computer["seen_at"].is_number());
}
