//! The keyed generation: on today's server, and on the one of September 2022.

use crate::support::{API_KEY, REGISTRATION_KEY, Response, TestAgent, TestServer, hello_data, send};
use oco_mock_server::ServerGeneration;
use oco_protocol::{Key, signature};
use serde_json::{Value, json};

/// An agent of the keyed generation.
struct KeyedAgent {
    hostname: &'static str,
    agent_key: String,
    version: &'static str,
}

impl KeyedAgent {
    fn new(hostname: &'static str) -> Self {
        Self {
            hostname,
            agent_key: REGISTRATION_KEY.into(),
            version: "0.13.8",
        }
    }

    async fn registered(server: &TestServer, hostname: &'static str) -> Self {
        let mut agent = Self::new(hostname);
        let answer = agent.hello(server).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        agent.agent_key = params(&answer)["agent-key"].as_str().unwrap().into();
        agent
    }

    async fn call(&self, server: &TestServer, method: &str, data: Value) -> Response {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params":
            {"hostname": self.hostname, "agent-key": self.agent_key, "data": data}});
        let headers = [("content-type", "application/json")];
        let body = body.to_string();
        send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await
    }

    async fn hello(&self, server: &TestServer) -> Response {
        let data = json!({"agent_version": self.version, "networks": []});
        self.call(server, "oco.agent.hello", data).await
    }

    async fn download(&self, server: &TestServer, path: &str, package: &str) -> Response {
        let query = format!(
            "{path}?hostname={}&agent-key={}&id={package}",
            self.hostname, self.agent_key
        );
        send(server.addr, "GET", &query, &[], b"").await
    }
}

fn params(response: &Response) -> Value {
    response.json()["result"]["params"].clone()
}

fn refusal(response: &Response) -> (u16, String) {
    assert_eq!(response.header("x-oco-server-signature"), None);
    (response.status, response.text())
}

fn phrase(response: &Response) -> (u16, &str) {
    assert_eq!(response.text(), "");
    (response.status, response.reason())
}

async fn server_of_2022() -> TestServer {
    TestServer::start_with(|config| config.server_generation = ServerGeneration::September2022).await
}

/// A package with a file, deployed to all computers.
async fn deployed(server: &TestServer) {
    let files = json!([{"name": "run.sh", "content": "ZWNobw=="}]);
    let package = json!({"name": "p", "version": "1", "procedure": "sh run.sh", "files": files});
    server.create("/packages", package).await;
    let deployment = json!({"name": "d", "packages": [1], "computers": "all"});
    server.create("/deployments", deployment).await;
}

#[tokio::test]
async fn an_old_agent_is_served_keyed_with_the_server_key_in_every_signed_answer() {
    let server = TestServer::start().await;
    let mut agent = KeyedAgent::new("old");
    agent.agent_key = "wrong".into();
    let wrong = refusal(&agent.hello(&server).await);
    assert_eq!(wrong, (401, "Agent registration key mismatch".into()));
    let agent = KeyedAgent::registered(&server, "old").await;
    let hello = agent.hello(&server).await;
    let server_key = params(&hello)["server-key"].as_str().unwrap().to_owned();
    assert_eq!(params(&hello)["agent-key"], Value::Null);
    assert_eq!(params(&hello)["update"], 1);
    for (method, data) in [
        ("oco.agent.hello", json!({"agent_version": "0.13.8"})),
        ("oco.agent.update", json!({"os": "Debian"})),
        ("oco.agent.events", json!({"events": []})),
    ] {
        let answer = agent.call(&server, method, data).await;
        assert_eq!(params(&answer)["server-key"], server_key, "{method}");
        assert!(answer.json()["result"]["timestamp"].is_number(), "{method}");
        let signature = answer.header("x-oco-server-signature").unwrap();
        assert!(
            signature::verify(&Key::new(&*server_key), &answer.body, signature),
            "{method}"
        );
    }
    assert_eq!(server.get("/computers/1").await["computer"]["agent_timestamp"], 0);
    let stranger = KeyedAgent {
        agent_key: "x".into(),
        ..KeyedAgent::new("old")
    };
    let mismatch = (401, "Agent key mismatch".to_owned());
    assert_eq!(refusal(&stranger.hello(&server).await), mismatch);
    let update = stranger
        .call(&server, "oco.agent.update", json!({"os": "x"}))
        .await;
    assert_eq!(refusal(&update), mismatch);
}

