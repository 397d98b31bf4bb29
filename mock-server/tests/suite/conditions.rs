//! When and where jobs are given out, and what becomes of those whose time is over.

use crate::support::{TestAgent, TestServer};
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

#[tokio::test]
async fn ip_ranges_are_tried_in_order_and_negations_withhold_jobs() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    for ranges in [
        json!(["10.0.0.0/8", "127.0.0.1/8"]),
        json!(["10.0.0.0/8"]),
        json!(["!127.0.0.0/8", "127.0.0.1"]),
        json!(["127.0.0.1", "!127.0.0.0/8"]),
        json!(["!10.0.0.0/8"]),
    ] {
        server
            .deploy(&[package], json!({"agent_ip_ranges": ranges}))
            .await;
    }
    assert_eq!(agent.jobs(&server).await, [1, 4, 5]);
    let bad = json!({"name": "d", "packages": [1], "computers": "all", "agent_ip_ranges": ["nonsense"]});
    let (status, answer) = server.rest("POST", "/deployments", Some(bad)).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("nonsense"));
    assert_eq!(server.get("/computers/1").await["computer"]["hostname"], "pc");
}

#[tokio::test]
async fn time_frames_give_jobs_out_by_the_clock_of_the_server() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    // The clock starts at 2027-01-15 08:00:00, a Friday.
    for frames in [
        json!(["8:00-8:30"]),
        json!(["SAT 0:00-23:59"]),
        json!(["!FRI 7:00-9:00", "0:00-23:59"]),
        json!(["25:00-26:00"]),
    ] {
        server.deploy(&[package], json!({"time_frames": frames})).await;
    }
    assert_eq!(agent.jobs(&server).await, [1]);
    server.clock.forward(2 * 3600);
    assert_eq!(agent.jobs(&server).await, [3]);
    server.clock.forward(24 * 3600);
    assert_eq!(agent.jobs(&server).await, [2, 3]);
}

#[tokio::test]
async fn jobs_that_were_not_begun_in_time_expire_and_running_ones_can_end() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    let end = crate::support::START + 10;
    let container = server.deploy(&[package, package], json!({"end": end})).await;
    agent.report(&server, &json!(1), 2, None).await;
    assert_eq!(agent.jobs(&server).await, [1, 2]);
    server.clock.forward(10);
    assert_eq!(agent.jobs(&server).await, NONE);
    let counts = server.get(&format!("/deployments/{container}")).await["jobs"].clone();
    assert_eq!((&counts["expired"], &counts["executing"]), (&json!(1), &json!(1)));
    assert!(agent.report(&server, &json!(1), 3, Some(0)).await);
    assert_eq!(server.get("/jobs?state=expired").await["jobs"][0]["id"], 2);
}

#[tokio::test]
async fn lists_tell_of_expired_jobs_of_computers_that_never_came() {
    let server = TestServer::start().await;
    server.create("/computers", json!({"hostname": "absent"})).await;
    let package = server.package("p", "0").await;
    let end = crate::support::START + 10;
    server.deploy(&[package], json!({"end": end})).await;
    assert_eq!(server.get("/jobs?state=pending").await["total"], 1);
    server.clock.forward(11);
    assert_eq!(server.get("/jobs?state=expired").await["total"], 1);
}
