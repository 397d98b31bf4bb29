//! The program itself: its command line, and what survives a kill.

use crate::support::{REGISTRATION_KEY, hello_data, send};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oco-mock-server"));
    command.env("RUST_LOG", "error");
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn assert_fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?}: {text} lacks {part}");
    }
    assert!(output.stdout.is_empty());
}

/// A running server; killed when dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) api_key: String,
}

impl Running {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_as(program(), folder, arguments)
    }

    /// Starts what `program` is, which runs the server and is killed as the server.
    pub(crate) fn start_as(mut program: Command, folder: &Path, arguments: &[&str]) -> Self {
        let mut child = program
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("XDG_DATA_HOME", folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut value = |label: &str| {
            let line = lines.find(|line| line.contains(label)).unwrap();
            line.rsplit(' ').next().unwrap().to_owned()
        };
        let addr = value("listening on").parse().unwrap();
        let api_key = value("REST API key");
        Self { child, addr, api_key }
    }

    pub(crate) async fn call(&self, method: &str, key: &str, timestamp: f64, data: Value) -> (u16, Value) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": format!("oco.agent.{method}"), "params":
            {"uid": "u", "hostname": "pc", "timestamp": timestamp, "data": data}})
        .to_string();
        let signature = signature::sign(&Key::new(key), body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", signature.as_str()),
        ];
        let response = send(self.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await;
        (
            response.status,
            serde_json::from_slice(&response.body).unwrap_or_default(),
        )
    }

    pub(crate) async fn rest(&self, method: &str, path: &str, body: Value) -> Value {
        let authorization = format!("Bearer {}", self.api_key);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        send(
            self.addr,
            method,
            &format!("/mock/v1{path}"),
            &headers,
            body.to_string().as_bytes(),
        )
        .await
        .json()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn version_and_help_succeed() {
    let version = run(&["--version"]);
    assert!(version.status.success());
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(
        text.trim_end(),
        concat!("oco-mock-server ", env!("CARGO_PKG_VERSION"))
    );
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for option in [
        "--listen",
        "--database",
        "--agent-key",
        "--config",
        "--server-generation",
        "--php-quirks",
    ] {
        assert!(help.contains(option));
    }
}

/// What the program prints when it starts.
fn greeting(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let mut child = program()
        .args([
            "--listen",
            "127.0.0.1:0",
            "--server-generation",
            "2022",
            "--php-quirks",
            "7",
        ])
        .args(arguments)
        .env("XDG_DATA_HOME", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().starts_with("database:") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines
}

#[test]
fn the_first_administrator_is_told_at_the_first_start_only() {
    let folder = tempfile::tempdir().unwrap();
    let told = |lines: &[String]| lines.iter().any(|line| line.contains("admin, password "));
    let first = greeting(folder.path(), &[]);
    assert!(told(&first), "{first:?}");
    let second = greeting(folder.path(), &[]);
    assert!(!told(&second), "{second:?}");
    assert!(second.iter().any(|line| line.contains("/api-client.php")));
}

#[test]
fn an_administrators_password_that_was_configured_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mock.toml");
    std::fs::write(&file, "admin-password = \"configured-secret\"\n").unwrap();
    let lines = greeting(folder.path(), &["--config", file.to_str().unwrap()]);
    assert!(
        lines.iter().any(|line| line.contains("configured password")),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains("configured-secret")),
        "{lines:?}"
    );
}

