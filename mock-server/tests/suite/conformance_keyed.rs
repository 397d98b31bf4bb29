//! Conformance of keyed exchanges: every rule that can be broken in this generation is, each by one request, on a server of
//! today and on one of 2022, and nothing is said about agents as they should be.

use crate::conformance::{assert_only, counts, network};
use crate::support::{REGISTRATION_KEY, Response, TestServer, send};
use oco_mock_server::ServerGeneration;
use oco_protocol::Key;
use oco_protocol::password::EncryptedPassword;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A server with a registered agent.
struct Scene {
    server: TestServer,
    key: String,
    generation: ServerGeneration,
}

impl Scene {
    async fn new(generation: ServerGeneration) -> Self {
        let server = TestServer::start_with(|config| config.server_generation = generation).await;
        let mut scene = Self {
            server,
            key: REGISTRATION_KEY.into(),
            generation,
        };
        let answer = scene.hello(json!({})).await.json();
        scene.key = answer["result"]["params"]["agent-key"].as_str().unwrap().into();
        scene
    }

    fn body(&self, method: &str, data: Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "method": format!("oco.agent.{method}"),
            "params": {"uid": "u", "hostname": "old", "agent-key": self.key, "data": data}})
    }

    async fn send(&self, headers: &[(&str, &str)], body: &[u8]) -> Response {
        send(self.server.addr, "POST", "/api-agent.php", headers, body).await
    }

    async fn call(&self, method: &str, data: Value) -> Response {
        self.send(&[JSON], self.body(method, data).to_string().as_bytes())
            .await
    }

    /// A hello whose data was changed.
    async fn hello(&self, change: Value) -> Response {
        self.call("hello", hello_data(change)).await
    }

    /// A hello whose parameters were changed.
    async fn hello_with(&self, change: impl FnOnce(&mut Value)) -> Response {
        let mut body = self.body("hello", hello_data(json!({})));
        change(&mut body["params"]);
        self.send(&[JSON], body.to_string().as_bytes()).await
    }

    /// The report of a job by the name that the server knows.
    async fn report(&self, job: i64, state: i64, code: Value) -> Response {
        let data = json!({"job-id": job, "state": state, "return-code": code, "message": ""});
        self.call(self.reporting(), data).await
    }

    fn reporting(&self) -> &'static str {
        match self.generation {
            ServerGeneration::Current => "update_job_state",
            ServerGeneration::September2022 => "update_deploy_status",
        }
    }

    async fn fetch(&self, query: &str) -> Response {
        let path = format!("/api-agent.php?{query}");
        send(self.server.addr, "GET", &path, &[], b"").await
    }

    async fn download(&self, package: &str) -> Response {
        self.fetch(&format!("hostname=old&agent-key={}&id={package}", self.key))
            .await
    }

    /// A job with a package for the agent, which has been told of it.
    async fn job(&self) -> i64 {
        let files = json!([{"name": "run.sh", "content": "ZWNobw=="}]);
        let package = json!({"name": "p", "version": "1", "procedure": "sh run.sh", "files": files});
        let package = self.server.create("/packages", package).await["id"]
            .as_i64()
            .unwrap();
        self.server.deploy(&[package], json!({})).await;
        let jobs = self.hello(json!({})).await.json()["result"]["params"]["software-jobs"].clone();
        jobs[0]["id"].as_i64().unwrap()
    }
}

fn hello_data(change: Value) -> Value {
    let mut data = json!({"agent_version": "1.1.6", "networks": []});
    data.as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    data
}

