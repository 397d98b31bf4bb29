//! Conformance: every rule finds the one request that breaks it, and none says a word about agents as they should be.

use crate::support::{API_KEY, Response, TestAgent, TestServer, hello_data, parse, send};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Findings by rule.
pub(crate) async fn counts(server: &TestServer) -> BTreeMap<String, u64> {
    let summary = server.get("/conformance").await;
    let rules = summary["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| {
            (
                rule["id"].as_str().unwrap().to_owned(),
                rule["count"].as_u64().unwrap(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// No agent of this server has broken any rule but these.
pub(crate) async fn assert_only(server: &TestServer, rules: &[&str]) {
    let summary = server.get("/conformance").await;
    assert!(summary["checked"].as_u64().unwrap() > 0);
    let counts = counts(server).await;
    let surplus: Vec<_> = counts.keys().filter(|id| !rules.contains(&id.as_str())).collect();
    let findings = server.get("/conformance/findings").await;
    assert!(surplus.is_empty(), "{surplus:?}: {findings:#}");
}

/// A server with a registered agent.
struct Scene {
    server: TestServer,
    agent: TestAgent,
}

impl Scene {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let agent = TestAgent::registered(&server, "pc").await;
        Self { server, agent }
    }

    /// Sends a hello whose data was changed.
    async fn hello(&mut self, change: Value) -> Response {
        let mut data = hello_data();
        merge(&mut data, change);
        self.agent.call(&self.server, "hello", data).await
    }

    /// Sends a hello whose body was changed.
    async fn envelope(&mut self, change: impl FnOnce(&mut Value)) -> Response {
        let mut body = self.agent.body("hello", hello_data());
        change(&mut body);
        self.server
            .agent_request(body.to_string().as_bytes(), &self.agent.agent_key)
            .await
    }

    async fn call(&mut self, method: &str, data: Value) -> Response {
        self.agent.call(&self.server, method, data).await
    }

    /// Sends a hello by this HTTP method and with these headers, the signature aside.
    async fn http(&mut self, method: &str, headers: &[(&str, &str)]) -> Response {
        let body = self.agent.body("hello", hello_data()).to_string();
        let signature = signature::sign(&Key::new(&*self.agent.agent_key), body.as_bytes());
        let mut headers = headers.to_vec();
        headers.push(("x-oco-agent-signature", &signature));
        send(
            self.server.addr,
            method,
            "/api-agent.php",
            &headers,
            body.as_bytes(),
        )
        .await
    }

    /// A job without files for the agent, which has been told of it.
    async fn job(&mut self) -> Value {
        let package = self.server.package("p", "0").await;
        let deployment = json!({"name": "d", "packages": [package], "computers": "all"});
        self.server.create("/deployments", deployment).await;
        self.agent.hello(&self.server).await["software-jobs"][0]["id"].clone()
    }

    async fn report(&mut self, job: &Value, state: i64, code: Value) -> Response {
        let data = json!({"job-id": job, "state": state, "return-code": code, "message": ""});
        self.call("update_job_state", data).await
    }
}

fn merge(target: &mut Value, change: Value) {
    let change = change.as_object().unwrap().clone();
    target.as_object_mut().unwrap().extend(change);
}

/// The part of a hello's data with one network.
pub(crate) fn network(change: Value) -> Value {
    let mut network = json!({"addr": "192.0.2.1", "netmask": "255.255.255.0", "broadcast": "-",
        "mac": "02:fc:00:00:00:01", "interface": "eth0"});
    merge(&mut network, change);
    json!({"networks": [network]})
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Breaks one rule.
async fn break_rule(rule: &str, scene: &mut Scene) {
    let oldest = TestAgent::new("pc");
    match rule {
        "http.content-type" => drop(scene.http("POST", &[("content-type", "text/json")]).await),
        "http.header-case" => drop(miscased(scene).await),
        "http.method" => drop(scene.http("PUT", &[JSON]).await),
        "http.encoding" => drop(
            scene
                .http("POST", &[JSON, ("content-encoding", "identity")])
                .await,
        ),
        "envelope.json" => drop(scene.server.agent_request(b"{\"jsonrpc\":", "k").await),
        "envelope.method" => drop(scene.call("dance", json!({"a": 1})).await),
        "signature.missing" => {
            let body = scene.agent.body("hello", hello_data()).to_string();
            drop(
                send(
                    scene.server.addr,
                    "POST",
                    "/api-agent.php",
                    &[JSON],
                    body.as_bytes(),
                )
                .await,
            );
        }
        "signature.form" => {
            let body = scene.agent.body("hello", hello_data()).to_string();
            let signature = signature::sign(&Key::new(&*scene.agent.agent_key), body.as_bytes());
            let headers = [JSON, ("x-oco-agent-signature", &*signature.to_uppercase())];
            drop(
                send(
                    scene.server.addr,
                    "POST",
                    "/api-agent.php",
                    &headers,
                    body.as_bytes(),
                )
                .await,
            );
        }
        "signature.wrong" => {
            let body = scene.agent.body("hello", hello_data()).to_string();
            drop(scene.server.agent_request(body.as_bytes(), "another key").await);
        }
        "key.wrong" => {
            // As an agent before 1.1.7, which this computer has not been yet.
            let data = json!({"agent_version": "0.13.8", "networks": []});
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "oco.agent.hello",
                "params": {"hostname": "old", "agent-key": "wrong", "data": data}});
            let body = body.to_string();
            drop(
                send(
                    scene.server.addr,
                    "POST",
                    "/api-agent.php",
                    &[JSON],
                    body.as_bytes(),
                )
                .await,
            );
        }
        "timestamp.missing" => drop(
            scene
                .envelope(|body| body["params"]["timestamp"] = "soon".into())
                .await,
        ),
        "timestamp.decimals" => drop(
            scene
                .envelope(|body| body["params"]["timestamp"] = 1_800_000_009.123_456_f64.into())
                .await,
        ),
        "timestamp.not-newer" => {
            scene.agent.back(1);
            drop(scene.call("events", json!({"events": []})).await);
        }
        "timestamp.future" => drop(
            scene
                .envelope(|body| body["params"]["timestamp"] = 1_800_100_000.into())
                .await,
        ),
        "data.missing" => drop(
            scene
                .envelope(|body| drop_member(&mut body["params"]["data"], "force_update"))
                .await,
        ),
        "data.type" => drop(scene.hello(json!({"uptime": "long"})).await),
        "data.range" => drop(scene.hello(json!({"battery_level": 1.5})).await),
        "data.format" => drop(scene.hello(network(json!({"mac": "none"}))).await),
        "data.date" => {
            let login = json!({"guid": null, "display_name": "", "username": "u", "console": "c",
                "timestamp": "2026-02-30 00:00:00"});
            drop(
                scene
                    .call("update", json!({"hostname": "pc", "logins": [login]}))
                    .await,
            );
        }
        "data.unknown" => drop(scene.hello(json!({"favourite_colour": "blue"})).await),
        "data.size" => drop(scene.hello(json!({"agent_version": "1".repeat(65)})).await),
        "secret.key" => {
            let key = scene.agent.agent_key.clone();
            drop(
                scene
                    .hello(json!({"services": [{"status": "0", "name": "n", "details": key}]}))
                    .await,
            );
        }
        "secret.password" => {
            let password = json!({"username": "u", "password": "in the clear"});
            drop(scene.call("passwords", json!({"passwords": [password]})).await);
        }
        "order.hello-first" => {
            let mut stranger = TestAgent::new("stranger");
            drop(
                stranger
                    .call(&scene.server, "events", json!({"events": []}))
                    .await,
            );
        }
        "update.not-asked" => {
            scene
                .agent
                .ask(&scene.server, "update", json!({"hostname": "pc"}))
                .await;
            scene.agent.hello(&scene.server).await;
            drop(scene.call("update", json!({"hostname": "pc"})).await);
        }
        "update.too-often" => {
            scene
                .agent
                .ask(&scene.server, "update", json!({"hostname": "pc"}))
                .await;
            scene
                .server
                .rest("PUT", "/computers/1", Some(json!({"force_update": true})))
                .await;
            drop(scene.call("update", json!({"hostname": "pc"})).await);
        }
        "download.not-ordered" | "download.refused" => drop(scene.agent.download(&scene.server, 7).await),
        "job.unknown" => drop(scene.report(&json!(77), 2, Value::Null).await),
        "job.backwards" => {
            let job = scene.job().await;
            scene.report(&job, 2, Value::Null).await;
            drop(scene.report(&job, 1, Value::Null).await);
        }
        "job.reopened" => {
            let job = scene.job().await;
            scene.report(&job, 3, json!(0)).await;
            drop(scene.report(&job, 2, Value::Null).await);
        }
        "job.ended-twice" => {
            let job = scene.job().await;
            scene.report(&job, 3, json!(0)).await;
            drop(scene.report(&job, 3, json!(1)).await);
        }
        "job.outcome" => {
            let job = scene.job().await;
            drop(scene.report(&job, 2, json!(5)).await);
        }
        "passwords.refused" => {
            let secret = json!({"iv": "AAAAAAAAAAAAAAAAAAAAAA==", "data": "AAAA"});
            let password = json!({"username": "u", "password": secret});
            drop(scene.call("passwords", json!({"passwords": [password]})).await);
        }
        other => panic!("nothing breaks {other} ({})", oldest.hostname),
    }
}

fn drop_member(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name);
}

/// A hello as old HTTP libraries write it.
async fn miscased(scene: &mut Scene) -> Response {
    let body = scene.agent.body("hello", hello_data()).to_string();
    let signature = signature::sign(&Key::new(&*scene.agent.agent_key), body.as_bytes());
    let request = format!(
        "POST /api-agent.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Oco-Agent-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(scene.server.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    parse(&answer)
}

#[tokio::test]
async fn every_rule_finds_the_request_that_breaks_it() {
    let rules = TestServer::start().await.get("/conformance").await["rules"].clone();
    let rules = rules.as_array().unwrap();
    assert!(rules.len() >= 30);
    for rule in rules {
        let id = rule["id"].as_str().unwrap();
        let mut scene = Scene::new().await;
        assert_only(&scene.server, &[]).await;
        break_rule(id, &mut scene).await;
        let counts = counts(&scene.server).await;
        assert_eq!(counts.get(id), Some(&1), "{id}: {counts:?}");
        // Those that the server refuses for another reason, too.
        let beside: &[&str] = match id {
            "signature.form" => &["signature.wrong"],
            "envelope.json" => &["timestamp.missing"],
            "timestamp.missing" => &["data.type"],
            "data.size" => &["envelope.json"],
            "update.too-often" => &[],
            "download.not-ordered" => &["download.refused"],
            "download.refused" => &["download.not-ordered"],
            _ => &[],
        };
        let surplus: Vec<_> = counts
            .keys()
            .filter(|other| *other != id && !beside.contains(&other.as_str()))
            .collect();
        assert!(surplus.is_empty(), "{id}: {counts:?}");
        let finding = &scene
            .server
            .get(&format!("/conformance/findings?rule={id}"))
            .await["findings"][0];
        assert_eq!(
            (&finding["rule"], &finding["severity"]),
            (&rule["id"], &rule["severity"])
        );
        assert!(finding["details"][0].is_string(), "{finding}");
        assert!(finding["response"]["line"].is_string(), "{finding}");
    }
}

#[tokio::test]
async fn an_agent_as_it_should_be_is_not_found_fault_with() {
    let mut scene = Scene::new().await;
    let job = scene.job().await;
    let login = json!({"guid": null, "display_name": "U", "username": "u", "console": "tty1",
        "timestamp": "2026-02-28 23:59:59"});
    scene
        .call(
            "update",
            json!({"hostname": "pc", "os": "Debian", "ram": 1, "logins": [login], "software": null}),
        )
        .await;
    for (state, code) in [(1, Value::Null), (2, Value::Null), (3, json!(0)), (3, json!(0))] {
        assert_eq!(scene.report(&job, state, code).await.status, 200);
    }
    let network = network(json!({"netmask": "ffff:ffff:ffff:ffff::/64", "addr": "fd00::2", "mac": "-"}));
    assert_eq!(scene.hello(network).await.status, 200);
    assert_only(&scene.server, &[]).await;
}

#[tokio::test]
async fn findings_keep_the_exchange_without_its_secrets() {
    let mut scene = Scene::new().await;
    let key = scene.agent.agent_key.clone();
    let services = json!([{"status": "0", "name": "n", "details": format!("key {key}")}]);
    let change = json!({"services": services, "agent-key": "another", "uptime": "x"});
    scene.hello(change).await;
    let findings = scene.server.get("/conformance/findings?hostname=PC").await;
    let text = findings.to_string();
    assert!(
        text.contains("oco.agent.hello") && text.contains("POST /api-agent.php"),
        "{text}"
    );
    for secret in [key.as_str(), "\"another\"", API_KEY] {
        assert!(!text.contains(secret), "{text}");
    }
    let agents = &scene.server.get("/conformance").await["agents"];
    assert_eq!(agents[0]["hostname"], "pc");
    assert_eq!(agents[0]["rules"]["secret.key"], 1);
    let after = scene.server.rest("DELETE", "/conformance", None).await.1;
    assert_eq!((&after["findings"], &after["checked"]), (&json!(0), &json!(0)));
    let unknown = scene
        .server
        .rest("GET", "/conformance/findings?rule=nope", None)
        .await;
    assert_eq!(unknown.0, 400);
}

#[tokio::test]
async fn in_strict_mode_errors_are_refused_and_warnings_are_not() {
    let server = TestServer::start_with(|config| config.strict = true).await;
    let mut scene = Scene {
        agent: TestAgent::registered(&server, "pc").await,
        server,
    };
    let refused = scene.hello(json!({"uptime": "long"})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().starts_with("data.type: ") && refused.text().contains("uptime"));
    assert_eq!(scene.hello(json!({"favourite_colour": "blue"})).await.status, 200);
    assert_eq!(scene.hello(json!({})).await.status, 200);
}
