//! Many computers at once.

use crate::support::{TestAgent, TestServer};
use serde_json::{Value, json};
use std::sync::Arc;

fn inventory(computer: usize) -> Value {
    let software: Vec<_> = (0..400)
        .map(|n| json!({"name": format!("pkg{}", n + computer % 7), "version": "1", "description": "text"}))
        .collect();
    json!({"os": "Debian", "software": software, "users": [{"username": computer}]})
}

async fn register_and_update(url: String) {
    let server = Arc::new(TestServer::start_with(|config| config.database = url).await);
    let tasks: Vec<_> = (0..48)
        .map(|computer| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut agent = TestAgent::registered(&server, &format!("pc{computer}")).await;
                agent.ask(&server, "update", inventory(computer)).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = server.get("/stats").await;
    assert_eq!(stats["computers"]["by_state"]["inventoried"], 48);
    assert_eq!(stats["requests"]["oco.agent.update"], json!({"200": 48}));
    assert_eq!(stats["requests"]["oco.agent.hello"], json!({"200": 48}));
    let found = server.get("/software/computers?name=pkg6").await;
    assert_eq!(found["computers"].as_array().unwrap().len(), 48);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_of_48_parallel_first_updates_is_refused_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    register_and_update(format!("sqlite:{}", folder.path().join("oco.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_of_48_parallel_first_updates_is_refused_in_memory() {
    register_and_update("sqlite::memory:".into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_registrations_of_one_computer_one_wins() {
    let server = Arc::new(TestServer::start().await);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut agent = TestAgent::new("pc");
                agent
                    .call(&server, "hello", crate::support::hello_data())
                    .await
                    .status
            })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        match task.await.unwrap() {
            200 => accepted += 1,
            status => assert_eq!(status, 401),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(server.get("/computers").await["total"], 1);
}