/// Breaks one rule by one request. False: in this generation, or on this server, it cannot be broken.
#[allow(clippy::too_many_lines)] // a table
async fn break_rule(rule: &str, scene: &Scene) -> bool {
    let is_current = scene.generation == ServerGeneration::Current;
    let hello = scene.body("hello", hello_data(json!({}))).to_string();
    let encoded = [JSON, ("content-encoding", "identity")];
    match rule {
        "http.content-type" => drop(
            scene
                .send(&[("content-type", "text/json")], hello.as_bytes())
                .await,
        ),
        "http.method" => {
            drop(
                send(
                    scene.server.addr,
                    "PUT",
                    "/api-agent.php",
                    &[JSON],
                    hello.as_bytes(),
                )
                .await,
            );
        }
        "http.encoding" => drop(scene.send(&encoded, hello.as_bytes()).await),
        "envelope.json" => drop(scene.send(&[JSON], &hello.as_bytes()[..hello.len() - 1]).await),
        "envelope.method" => drop(scene.call("dance", json!({"a": 1})).await),
        "key.wrong" => drop(
            scene
                .hello_with(|params| params["agent-key"] = "another".into())
                .await,
        ),
        "data.missing" => {
            drop(
                scene
                    .hello_with(|params| drop_member(&mut params["data"], "networks"))
                    .await,
            );
        }
        "data.type" => drop(scene.hello(json!({"uptime": "long"})).await),
        "data.range" => drop(scene.hello(json!({"battery_level": 1.5})).await),
        "data.format" => drop(scene.hello(network(json!({"mac": "none"}))).await),
        "data.date" => {
            let login = json!({"display_name": "", "username": "u", "console": "c",
                "timestamp": "2026-02-30 00:00:00"});
            drop(scene.call("update", json!({"os": "x", "logins": [login]})).await);
        }
        "data.unknown" => drop(scene.hello_with(|params| params["timestamp"] = 1.into()).await),
        "data.size" => drop(scene.hello(network(json!({"interface": "x".repeat(256)}))).await),
        "secret.key" => drop(
            scene
                .hello_with(|params| params["uid"] = scene.key.clone().into())
                .await,
        ),
        "secret.password" if is_current => {
            let password = json!({"username": "u", "password": "in the clear"});
            drop(scene.call("passwords", json!({"passwords": [password]})).await);
        }
        "passwords.refused" if is_current => {
            let secret = json!({"iv": "AAAAAAAAAAAAAAAAAAAAAA==", "data": "AAAA"});
            let password = json!({"username": "u", "password": secret});
            drop(scene.call("passwords", json!({"passwords": [password]})).await);
        }
        "order.hello-first" => {
            let mut body = scene.body("update", json!({"os": "x"}));
            body["params"]["hostname"] = "stranger".into();
            drop(scene.send(&[JSON], body.to_string().as_bytes()).await);
        }
        "update.not-asked" => {
            scene.call("update", json!({"os": "x"})).await;
            scene.hello(json!({})).await;
            drop(scene.call("update", json!({"os": "x"})).await);
        }
        "update.too-often" if is_current => {
            scene.call("update", json!({"os": "x"})).await;
            let force = Some(json!({"force_update": true}));
            scene.server.rest("PUT", "/computers/1", force).await;
            drop(scene.call("update", json!({"os": "x"})).await);
        }
        "download.not-ordered" | "download.refused" => drop(scene.download("7").await),
        "job.unknown" => drop(scene.report(77, 2, json!(0)).await),
        "job.backwards" => {
            let job = scene.job().await;
            scene.report(job, 2, json!(0)).await;
            drop(scene.report(job, 1, json!(0)).await);
        }
        "job.reopened" => {
            let job = scene.job().await;
            scene.report(job, 3, json!(0)).await;
            drop(scene.report(job, 2, json!(0)).await);
        }
        "job.ended-twice" => {
            let job = scene.job().await;
            scene.report(job, 3, json!(0)).await;
            drop(scene.report(job, 3, json!(1)).await);
        }
        "job.outcome" => {
            let job = scene.job().await;
            drop(scene.report(job, 2, json!(5)).await);
        }
        // Requests have no signature, no timestamp and no headers of their own.
        "http.header-case"
        | "signature.missing"
        | "signature.form"
        | "signature.wrong"
        | "timestamp.missing"
        | "timestamp.decimals"
        | "timestamp.not-newer"
        | "timestamp.future" => return false,
        // Servers of 2022 ask for no passwords and force no updates.
        "secret.password" | "passwords.refused" | "update.too-often" => return false,
        other => panic!("nothing breaks {other}"),
    }
    true
}

fn drop_member(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name);
}

#[tokio::test]
async fn every_rule_finds_the_keyed_request_that_breaks_it() {
    for generation in [ServerGeneration::Current, ServerGeneration::September2022] {
        let rules = TestServer::start().await.get("/conformance").await["rules"].clone();
        for rule in rules.as_array().unwrap() {
            let id = rule["id"].as_str().unwrap();
            let scene = Scene::new(generation).await;
            assert_only(&scene.server, &[]).await;
            if !break_rule(id, &scene).await {
                continue;
            }
            let counts = counts(&scene.server).await;
            assert_eq!(counts.get(id), Some(&1), "{generation:?} {id}: {counts:?}");
            // Those that the server refuses for another reason, too.
            let beside: &[&str] = match id {
                "download.not-ordered" => &["download.refused"],
                "download.refused" => &["download.not-ordered"],
                _ => &[],
            };
            let surplus: Vec<_> = counts
                .keys()
                .filter(|other| *other != id && !beside.contains(&other.as_str()))
                .collect();
            assert!(surplus.is_empty(), "{generation:?} {id}: {counts:?}");
        }
    }
}

