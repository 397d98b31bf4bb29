//! What is installed where, and what a deployment does about it.

use crate::support::{TestAgent, TestServer};
use serde_json::{Value, json};

const NONE: [Value; 0] = [];

async fn version(server: &TestServer, version: &str, change: Value) -> i64 {
    let mut package = json!({"name": "tool", "version": version, "procedure": format!("install {version}"),
        "uninstall_procedure": format!("remove {version}")});
    for (key, value) in change.as_object().unwrap() {
        package[key] = value.clone();
    }
    server.create("/packages", package).await["id"].as_i64().unwrap()
}

/// Runs all jobs with success; their procedures in the order given out.
async fn run_all(server: &TestServer, agent: &mut TestAgent) -> Vec<String> {
    let hello = agent.hello(server).await;
    let mut procedures = Vec::new();
    for job in hello["software-jobs"].as_array().unwrap() {
        procedures.push(job["procedure"].as_str().unwrap().to_owned());
        assert!(agent.report(server, &job["id"], 3, Some(0)).await);
    }
    procedures
}

#[tokio::test]
async fn an_upgrade_with_uninstall_jobs_removes_the_other_versions_first() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let old = version(&server, "1", json!({})).await;
    let new = version(&server, "2", json!({"upgrade_behavior": 2})).await;
    server.deploy(&[old], json!({})).await;
    assert_eq!(run_all(&server, &mut agent).await, ["install 1"]);
    server.deploy(&[new], json!({"sequence_mode": 1})).await;
    assert_eq!(run_all(&server, &mut agent).await, ["remove 1", "install 2"]);
    server
        .deploy(&[new, old], json!({"force_install_same_version": false}))
        .await;
    assert_eq!(run_all(&server, &mut agent).await, ["install 1"]);
    let jobs = server.get("/jobs?state=already-installed").await;
    assert_eq!(
        (&jobs["total"], &jobs["jobs"][0]["package_id"]),
        (&json!(1), &json!(new))
    );
}

#[tokio::test]
async fn a_failed_uninstallation_ends_its_container_in_sequence_mode_1() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let old = version(&server, "1", json!({})).await;
    let new = version(&server, "2", json!({"upgrade_behavior": 2})).await;
    server.deploy(&[old], json!({})).await;
    run_all(&server, &mut agent).await;
    server.deploy(&[new], json!({"sequence_mode": 1})).await;
    let jobs = agent.jobs(&server).await;
    assert!(!agent.report(&server, &jobs[0], 3, Some(5)).await);
    assert_eq!(agent.jobs(&server).await, NONE);
    let failed = server.get("/jobs?state=failed").await["jobs"].clone();
    let codes: Vec<_> = failed
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["return_code"])
        .collect();
    assert_eq!(codes, [5, -8888]);
}

#[tokio::test]
async fn other_behaviours_run_no_uninstall_jobs() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let versions = [
        version(&server, "1", json!({})).await,
        version(&server, "2", json!({"upgrade_behavior": 0})).await,
        version(&server, "3", json!({"upgrade_behavior": 1})).await,
        version(&server, "4", json!({"upgrade_behavior": 2})).await,
    ];
    for (package, procedures) in versions.iter().zip([
        &["install 1"][..],
        &["install 2"],
        &["install 3"],
        // Version 3 has removed the others itself.
        &["remove 3", "install 4"],
    ]) {
        server.deploy(&[*package], json!({})).await;
        assert_eq!(run_all(&server, &mut agent).await, procedures);
    }
}

#[tokio::test]
async fn a_package_for_another_system_makes_a_job_that_is_over() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let inventory = json!({"os": "Debian GNU/Linux", "os_version": "12", "architecture": "x86_64"});
    agent.ask(&server, "update", inventory).await;
    let mut fitting = Vec::new();
    for (name, change) in [
        ("1", json!({"compatible_os": "Windows"})),
        (
            "2",
            json!({"compatible_os": "debian gnu/linux", "compatible_os_version": "12"}),
        ),
        ("3", json!({"compatible_os_version": "11"})),
        ("4", json!({"compatible_architecture": "arm64"})),
        ("5", json!({"compatible_architecture": "x86_64"})),
    ] {
        fitting.push(version(&server, name, change).await);
    }
    server.deploy(&fitting, json!({})).await;
    assert_eq!(agent.jobs(&server).await, [2, 5]);
    assert_eq!(server.get("/jobs?state=incompatible").await["total"], 3);
}

#[tokio::test]
async fn a_package_is_removed_with_its_jobs() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = version(&server, "1", json!({})).await;
    server.deploy(&[package], json!({})).await;
    server
        .change("DELETE", &format!("/packages/{package}"), None)
        .await;
    assert_eq!(agent.jobs(&server).await, NONE);
    assert_eq!(server.get("/packages").await["packages"], json!([]));
    for bad in [
        json!({"upgrade_behavior": 3}),
        json!({"uninstall_post_action": 9}),
    ] {
        let mut package = json!({"name": "n", "version": "1"});
        package
            .as_object_mut()
            .unwrap()
            .extend(bad.as_object().unwrap().clone());
        assert_eq!(server.rest("POST", "/packages", Some(package)).await.0, 400);
    }
}