#[tokio::test]
async fn self_registration_and_pre_registration_hold_for_keyed_agents_too() {
    let server = TestServer::start_with(|config| config.self_registration = Some(false)).await;
    let disabled = refusal(&KeyedAgent::new("old").hello(&server).await);
    assert_eq!(disabled, (401, "Client self-registration is disabled".into()));
    server.create("/computers", json!({"hostname": "OLD"})).await;
    KeyedAgent::registered(&server, "old").await;
}

#[tokio::test]
async fn the_last_hello_decides_which_generation_a_computer_uses() {
    let server = TestServer::start().await;
    let keyed = KeyedAgent::registered(&server, "pc").await;
    // The agent is upgraded: no timestamp has been accepted from it yet, so any is new.
    let mut signed = TestAgent::new("pc");
    signed.agent_key.clone_from(&keyed.agent_key);
    signed.server_key = params(&keyed.hello(&server).await)["server-key"]
        .as_str()
        .unwrap()
        .into();
    signed.hello(&server).await;
    let missing = (401, "Signature header missing".to_owned());
    assert_eq!(refusal(&keyed.hello(&server).await), missing);
    let update = keyed.call(&server, "oco.agent.update", json!({"os": "x"})).await;
    assert_eq!(refusal(&update), missing);
    let download = keyed.download(&server, "/api-agent.php", "1").await;
    assert_eq!(phrase(&download), (401, "Client Not Authorized"));
    // A signed hello of an older agent leads back.
    let mut old = hello_data();
    old["agent_version"] = "1.1.6".into();
    signed.ask(&server, "hello", old).await;
    assert_eq!(keyed.hello(&server).await.status, 200);
    assert_eq!(
        keyed
            .call(&server, "oco.agent.update", json!({"os": "x"}))
            .await
            .status,
        200
    );
    // And forward again, with a timestamp of the past.
    let mut signed = TestAgent::new("pc");
    signed.agent_key.clone_from(&keyed.agent_key);
    assert_eq!(signed.call(&server, "hello", hello_data()).await.status, 200);
    let mut replayed = TestAgent::new("pc");
    replayed.agent_key.clone_from(&keyed.agent_key);
    let replayed = replayed.call(&server, "hello", hello_data()).await;
    assert_eq!(refusal(&replayed), (401, "Agent timestamp too old".into()));
}

#[tokio::test]
async fn a_hello_without_a_version_counts_as_signed() {
    let server = TestServer::start().await;
    let unsigned = KeyedAgent::new("pc")
        .call(&server, "oco.agent.hello", json!({"networks": []}))
        .await;
    assert_eq!(refusal(&unsigned), (401, "Signature header missing".into()));
    let mut agent = TestAgent::new("pc");
    let mut data = hello_data();
    data.as_object_mut().unwrap().remove("agent_version");
    agent.ask(&server, "hello", data.clone()).await;
    agent.ask(&server, "hello", data).await;
}

#[tokio::test]
async fn todays_server_knows_only_the_newer_name_for_job_reports() {
    let server = TestServer::start().await;
    let agent = KeyedAgent::registered(&server, "old").await;
    deployed(&server).await;
    let report = json!({"job-id": 1, "state": 3, "return-code": 0, "message": "done"});
    let old = agent
        .call(&server, "oco.agent.update_deploy_status", report.clone())
        .await;
    assert_eq!(refusal(&old), (400, "Unknown method".into()));
    let new = agent.call(&server, "oco.agent.update_job_state", report).await;
    assert_eq!(params(&new)["job-succeeded"], true);
}

#[tokio::test]
async fn archives_are_fetched_by_query_and_refused_in_the_reason_phrase() {
    for server in [TestServer::start().await, server_of_2022().await] {
        let agent = KeyedAgent::registered(&server, "old").await;
        deployed(&server).await;
        for path in ["/api-agent.php", "/payloadprovider.php"] {
            let archive = agent.download(&server, path, "1").await;
            assert_eq!(archive.status, 200);
            assert!(archive.body.starts_with(b"PK"));
            let missing = agent.download(&server, path, "2").await;
            assert_eq!(phrase(&missing), (404, "Not Found"));
            let wrong = KeyedAgent {
                agent_key: "x".into(),
                ..KeyedAgent::new("old")
            };
            let wrong = wrong.download(&server, path, "1").await;
            assert_eq!(phrase(&wrong), (401, "Client Not Authorized"));
        }
        let idle = KeyedAgent::registered(&server, "idle").await;
        let idle = idle.download(&server, "/api-agent.php", "1").await;
        assert_eq!(phrase(&idle), (401, "No Active Job"));
    }
}

