//! What Prometheus scrapes.

use crate::support::{TestAgent, TestServer, hello_data, send};
use serde_json::json;

#[tokio::test]
async fn metrics_count_requests_computers_jobs_faults_and_findings() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let package = server.package("p", "0").await;
    let deployment = json!({"name": "d", "packages": [package], "computers": "all"});
    server.create("/deployments", deployment).await;
    let mut odd = hello_data();
    odd["favourite_colour"] = json!("blue");
    agent.ask(&server, "hello", odd).await;
    let rule = json!({"fault": {"kind": "status", "code": 503}});
    server.create("/faults", rule).await;
    assert_eq!(agent.call(&server, "hello", hello_data()).await.status, 503);
    let response = send(server.addr, "GET", "/metrics", &[], b"").await;
    assert_eq!(response.status, 200);
    let text = response.text();
    for line in [
        r#"oco_requests_total{method="oco.agent.hello",status="200"} 2"#,
        r#"oco_requests_total{method="oco.agent.hello",status="503"} 1"#,
        r#"oco_request_duration_seconds_count{method="oco.agent.hello"} 3"#,
        r#"oco_computers{state="registered"} 1"#,
        r#"oco_jobs{state="pending"} 1"#,
        r#"oco_faults_committed_total{kind="status"} 1"#,
        r#"oco_conformance_findings_total{rule="data.unknown"} 1"#,
        "oco_conformance_checked_total 3",
        "oco_connections 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is missing: {text}");
    }
    let memory = text
        .lines()
        .find_map(|line| line.strip_prefix("oco_process_resident_memory_bytes "));
    assert!(memory.unwrap().parse::<u64>().unwrap() > 1 << 20);
    assert!(text.ends_with("# EOF\n"));
    for secret in [&agent.agent_key, &agent.server_key] {
        assert!(!text.contains(secret.as_str()));
    }
}
