//! The life of a job.

use crate::support::{TestAgent, TestServer};
use serde_json::{Value, json};

fn ids(hello: &Value) -> Vec<i64> {
    hello["software-jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_page_of_jobs_ends_where_output_is_very_long_and_long_output_keeps_its_end() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    server.deploy(&[package; 20], json!({})).await;
    let message = format!("{}the end", "x".repeat(1 << 20));
    for job in agent.hello(&server).await["software-jobs"].as_array().unwrap() {
        let data = json!({"job-id": job["id"], "state": 3, "return-code": 0, "message": message});
        agent.ask(&server, "update_job_state", data).await;
    }
    let page = server.get("/jobs").await;
    let jobs = page["jobs"].as_array().unwrap();
    assert_eq!((page["total"].as_i64(), jobs.len()), (Some(20), 16));
    let output = jobs[0]["output"].as_str().unwrap();
    assert_eq!(output.len(), 1 << 20);
    assert!(output.ends_with("the end"));
    assert_eq!(
        server.get("/jobs?offset=16").await["jobs"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn a_job_goes_from_pending_to_succeeded_and_is_sent_again_until_then() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let content = "ZWNobyBoZWxsbwo=";
    let package = json!({"name": "p", "version": "1", "procedure": "sh run.sh", "files": [{"name": "run.sh", "content": content}]});
    let package = server.create("/packages", package).await["id"].as_i64().unwrap();
    let container = server.deploy(&[package], json!({})).await;
    let jobs = agent.hello(&server).await["software-jobs"].clone();
    assert_eq!(
        jobs,
        json!([{"id": 1, "container-id": container, "package-id": package, "download": true, "procedure": "sh run.sh",
            "sequence-mode": 0, "restart": null, "shutdown": null, "exit": null}])
    );
    for (state, name) in [(1, "downloading"), (2, "executing")] {
        assert!(!agent.report(&server, &json!(1), state, None).await);
        assert_eq!(server.get("/jobs?computer=1").await["jobs"][0]["state"], name);
        assert_eq!(ids(&agent.hello(&server).await), [1]);
    }
    let archive = agent.download(&server, package).await;
    assert_eq!(
        (archive.status, archive.header("content-type")),
        (200, Some("application/octet-stream"))
    );
    assert_eq!(
        archive.header("content-length"),
        Some(archive.body.len().to_string().as_str())
    );
    assert_eq!(
        archive.header("content-disposition"),
        Some(&*format!("attachment; filename=\"{package}.zip\""))
    );
    assert!(archive.body.starts_with(b"PK"));
    assert_eq!(archive.header("x-oco-server-signature"), None);
    assert!(agent.report(&server, &json!(1), 3, Some(0)).await);
    assert!(
        agent.report(&server, &json!(1), 3, Some(0)).await,
        "a repeated report is safe"
    );
    assert_eq!(ids(&agent.hello(&server).await), [] as [i64; 0]);
    let job = server
        .get(&format!("/jobs?container={container}&state=succeeded"))
        .await["jobs"][0]
        .clone();
    assert_eq!(
        (&job["return_code"], &job["output"]),
        (&json!(0), &json!("output"))
    );
    assert_eq!(agent.download(&server, package).await.status, 400);
}

#[tokio::test]
async fn success_codes_decide_and_an_agent_error_always_fails() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let packages = [
        server.package("strict", "0,3010").await,
        server.package("any", "").await,
    ];
    let container = server
        .deploy(&[packages[0], packages[0], packages[1], packages[1]], json!({}))
        .await;
    assert!(agent.report(&server, &json!(1), 3, Some(3010)).await);
    assert!(!agent.report(&server, &json!(2), 3, Some(1)).await);
    assert!(agent.report(&server, &json!(3), 3, Some(77)).await);
    assert!(!agent.report(&server, &json!(4), -1, Some(-9999)).await);
    let counts = server.get(&format!("/deployments/{container}")).await["jobs"].clone();
    assert_eq!(
        counts,
        json!({"pending": 0, "downloading": 0, "executing": 0, "succeeded": 2, "failed": 2})
    );
}

#[tokio::test]
async fn a_failure_in_sequence_mode_1_fails_the_rest_of_its_container() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    TestAgent::registered(&server, "untouched").await;
    let package = server.package("p", "0").await;
    let aborting = server.deploy(&[package; 3], json!({"sequence_mode": 1})).await;
    let other = server.deploy(&[package; 2], json!({})).await;
    let jobs = agent.hello(&server).await["software-jobs"].clone();
    assert!(agent.report(&server, &jobs[0]["id"], 3, Some(0)).await);
    assert!(!agent.report(&server, &jobs[1]["id"], 3, Some(1)).await);
    let of_agent = server
        .get(&format!("/jobs?container={aborting}&computer=1"))
        .await["jobs"]
        .clone();
    let ends: Vec<_> = of_agent
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (job["state"].clone(), job["return_code"].clone()))
        .collect();
    assert_eq!(
        ends,
        [
            (json!("succeeded"), json!(0)),
            (json!("failed"), json!(1)),
            (json!("failed"), json!(-8888))
        ]
    );
    assert_eq!(
        server
            .get(&format!("/jobs?container={aborting}&computer=2&state=pending"))
            .await["total"],
        3
    );
    assert_eq!(
        server
            .get(&format!("/jobs?container={other}&state=pending"))
            .await["total"],
        4
    );
    assert_eq!(
        agent.hello(&server).await["software-jobs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn jobs_are_ordered_by_priority_start_and_sequence_within_their_window() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let start = crate::support::START;
    let package = server.package("p", "0").await;
    server.deploy(&[package], json!({"start": start - 5})).await;
    server
        .deploy(&[package, package], json!({"start": start - 9}))
        .await;
    server.deploy(&[package], json!({"priority": 3})).await;
    server.deploy(&[package], json!({"start": start + 10})).await;
    server
        .deploy(&[package], json!({"start": start - 9, "end": start + 10}))
        .await;
    assert_eq!(ids(&agent.hello(&server).await), [4, 2, 3, 6, 1]);
    server.clock.forward(10);
    assert_eq!(ids(&agent.hello(&server).await), [4, 2, 3, 1, 5]);
}

#[tokio::test]
async fn post_actions_come_with_their_delay() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut packages = Vec::new();
    for action in 1..=3 {
        let package =
            json!({"name": format!("p{action}"), "version": "1", "procedure": "x", "post_action": action});
        packages.push(server.create("/packages", package).await["id"].as_i64().unwrap());
    }
    server.deploy(&packages, json!({"restart_timeout": 7})).await;
    let jobs = agent.hello(&server).await["software-jobs"].clone();
    for (index, field) in ["restart", "shutdown", "exit"].into_iter().enumerate() {
        assert_eq!(jobs[index][field], 7);
        assert_eq!(
            ["restart", "shutdown", "exit"]
                .iter()
                .filter(|name| jobs[index][name].is_null())
                .count(),
            2
        );
    }
}

#[tokio::test]
async fn a_finished_job_can_be_reopened() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    server.deploy(&[package], json!({})).await;
    assert!(agent.report(&server, &json!(1), 3, Some(0)).await);
    assert!(!agent.report(&server, &json!(1), 2, None).await);
    assert_eq!(ids(&agent.hello(&server).await), [1]);
}