#[tokio::test]
async fn an_inventory_of_a_keyed_agent_may_be_large() {
    let server = TestServer::start().await;
    let agent = KeyedAgent::registered(&server, "old").await;
    let software: Vec<_> = (0..2000)
        .map(|index| json!({"name": format!("software {index}"), "version": "1.0", "description": "described"}))
        .collect();
    let answer = agent
        .call(
            &server,
            "oco.agent.update",
            json!({"os": "x", "software": software}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn the_server_of_2022_refuses_with_reason_phrases() {
    let server = server_of_2022().await;
    let raw = async |content_type: &'static str, body: &str| {
        let headers = [("content-type", content_type)];
        send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await
    };
    let wrong_type = raw("text/plain", "{}").await;
    assert_eq!(phrase(&wrong_type), (400, "Content Type Mismatch"));
    let no_json = raw("application/json", "{oops").await;
    assert_eq!(phrase(&no_json), (400, "Payload Corrupt"));
    let no_host = raw(
        "application/json",
        r#"{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":{"a":1}}"#,
    );
    assert_eq!(phrase(&no_host.await), (400, "Parameter Mismatch"));
    let agent = KeyedAgent::new("old");
    let update = agent.call(&server, "oco.agent.update", json!({"os": "x"})).await;
    assert_eq!(phrase(&update), (404, "Computer Not Found"));
    let stranger = KeyedAgent {
        agent_key: "x".into(),
        ..KeyedAgent::new("old")
    };
    assert_eq!(
        phrase(&stranger.hello(&server).await),
        (401, "Client Not Authorized")
    );
    let agent = KeyedAgent::registered(&server, "old").await;
    for method in ["oco.agent.update_job_state", "oco.agent.events", "oco.nonsense"] {
        let unknown = agent.call(&server, method, json!({"a": 1})).await;
        assert_eq!(phrase(&unknown), (400, "Unknown Method"), "{method}");
    }
    assert_eq!(
        agent
            .call(&server, "oco.agent_update", json!({"os": "x"}))
            .await
            .status,
        200
    );
    let again = agent.call(&server, "oco.agent.update", json!({"os": "x"})).await;
    assert_eq!(phrase(&again), (400, "Update Not Necessary"));
    let hello = agent
        .call(&server, "oco.agent_hello", json!({"agent_version": "0.13.8"}))
        .await;
    assert_eq!(params(&hello)["update"], 0);
    assert_eq!(hello.json()["result"].get("timestamp"), None);
}

#[tokio::test]
async fn only_today_s_server_asks_for_an_inventory_because_an_agent_wants_to_send_one() {
    for (server, asked) in [(TestServer::start().await, 1), (server_of_2022().await, 0)] {
        let agent = KeyedAgent::registered(&server, "old").await;
        agent.call(&server, "oco.agent.update", json!({"os": "x"})).await;
        let data = json!({"agent_version": "1.1.6", "force_update": true});
        let hello = agent.call(&server, "oco.agent.hello", data).await;
        assert_eq!(params(&hello)["update"], asked);
    }
}

#[tokio::test]
async fn job_reports_on_the_server_of_2022_need_a_code_and_an_own_job() {
    let server = server_of_2022().await;
    let agent = KeyedAgent::registered(&server, "old").await;
    deployed(&server).await;
    let other = KeyedAgent::registered(&server, "other").await;
    let report =
        |job: i64, code: Value| json!({"job-id": job, "state": 3, "return-code": code, "message": ""});
    let status = "oco.update_deploy_status";
    let no_code = agent.call(&server, status, report(1, Value::Null)).await;
    assert_eq!(phrase(&no_code), (400, "Parameter Mismatch"));
    let unknown = agent.call(&server, status, report(9, json!(0))).await;
    assert_eq!(phrase(&unknown), (404, "Job Not Found"));
    let foreign = other.call(&server, status, report(1, json!(0))).await;
    assert_eq!(phrase(&foreign), (403, "Forbidden"));
    let done = agent.call(&server, status, report(1, json!(0))).await;
    assert_eq!(params(&done)["job-succeeded"], true);
    let requests = server.get("/stats").await["requests"].clone();
    assert_eq!(requests[status]["200"], 1);
    assert!(!requests.to_string().contains(API_KEY));
}
