//! A server under test, an HTTP client that sends exactly what it is told, and an agent made of both.

use crate::databases;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oco_mock_server::clock::{Clock, Random, RandomError};
use oco_mock_server::{Config, Limits, Server, ServerHandle};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub(crate) const REGISTRATION_KEY: &str = "regkey-test-0123456789";
pub(crate) const API_KEY: &str = "api-key-of-the-tests";
/// Where the tests' clock starts, s.
pub(crate) const START: u64 = 1_800_000_000;

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn set_micros(&self, micros: u64) {
        self.0.store(micros, Ordering::SeqCst);
    }

    pub(crate) fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Yields the bytes that make the given keys, then a counter.
#[derive(Debug, Default)]
pub(crate) struct ScriptedKeys(Mutex<VecDeque<&'static str>>, AtomicU64);

impl ScriptedKeys {
    pub(crate) fn new(keys: &[&'static str]) -> Self {
        Self(Mutex::new(keys.iter().copied().collect()), AtomicU64::new(0))
    }
}

impl Random for ScriptedKeys {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let scripted = self.0.lock().unwrap().pop_front();
        let text = scripted.map_or_else(
            || format!("{:030}", self.1.fetch_add(1, Ordering::SeqCst)),
            str::to_owned,
        );
        for (slot, byte) in buffer.iter_mut().zip(text.bytes()) {
            *slot = u8::try_from(alphabet.iter().position(|one| *one == byte).unwrap()).unwrap();
        }
        Ok(())
    }
}

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) clock: Arc<TestClock>,
    handle: ServerHandle,
    stop: oneshot::Sender<()>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(START * 1_000_000)));
        let mut config = Config {
            agent_key: Some(Key::new(REGISTRATION_KEY)),
            api_key: Some(Key::new(API_KEY)),
            admin_password: Some(Key::new("admin")),
            clock: clock.clone(),
            random: Arc::new(ScriptedKeys::default()),
            limits: Limits {
                drain_timeout: Duration::from_secs(5),
                ..Limits::default()
            },
            ..Config::default()
        };
        change(&mut config);
        if config.database == Config::default().database {
            config.database = databases::fresh().await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let handle = Server::start(config, listener, async move { drop(stopped.await) })
            .await
            .unwrap();
        Self {
            addr: handle.addr,
            clock,
            handle,
            stop,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.handle.join().await.unwrap();
    }

    /// Waits until it accepts connections.
    pub(crate) async fn wait_until_up(&self) {
        tokio::time::timeout(Duration::from_secs(30), async {
            while TcpStream::connect(self.addr).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    /// One REST call: status and JSON.
    pub(crate) async fn rest(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let authorization = format!("Bearer {API_KEY}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let response = send(
            self.addr,
            method,
            &format!("/mock/v1{path}"),
            &headers,
            body.as_bytes(),
        )
        .await;
        (
            response.status,
            serde_json::from_slice(&response.body).unwrap_or(Value::Null),
        )
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.rest("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn create(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.rest("POST", path, Some(body)).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    /// A call of the client API as `user` (`name:password`): its `result.data`, or the code of its error.
    pub(crate) async fn client(&self, user: &str, method: &str, data: Value) -> Result<Value, i64> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method,
            "params": {"api_key": API_KEY, "data": data}});
        let authorization = format!("Basic {}", STANDARD.encode(user));
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let body = body.to_string();
        let response = send(self.addr, "POST", "/api-client.php", &headers, body.as_bytes()).await;
        assert_eq!(response.status, 200, "{method}: {}", response.text());
        let answer = response.json();
        match answer["error"]["code"].as_i64() {
            Some(code) => Err(code),
            None => {
                assert_eq!(answer["result"]["success"], true, "{method}: {answer}");
                Ok(answer["result"]["data"].clone())
            }
        }
    }

    /// A REST call that is answered with nothing but success.
    pub(crate) async fn change(&self, method: &str, path: &str, body: Option<Value>) {
        let (status, answer) = self.rest(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    }

    /// A group of `kind` (`computers` or `packages`) with these members.
    pub(crate) async fn group(&self, kind: &str, name: &str, parent: Option<i64>, members: &[i64]) -> i64 {
        let group = json!({"name": name, "parent": parent});
        let id = self.create(&format!("/groups/{kind}"), group).await["id"]
            .as_i64()
            .unwrap();
        for member in members {
            self.change("PUT", &format!("/groups/{kind}/{id}/members/{member}"), None)
                .await;
        }
        id
    }

    /// A deployment to all computers, with changes.
    pub(crate) async fn deploy(&self, packages: &[i64], change: Value) -> i64 {
        let mut deployment = json!({"name": "d", "packages": packages, "computers": "all"});
        for (key, value) in change.as_object().unwrap() {
            deployment[key] = value.clone();
        }
        self.create("/deployments", deployment).await["id"]
            .as_i64()
            .unwrap()
    }

    /// A package that can be run, without files.
    pub(crate) async fn package(&self, name: &str, success_codes: &str) -> i64 {
        let package =
            json!({"name": name, "version": "1", "procedure": "true", "success_codes": success_codes});
        self.create("/packages", package).await["id"].as_i64().unwrap()
    }

    /// Sends a request to the agent API.
    pub(crate) async fn agent_request(&self, body: &[u8], key: &str) -> Response {
        let signature = signature::sign(&Key::new(key), body);
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", signature.as_str()),
        ];
        send(self.addr, "POST", "/api-agent.php", &headers, body).await
    }
}

/// A computer that talks to a server.
#[derive(Debug, Clone)]
pub(crate) struct TestAgent {
    pub(crate) hostname: String,
    pub(crate) uid: String,
    pub(crate) agent_key: String,
    pub(crate) server_key: String,
    timestamp: u64,
}

impl TestAgent {
    pub(crate) fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.into(),
            uid: format!("uid-{hostname}"),
            agent_key: REGISTRATION_KEY.into(),
            server_key: String::new(),
            timestamp: START * 10_000,
        }
    }

    /// Has further timestamps be greater by `count` more.
    pub(crate) fn skip(&mut self, count: u64) {
        self.timestamp += count;
    }

    /// Has further timestamps be less by `count`.
    pub(crate) fn back(&mut self, count: u64) {
        self.timestamp -= count;
    }

    /// An agent that has said its first hello.
    pub(crate) async fn registered(server: &TestServer, hostname: &str) -> Self {
        let mut agent = Self::new(hostname);
        agent.hello(server).await;
        agent
    }

    /// The body of a request, with a timestamp greater than the one before.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn body(&mut self, method: &str, data: Value) -> Value {
        self.timestamp += 1;
        let timestamp = self.timestamp as f64 / 10_000.0;
        json!({"jsonrpc": "2.0", "id": 1, "method": format!("oco.agent.{method}"), "params":
            {"uid": self.uid, "hostname": self.hostname, "timestamp": timestamp, "data": data}})
    }

    pub(crate) async fn call(&mut self, server: &TestServer, method: &str, data: Value) -> Response {
        let body = self.body(method, data).to_string();
        server.agent_request(body.as_bytes(), &self.agent_key).await
    }

    /// A call that must be answered; its `params`. The signature is checked.
    pub(crate) async fn ask(&mut self, server: &TestServer, method: &str, data: Value) -> Value {
        let response = self.call(server, method, data).await;
        assert_eq!(response.status, 200, "{method}: {}", response.text());
        let result = response.json()["result"].clone();
        if let Some(key) = result["params"]["server-key"].as_str() {
            self.server_key = key.into();
        }
        if let Some(key) = result["params"]["agent-key"].as_str() {
            self.agent_key = key.into();
        }
        let signature = response.header("x-oco-server-signature").unwrap();
        assert!(signature::verify(
            &Key::new(&*self.server_key),
            &response.body,
            signature
        ));
        result["params"].clone()
    }

    pub(crate) async fn hello(&mut self, server: &TestServer) -> Value {
        self.ask(server, "hello", hello_data()).await
    }

    /// The ids of the jobs that a hello is answered with.
    pub(crate) async fn jobs(&mut self, server: &TestServer) -> Vec<Value> {
        let hello = self.hello(server).await;
        let jobs = hello["software-jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].clone()).collect()
    }

    pub(crate) async fn report(
        &mut self,
        server: &TestServer,
        job: &Value,
        state: i64,
        code: Option<i64>,
    ) -> bool {
        let data = json!({"job-id": job, "state": state, "return-code": code, "message": "output"});
        self.ask(server, "update_job_state", data).await["job-succeeded"]
            .as_bool()
            .unwrap()
    }

    pub(crate) async fn download(&mut self, server: &TestServer, package: i64) -> Response {
        let mut body = self.body("download", Value::Null);
        body["params"].as_object_mut().unwrap().remove("data");
        body["params"]["package-id"] = package.into();
        let body = body.to_string();
        let signature = signature::sign(&Key::new(&*self.agent_key), body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", signature.as_str()),
        ];
        send(server.addr, "GET", "/api-agent.php", &headers, body.as_bytes()).await
    }
}

pub(crate) fn hello_data() -> Value {
    json!({"agent_version": "1.2.0", "networks": [], "services": null, "uptime": 5.5,
        "battery_level": false, "battery_status": false, "force_update": false})
}

/// An answer as received.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header by its lower-case name, as it is on the wire.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The reason phrase of the status.
    pub(crate) fn reason(&self) -> &str {
        let line = self.head.lines().next().unwrap();
        line.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses a body may close before all of it is sent.
    drop(stream.write_all(body).await);
    receive(&mut stream).await
}

/// Reads an answer up to the end of the connection.
pub(crate) async fn receive(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    parse(&bytes)
}

/// An answer of these bytes.
pub(crate) fn parse(bytes: &[u8]) -> Response {
    let split = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an answer");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    Response {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: bytes[split + 4..].to_vec(),
    }
}
