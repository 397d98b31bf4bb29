//! Inventories: what comes back is what was sent, and what did not change is not written again.

use crate::support::{TestAgent, TestServer};
use serde_json::{Value, json};

fn software(version: usize) -> Value {
    (0..50).map(|n| json!({"name": format!("pkg{n}"), "version": if n == 0 { version } else { 1 }.to_string(), "description": "d"})).collect()
}

fn inventory(version: usize) -> Value {
    json!({"hostname": "pc", "os": "Debian", "os_version": "12", "ram": 1024, "uptime": version, "battery_level": false,
        "networks": [{"addr": "192.0.2.1"}], "users": [{"username": "ä\u{1F600}"}], "screens": [], "printers": null,
        "partitions": [{"device": "/dev/vda"}], "devices": [], "custom": {"a": [1]}, "software": software(version),
        "logins": [{"guid": null, "display_name": "A", "username": "a", "console": "c", "timestamp": "2026-11-22 06:00:00"}]})
}

#[tokio::test]
async fn the_whole_inventory_comes_back() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    assert_eq!(
        agent.ask(&server, "update", inventory(1)).await,
        json!({"policies": {"machine": []}})
    );
    assert_eq!(agent.hello(&server).await["logins-since"], "2026-11-22 06:00:00");
    let shown = server.get("/computers/1").await;
    assert_eq!(shown["computer"]["os"], "Debian");
    let stored = &shown["inventory"];
    for field in [
        "hostname",
        "os",
        "ram",
        "uptime",
        "battery_level",
        "users",
        "screens",
        "partitions",
        "devices",
        "custom",
        "logins",
    ] {
        assert_eq!(stored[field], inventory(1)[field], "{field}");
    }
    assert_eq!(stored["software"].as_array().unwrap().len(), 50);
    assert_eq!(stored["software"][0]["name"], "pkg0");
}

#[tokio::test]
async fn a_second_inventory_replaces_the_first_and_keeps_logins() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.ask(&server, "update", inventory(1)).await;
    let mut second = inventory(2);
    second["logins"][0]["timestamp"] = "2026-11-23 06:00:00".into();
    second["software"].as_array_mut().unwrap().truncate(2);
    second["users"] = Value::Null;
    agent.ask(&server, "update", second).await;
    let stored = server.get("/computers/1").await["inventory"].clone();
    assert_eq!(stored["uptime"], 2);
    assert_eq!(stored["logins"].as_array().unwrap().len(), 2);
    let versions: Vec<_> = stored["software"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["version"].clone())
        .collect();
    assert_eq!(versions, ["2", "1"]);
    assert_eq!(
        stored["users"],
        inventory(1)["users"],
        "null means unknown: what is stored stays"
    );
}

#[tokio::test]
async fn software_is_found_across_computers() {
    let server = TestServer::start().await;
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let mut agent = TestAgent::registered(&server, name).await;
        agent
            .ask(&server, "update", json!({"software": software(index)}))
            .await;
    }
    let hosts = |found: Value| -> Vec<String> {
        let computers = found["computers"].as_array().unwrap().clone();
        computers
            .iter()
            .map(|computer| computer["hostname"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        hosts(server.get("/software/computers?name=pkg7").await),
        ["a", "b", "c"]
    );
    assert_eq!(
        hosts(server.get("/software/computers?name=pkg0&version=1").await),
        ["b"]
    );
    assert!(hosts(server.get("/software/computers?name=none").await).is_empty());
}

#[tokio::test]
async fn an_inventory_survives_a_restart_and_stays_comparable() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("new/folder/oco.db").display());
    let open = || TestServer::start_with(|config| config.database.clone_from(&url));
    let server = open().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.ask(&server, "update", inventory(1)).await;
    let before = server.get("/computers/1").await;
    server.stop().await;
    let server = open().await;
    assert_eq!(server.get("/computers/1").await, before);
    agent.ask(&server, "update", inventory(2)).await;
    assert_eq!(
        server.get("/software/computers?name=pkg0&version=2").await["computers"][0]["id"],
        1
    );
    assert_eq!(
        server.get("/software/computers?name=pkg0&version=1").await["computers"],
        json!([])
    );
    assert_eq!(agent.hello(&server).await["update"], 0);
    server.stop().await;
}

#[tokio::test]
async fn policies_are_served_from_the_second_inventory_of_a_computer_on() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let policies = json!({"machine": {"JSON:/etc/x.json:a\\b": "7", "REGISTRY:X:list": ["a"]}});
    let (status, shown) = server.rest("PUT", "/policies", Some(policies.clone())).await;
    assert_eq!((status, &shown), (200, &policies));
    assert_eq!(
        agent.ask(&server, "update", inventory(1)).await,
        json!({"policies": {"machine": []}})
    );
    assert_eq!(
        agent.ask(&server, "update", inventory(1)).await,
        json!({ "policies": policies })
    );
    server
        .rest("PUT", "/policies", Some(json!({"machine": {}})))
        .await;
    assert_eq!(
        agent.ask(&server, "update", inventory(1)).await,
        json!({"policies": {"machine": []}})
    );
}

#[tokio::test]
async fn policies_outlive_the_server_and_malformed_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("oco.db").display());
    let policies = json!({"machine": {"JSON:/etc/x.json:a": {"b": [1, null]}}});
    let server = TestServer::start_with(|config| config.database.clone_from(&database)).await;
    server.rest("PUT", "/policies", Some(policies.clone())).await;
    for bad in [json!({}), json!({"machine": {"": 1}}), json!({"users": {}})] {
        let (status, _) = server.rest("PUT", "/policies", Some(bad)).await;
        assert!((400..500).contains(&status), "{status}");
    }
    server.stop().await;
    let server = TestServer::start_with(|config| config.database.clone_from(&database)).await;
    assert_eq!(server.get("/policies").await, policies);
}