#[test]
fn bad_input_fails_in_one_line_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mock.toml");
    std::fs::write(&file, "listen = '127.0.0.1:0'\nupdate-interval = 'soon'\n").unwrap();
    let file = file.to_str().unwrap();
    let memory = ["--database", "sqlite::memory:"];
    let with_memory = |arguments: &[&'static str]| [&memory, arguments].concat();
    assert_fails(&["--nonsense"], 2, &["--nonsense"]);
    assert_fails(&["surplus"], 2, &["surplus"]);
    assert_fails(&["--listen"], 2, &["--listen"]);
    assert_fails(&with_memory(&["--listen", "nowhere"]), 2, &["nowhere", "IP:PORT"]);
    assert_fails(&["--server-generation", "1999"], 2, &["1999", "current, 2022"]);
    assert_fails(&["--php-quirks", "5"], 2, &["\"5\"", "8, 7, off"]);
    assert_fails(
        &with_memory(&["--listen", "127.0.0.1:0", "--agent-key", ""]),
        2,
        &["agent-key", "empty"],
    );
    assert_fails(
        &["--config", file],
        2,
        &["mock.toml:2", "update-interval", "invalid type"],
    );
    assert_fails(
        &["--config", "/no/such.toml"],
        2,
        &[
            "/no/such.toml",
            if cfg!(windows) {
                "os error 3"
            } else {
                "No such file"
            },
        ],
    );
    for url in [
        "oracle://user:name@host/db",
        "postgres://user:name@host",
        "nonsense",
        "sqlite:",
    ] {
        assert_fails(
            &["--listen", "127.0.0.1:0", "--database", url],
            2,
            &["database URL", "sqlite:PATH"],
        );
    }
    let blocked = format!("sqlite:{file}/oco.db");
    assert_fails(
        &["--listen", "127.0.0.1:0", "--database", &blocked],
        1,
        &["make the folder", "mock.toml"],
    );
    let garbage = format!("sqlite:{file}");
    let read_only = format!("sqlite:{}?mode=ro", folder.path().join("absent.db").display());
    assert_fails(
        &["--listen", "127.0.0.1:0", "--database", &read_only],
        1,
        &["cannot open the database"],
    );
    assert_fails(
        &["--listen", "127.0.0.1:0", "--database", &garbage],
        1,
        &["cannot open the database", "not a database"],
    );
}

#[test]
fn a_taken_port_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    assert_fails(
        &["--database", "sqlite::memory:", "--listen", &addr],
        1,
        &[&addr, if cfg!(windows) { "os error 10048" } else { "in use" }],
    );
}

#[test]
fn a_database_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _running = Running::start(folder.path(), &[]);
    let url = format!(
        "sqlite:{}",
        folder.path().join("oco-mock-server/oco.db").display()
    );
    assert_fails(
        &["--listen", "127.0.0.1:0", "--database", &url],
        1,
        &["in use by another"],
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path(), &["--agent-key", REGISTRATION_KEY]);
    let (status, answer) = server.call("hello", REGISTRATION_KEY, 5.0, hello_data()).await;
    assert_eq!(status, 200);
    let key = answer["result"]["params"]["agent-key"]
        .as_str()
        .unwrap()
        .to_owned();
    let package = server
        .rest("POST", "/packages", json!({"name": "p", "version": "1"}))
        .await["id"]
        .clone();
    server
        .rest(
            "POST",
            "/deployments",
            json!({"name": "d", "packages": [package, package], "computers": "all"}),
        )
        .await;
    let report = json!({"job-id": 1, "state": 3, "return-code": 0, "message": "done"});
    assert_eq!(server.call("update_job_state", &key, 6.0, report).await.0, 200);
    let software = json!({"os": "x", "software": [{"name": "n", "version": "1", "description": ""}]});
    assert_eq!(server.call("update", &key, 7.0, software).await.0, 200);
    assert_eq!(server.call("hello", &key, 8.0, hello_data()).await.0, 200);
    let api_key = server.api_key.clone();
    // Killed without a chance to clean up.
    drop(server);

    let server = Running::start(folder.path(), &[]);
    assert_eq!(server.api_key, api_key);
    assert_eq!(
        server.call("hello", &key, 8.0, hello_data()).await.0,
        401,
        "the last timestamp is known"
    );
    let (status, answer) = server.call("hello", &key, 9.0, hello_data()).await;
    assert_eq!(status, 200);
    let params = &answer["result"]["params"];
    assert!(params["agent-key"].is_null());
    assert_eq!(params["update"], 0);
    assert_eq!(params["software-jobs"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.rest("GET", "/jobs?state=succeeded", Value::Null).await["jobs"][0]["output"],
        "done"
    );
    let found = server
        .rest("GET", "/software/computers?name=n", Value::Null)
        .await;
    assert_eq!(found["computers"][0]["hostname"], "pc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_registration_is_lost_by_a_kill_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path(), &["--agent-key", REGISTRATION_KEY]);
    let addr = server.addr;
    let (acknowledged, mut counted) = tokio::sync::mpsc::unbounded_channel();
    for client in 0..16 {
        let acknowledged = acknowledged.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let hostname = format!("pc-{client}-{number}");
                let Some(key) = try_register(addr, &hostname).await else {
                    break;
                };
                drop(acknowledged.send((hostname, key)));
            }
        });
    }
    drop(acknowledged);
    let mut known = Vec::new();
    while let Some(registration) = counted.recv().await {
        known.push(registration);
        if known.len() == 200 {
            break;
        }
    }
    // In the middle of it: 16 clients are registering.
    drop(server);
    while let Some(registration) = counted.recv().await {
        known.push(registration);
    }
    let server = Running::start(folder.path(), &[]);
    for (hostname, key) in &known {
        let body = hello(hostname, 2.0);
        let signature = signature::sign(&Key::new(&**key), body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", signature.as_str()),
        ];
        let response = send(server.addr, "POST", "/api-agent.php", &headers, body.as_bytes()).await;
        assert_eq!(response.status, 200, "{hostname}");
    }
}

