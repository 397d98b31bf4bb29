//! What was acknowledged survives a kill of the real process under load: registrations, job states and passwords. No answer
//! leaves before the disk has what it acknowledges.

use crate::binary::Running;
use crate::support::{START, hello_data, send};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Computers that talk to the server at the same time.
const COMPUTERS: usize = 12;
/// Acknowledgements after which the server is killed, in the rounds of the test.
const KILLED_AFTER: [usize; 6] = [5, 17, 30, 55, 80, 131];

/// A computer and what the server has told it that it stored.
#[derive(Debug, Default)]
struct Witness {
    hostname: String,
    agent_key: String,
    server_key: String,
    timestamp: u64,
    registered: bool,
    /// Job and state, as last acknowledged.
    jobs: Vec<(Value, i64)>,
    passwords: Vec<String>,
}

impl Witness {
    /// The answer's `result`; none where the connection or the request failed.
    async fn call(&mut self, addr: SocketAddr, method: &str, data: Value) -> Option<Value> {
        self.timestamp += 1;
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": format!("oco.agent.{method}"), "params":
            {"uid": self.hostname, "hostname": self.hostname, "timestamp": self.timestamp, "data": data}});
        let body = body.to_string();
        let signature = signature::sign(&Key::new(&*self.agent_key), body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("x-oco-agent-signature", signature.as_str()),
        ];
        let response = attempt(addr, &headers, body.as_bytes()).await?;
        let status = response.0;
        (status == 200).then(|| response.1["result"].clone())
    }

    /// Goes on until the server is gone, and counts what is acknowledged.
    async fn work(mut self, addr: SocketAddr, acknowledged: Arc<AtomicUsize>) -> Self {
        let count = || acknowledged.fetch_add(1, Ordering::SeqCst);
        let Some(hello) = self.call(addr, "hello", hello_data()).await else {
            return self;
        };
        self.agent_key = hello["params"]["agent-key"].as_str().unwrap().into();
        self.server_key = hello["params"]["server-key"].as_str().unwrap().into();
        self.registered = true;
        count();
        for round in 0.. {
            let Some(hello) = self.call(addr, "hello", hello_data()).await else {
                break;
            };
            count();
            for job in hello["params"]["software-jobs"].as_array().unwrap() {
                let id = job["id"].clone();
                let state = [1, 2, 3][round.min(2)];
                let report = json!({"job-id": id, "state": state, "return-code": 0, "message": "m"});
                if self.call(addr, "update_job_state", report).await.is_none() {
                    return self;
                }
                self.jobs.retain(|(job, _)| *job != id);
                self.jobs.push((id, state));
                count();
            }
            let password = format!("password-{}-{round}", self.hostname);
            let data = json!({"passwords": [{"username": "root", "password": password}]});
            if self.call(addr, "passwords", data).await.is_none() {
                break;
            }
            self.passwords.push(password);
            count();
        }
        self
    }
}

/// One request; none where there is no whole answer.
async fn attempt(addr: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Option<(u16, Value)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await.ok()?;
    let mut request = "POST /api-agent.php HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_owned();
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    // An answer that was cut off has told the agent nothing.
    Some((status, serde_json::from_str::<Value>(body).unwrap_or_default()))
        .filter(|(status, body)| *status != 200 || body["result"].is_object())
}

async fn rest(server: &Running, path: &str) -> Value {
    let authorization = format!("Bearer {}", server.api_key);
    let headers = [("authorization", authorization.as_str())];
    send(server.addr, "GET", &format!("/mock/v1{path}"), &headers, b"")
        .await
        .json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    for (round, killed_after) in KILLED_AFTER.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("oco.db").display());
        let arguments = ["--database", &*database, "--agent-key", "registration"];
        let mut server = Running::start(folder.path(), &arguments);
        prepare(&server).await;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let witnesses = (0..COMPUTERS).map(|number| Witness {
            hostname: format!("pc{number}"),
            agent_key: "registration".into(),
            timestamp: START,
            ..Witness::default()
        });
        let work: Vec<_> = witnesses
            .map(|witness| tokio::spawn(witness.work(server.addr, acknowledged.clone())))
            .collect();
        while acknowledged.load(Ordering::SeqCst) < killed_after {
            tokio::task::yield_now().await;
        }
        // SIGKILL: nothing of the process runs after it.
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        let mut witnesses = Vec::new();
        for work in work {
            witnesses.push(work.await.unwrap());
        }
        let server = Running::start(folder.path(), &arguments);
        let registered = witnesses.iter().filter(|witness| witness.registered).count();
        assert!(registered > 0, "round {round}");
        for witness in &mut witnesses {
            check(&server, witness).await;
        }
    }
}

