//! The shapes that PHP gives to answers.

use crate::support::{TestAgent, TestServer};
use oco_mock_server::PhpQuirks;
use serde_json::{Value, json};

/// What a server with those quirks answers to a hello with a job and a password rule, to an inventory without policies,
/// and to a new event.
async fn answers(quirks: PhpQuirks) -> [Value; 3] {
    let server = TestServer::start_with(|config| config.php_quirks = quirks).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    let deployment = json!({"name": "d", "packages": [package], "computers": "all"});
    server.create("/deployments", deployment).await;
    let rule = json!({"username": "root", "alphabet": "ab", "length": 12});
    server.create("/password-rules", rule).await;
    let hello = agent.hello(&server).await;
    let update = agent.ask(&server, "update", json!({"os": "x"})).await;
    let event = json!({"log": "l", "provider": "p", "event_id": 1, "level": 1,
        "timestamp": "2026-01-01 00:00:00", "data": {}});
    let events = agent
        .call(&server, "events", json!({"events": [event]}))
        .await
        .json();
    let job = &hello["software-jobs"][0];
    let numbers = json!([
        job["id"],
        job["container-id"],
        job["package-id"],
        job["sequence-mode"],
        job["download"],
        job["exit"],
        hello["update-passwords"][0]["length"],
        hello["update"]
    ]);
    let result = json!([events["result"]["success"], events["result"]["params"]]);
    [numbers, update["policies"]["machine"].clone(), result]
}

#[tokio::test]
async fn php_8_writes_empty_objects_as_lists_and_ids_of_inserts_as_texts() {
    let [numbers, policies, events] = answers(PhpQuirks::Php8).await;
    assert_eq!(numbers, json!([1, 1, 1, 0, false, null, 12, 1]));
    assert_eq!(policies, json!([]));
    assert_eq!(events, json!(["1", []]));
}

#[tokio::test]
async fn php_7_writes_numbers_of_the_database_as_texts_too() {
    let [numbers, policies, events] = answers(PhpQuirks::Php7).await;
    assert_eq!(numbers, json!(["1", "1", "1", "0", false, null, "12", 1]));
    assert_eq!(policies, json!([]));
    assert_eq!(events, json!(["1", []]));
}

#[tokio::test]
async fn without_quirks_objects_are_objects_and_numbers_are_numbers() {
    let [numbers, policies, events] = answers(PhpQuirks::Off).await;
    assert_eq!(numbers, json!([1, 1, 1, 0, false, null, 12, 1]));
    assert_eq!(policies, json!({}));
    assert_eq!(events, json!([1, {}]));
}