fn hello(hostname: &str, timestamp: f64) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "oco.agent.hello", "params":
        {"uid": hostname, "hostname": hostname, "timestamp": timestamp, "data": hello_data()}})
    .to_string()
}

/// Registers over a connection that may break; the agent key if it was acknowledged in full.
async fn try_register(addr: SocketAddr, hostname: &str) -> Option<String> {
    let body = hello(hostname, 1.0);
    let signature = signature::sign(&Key::new(REGISTRATION_KEY), body.as_bytes());
    let request = format!(
        "POST /api-agent.php HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-oco-agent-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let answer: Value = serde_json::from_slice(&answer[start..]).ok()?;
    Some(answer["result"]["params"]["agent-key"].as_str()?.to_owned())
}

#[cfg(unix)]
fn terminate(running: &Running) {
    let pid = running.child.id().to_string();
    let status = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(status.unwrap().success());
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_with_success() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[]);
    terminate(&running);
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_waits_for_the_request_that_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[]);
    let mut begun = TcpStream::connect(running.addr).await.unwrap();
    let head = b"POST /api-agent.php HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
    begun.write_all(head).await.unwrap();
    let mut interim = [0; 25];
    begun.read_exact(&mut interim).await.unwrap();
    terminate(&running);
    // Once it takes no further connection, it has seen the signal.
    while TcpStream::connect(running.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(running.child.try_wait().unwrap().is_none());
    begun.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("400 Bad Request"), "{answer}");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_log_has_every_request_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let config = folder.path().join("server.toml");
    std::fs::write(
        &config,
        "api-key = \"s3cret-api\"\nadmin-password = \"s3cret-admin\"\n",
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_oco-mock-server"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--database",
            "sqlite::memory:",
            "--agent-key",
            "s3cret-registration",
        ])
        .args(["--config", config.to_str().unwrap()])
        .env("RUST_LOG", "oco_mock_server=trace,hyper=debug,sqlx=debug")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let addr = first.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let json = ("content-type", "application/json");
    let bearer = ("authorization", "Bearer s3cret-api");
    let user = br#"{"name":"eve","password":"s3cret-eve","role":"viewer"}"#;
    let keyed = br#"{"jsonrpc":"2.0","id":1,"method":"oco.agent.hello","params":
        {"hostname":"pc","agent-key":"s3cret-registration","data":{"agent_version":"1.1.6"}}}"#;
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"oco.info","params":{"api_key":"s3cret-api"}}"#;
    let admin = ("authorization", "Basic YWRtaW46czNjcmV0LWFkbWlu");
    for (method, path, headers, body, status) in [
        ("POST", "/mock/v1/users", &[json, bearer][..], &user[..], 201),
        (
            "POST",
            "/mock/v1/users",
            &[json, ("authorization", "Bearer s3cret-guess")],
            user,
            401,
        ),
        ("POST", "/api-agent.php", &[json], keyed, 200),
        (
            "GET",
            "/api-agent.php?hostname=pc&agent-key=s3cret-query&id=1",
            &[],
            b"",
            401,
        ),
        ("POST", "/api-client.php", &[json, admin], call, 200),
    ] {
        assert_eq!(
            send(addr, method, path, headers, body).await.status,
            status,
            "{path}"
        );
    }
    drop(child.kill());
    drop(child.wait());
    let log = std::fs::read_to_string(log).unwrap();
    for logged in ["rest", "oco.agent.hello", "keyed download", "oco.info"] {
        let label = format!("rpc.method=\"{logged}\"");
        let found = log
            .lines()
            .any(|line| line.contains("http.status=") && line.contains(&label));
        assert!(found, "{logged}: {log}");
    }
    for secret in ["s3cret", "YWRtaW46"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
#[cfg(unix)]
fn the_data_folder_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("100%20?mode=ro");
    drop(Running::start(&folder, &[]));
    assert!(folder.join("oco-mock-server/oco.db").exists());
}