/// Computers that are to register, with a job each, and a rule on passwords.
async fn prepare(server: &Running) {
    let rule = json!({"username": "root", "alphabet": "abcdef", "length": 10, "valid_for": 1});
    server.rest("POST", "/password-rules", rule).await;
    let package = json!({"name": "p", "version": "1", "procedure": "true", "success_codes": ""});
    let package = server.rest("POST", "/packages", package).await["id"].clone();
    for number in 0..COMPUTERS {
        let computer = json!({"hostname": format!("pc{number}")});
        server.rest("POST", "/computers", computer).await;
    }
    let deployment = json!({"name": "d", "packages": [package], "computers": "all"});
    let deployment = server.rest("POST", "/deployments", deployment).await;
    assert_eq!(deployment["jobs"], json!(COMPUTERS), "{deployment}");
}

/// Asks the server for everything that it has acknowledged to a computer.
async fn check(server: &Running, witness: &mut Witness) {
    if !witness.registered {
        return;
    }
    let hello = witness.call(server.addr, "hello", hello_data()).await;
    assert!(hello.is_some(), "the keys of {} are lost", witness.hostname);
    let found = rest(server, &format!("/computers?hostname={}", witness.hostname)).await;
    let id = found["computers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|computer| computer["hostname"] == *witness.hostname)
        .unwrap()["id"]
        .clone();
    let jobs = rest(server, &format!("/jobs?computer={id}")).await;
    for (job, state) in &witness.jobs {
        let stored = jobs["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|stored| stored["id"] == *job);
        let stored = stored.unwrap_or_else(|| panic!("job {job} of {} is lost: {jobs}", witness.hostname));
        let names = ["pending", "downloading", "executing", "succeeded"];
        let stored = names.iter().position(|name| stored["state"] == *name);
        let acknowledged = usize::try_from(*state).unwrap();
        // What was not acknowledged may be stored all the same.
        assert!(
            stored >= Some(acknowledged),
            "job {job} of {}: {jobs}",
            witness.hostname
        );
    }
    let stored = rest(server, &format!("/computers/{id}/passwords"))
        .await
        .to_string();
    for password in &witness.passwords {
        assert!(stored.contains(password), "{password} is lost: {stored}");
    }
}

/// The server under `strace`, which writes what it does to files and sockets to `trace`; none where that is not possible.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr)] // says why a test proves nothing
fn traced(trace: &std::path::Path) -> Option<std::process::Command> {
    use std::process::Command;
    let can = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this needs strace and the right to trace");
        return None;
    }
    let mut command = Command::new("strace");
    // -D: the child is the server, and strace another process.
    command.args(["-D", "-f", "-y", "-s", "16", "-e"]);
    command.arg("trace=pwrite64,fsync,fdatasync,write,writev,sendto");
    command.arg("-o").arg(trace);
    command.arg(env!("CARGO_BIN_EXE_oco-mock-server"));
    Some(command)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_answer_leaves_before_the_log_of_the_database_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let Some(command) = traced(&trace) else { return };
    let arguments = ["--agent-key", "registration"];
    let server = Running::start_as(command, folder.path(), &arguments);
    let (_, answer) = server.call("hello", "registration", 1.0, hello_data()).await;
    let key = answer["result"]["params"]["agent-key"].as_str().unwrap();
    for timestamp in [2.0, 3.0, 4.0] {
        let (status, _) = server.call("hello", key, timestamp, hello_data()).await;
        assert_eq!(status, 200);
    }
    drop(server);
    let trace = loop {
        let text = std::fs::read_to_string(&trace).unwrap();
        if text.contains("+++ killed by SIGKILL +++") {
            break text;
        }
        tokio::task::yield_now().await;
    };
    let (mut written, mut answers) = (0, 0);
    let mut synced = true;
    for line in trace.lines() {
        if line.contains("pwrite64(") && line.contains("oco.db-wal>") {
            written += 1;
            synced = false;
        } else if line.contains("sync") && line.ends_with("= 0") {
            synced = true;
        } else if line.contains("\"HTTP/1.1 200") {
            assert!(synced, "{line} before the sync:\n{trace}");
            answers += 1;
        }
    }
    assert_eq!(answers, 4, "{trace}");
    assert!(written >= answers, "{trace}");
}