/// The rule has been broken; what was found is forgotten.
async fn assert_found(server: &TestServer, rule: &str) {
    let counts = counts(server).await;
    assert!(counts.contains_key(rule), "{rule}: {counts:?}");
    server.change("DELETE", "/conformance", None).await;
}

#[tokio::test]
async fn what_keyed_requests_may_not_be_is_found_by_its_kind() {
    let current = Scene::new(ServerGeneration::Current).await;
    let old = Scene::new(ServerGeneration::September2022).await;
    let job = old.job().await;
    let key = &old.key;
    for query in [
        (format!("hostname=old&agent-key={key}&id=one"), "data.format"),
        (format!("hostname=old&agent-key={key}"), "data.missing"),
        (format!("hostname=old&agent-key={key}&id=1&x=1"), "data.unknown"),
        ("hostname=old&agent-key=x&id=1".to_owned(), "key.wrong"),
    ] {
        old.fetch(&query.0).await;
        assert_found(&old.server, query.1).await;
    }
    old.report(job, 1, Value::Null).await;
    assert_found(&old.server, "data.type").await;
    old.hello_with(|params| drop_member(params, "agent-key")).await;
    assert_found(&old.server, "data.missing").await;
    old.hello_with(|params| params["server-key"] = "x".into()).await;
    assert_found(&old.server, "secret.key").await;
    current
        .hello_with(|params| params["data"]["services"] = json!([{"name": key}]))
        .await;
    assert_found(&current.server, "data.missing").await;
    // An older name for reports, which no server of today knows.
    let report = json!({"job-id": 1, "state": 3, "return-code": 0, "message": ""});
    current.call("update_deploy_status", report).await;
    assert_only(&current.server, &["envelope.method"]).await;
    assert!(counts(&current.server).await.contains_key("envelope.method"));
}

#[tokio::test]
async fn a_keyed_agent_as_it_should_be_is_not_found_fault_with() {
    for generation in [ServerGeneration::Current, ServerGeneration::September2022] {
        let scene = Scene::new(generation).await;
        let partition = json!({"device": "/dev/sda1", "mountpoint": "/", "filesystem": "ext4", "size": 2,
            "free": 1, "name": "", "serial": "x", "uuid": "x", "encrypted": false});
        scene
            .call(
                "update",
                json!({"os": "Debian", "partitions": [partition], "logins": null}),
            )
            .await;
        let job = scene.job().await;
        for (state, code) in [(1, 0), (2, 0), (3, 0), (3, 0)] {
            assert_eq!(scene.report(job, state, json!(code)).await.status, 200);
        }
        let job = scene.job_again().await;
        assert_eq!(scene.download("1").await.status, 200);
        assert_eq!(scene.report(job, -1, json!(-9999)).await.status, 200);
        if generation == ServerGeneration::Current {
            // Servers of today take the reports of today.
            let data = json!({"job-id": job, "state": -1, "return-code": -9999, "message": "",
                "download-progress": 50});
            assert_eq!(scene.call("update_job_state", data).await.status, 200);
            let secret = EncryptedPassword::encrypt(&Key::new(scene.key.as_str()), [3; 16], "p");
            let passwords = json!({"passwords": [{"username": "u", "password": secret}]});
            assert_eq!(scene.call("passwords", passwords).await.status, 200);
            assert_eq!(scene.call("events", json!({"events": []})).await.status, 200);
        } else {
            // How an agent finds out which name its server knows.
            let report = json!({"job-id": job, "state": -1, "return-code": -9999, "message": ""});
            assert_eq!(scene.call("update_job_state", report).await.status, 400);
        }
        assert_only(&scene.server, &[]).await;
    }
}

#[tokio::test]
async fn who_may_not_register_is_not_found_fault_with() {
    for generation in [ServerGeneration::Current, ServerGeneration::September2022] {
        let scene = Scene::new(generation).await;
        scene
            .server
            .change("PUT", "/settings", Some(json!({"self_registration": false})))
            .await;
        let mut body = scene.body("hello", hello_data(json!({})));
        body["params"]["hostname"] = "new".into();
        body["params"]["agent-key"] = REGISTRATION_KEY.into();
        assert_eq!(scene.send(&[JSON], body.to_string().as_bytes()).await.status, 401);
        assert_only(&scene.server, &[]).await;
    }
}

impl Scene {
    /// Another job for the package that there is.
    async fn job_again(&self) -> i64 {
        self.server.deploy(&[1], json!({})).await;
        let jobs = self.hello(json!({})).await.json()["result"]["params"]["software-jobs"].clone();
        jobs[0]["id"].as_i64().unwrap()
    }
}
