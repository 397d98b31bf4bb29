//! Fleets beyond one run and one machine: kept state, a common start, live metrics.

use crate::support::mock::MockServer;
use crate::support::{REGISTRATION_KEY, program, stderr, wait_for};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A fleet that only registers and checks in.
const FLEET: &str = r#"
description = "a dozen machines register"
[run]
duration = "100s"
[fleet]
size = 12
seed = 5
[fleet.os]
windows = 1
macos = 1
linux = 1
[pacing]
ramp = "1s"
interval = "2s"
[[convergence]]
name = "registered"
goal = "registered"
within = "90s"
"#;

/// A run of that fleet against `server`, in a folder that has its scenario.
fn command(folder: &Path, server: &MockServer, arguments: &[&str]) -> Command {
    std::fs::write(folder.join("fleet.toml"), FLEET).unwrap();
    let mut command = Command::new(program("oco-simulator"));
    command.current_dir(folder).args(["run", "fleet.toml"]);
    command.args(["--server", &server.agent_url, "--agent-key", REGISTRATION_KEY]);
    command.args(arguments);
    command
}

fn result(folder: &Path) -> Value {
    let result = std::fs::read(folder.join("oco-simulator-report.json")).unwrap();
    serde_json::from_slice(&result).unwrap()
}

fn passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(output));
}

#[cfg(unix)]
#[test]
fn a_second_run_goes_on_with_the_registered_computers() {
    use std::os::unix::fs::PermissionsExt;
    let server = MockServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut keep = command(folder.path(), &server, &["--state", "fleet.state"]);
    passed(&keep.output().unwrap());
    let state = folder.path().join("fleet.state");
    let mode = std::fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    let first = std::fs::read_to_string(&state).unwrap();
    assert!(first.lines().count() == 13 && !first.contains(REGISTRATION_KEY));
    passed(&keep.output().unwrap());
    let result = result(folder.path());
    assert_eq!(result["errors"], json!({}));
    assert_eq!(result["agents"]["registered"], 12);
    assert_eq!(
        result["methods"]["oco.agent.update"],
        Value::Null,
        "the server has their inventories"
    );
    assert_eq!(server.get("computers?limit=100")["total"], 12);
    assert_ne!(
        first,
        std::fs::read_to_string(&state).unwrap(),
        "timestamps have moved on"
    );
    // Without it they are strangers who have taken the names of registered computers.
    let strangers = command(folder.path(), &server, &["--duration", "10s"])
        .output()
        .unwrap();
    assert_eq!(strangers.status.code(), Some(1));

    let other = command(folder.path(), &server, &["--state", "fleet.state", "--seed", "6"]);
    refused(other, "seed: 5 there, 6 here");
    std::fs::write(&state, "rubbish\n").unwrap();
    refused(keep, "line 1");
    assert_eq!(
        std::fs::read_to_string(&state).unwrap(),
        "rubbish\n",
        "nothing is lost"
    );
}

fn refused(mut command: Command, reason: &str) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
}

#[test]
fn a_fleet_that_is_registered_before_the_run_only_checks_in() {
    let server = MockServer::start();
    server.put("settings", &json!({"self_registration": false}));
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut run = command(folder.path(), &server, &["--api-key", MockServer::API_KEY]);
        let known = FLEET.replace("[fleet]", "[fleet]\nregistered = true");
        let known = known.replace("[run]", "[run]\nuntil = \"duration\"");
        std::fs::write(folder.path().join("fleet.toml"), known).unwrap();
        run.args(["--duration", "6s"]).args(arguments);
        run
    };
    let keep = ["--state", "fleet.state"];
    passed(&run(&keep).output().unwrap());
    let result = result(folder.path());
    assert_eq!(result["errors"], json!({}));
    assert_eq!(
        (&result["agents"]["registered"], &result["agents"]["lost"]),
        (&json!(12), &json!(0))
    );
    assert!(result["methods"]["oco.agent.hello"]["ok"].as_u64().unwrap() >= 24);
    // The others are due in ten minutes and later.
    assert_eq!(result["methods"]["oco.agent.update"]["ok"], 1);
    assert_eq!(server.get("computers?limit=1")["total"], 12);
    // With their keys they go on; without them they are nobody.
    passed(&run(&keep).output().unwrap());
    refused(run(&[]), "it is registered with other keys");
}

#[test]
fn a_start_that_is_over_is_refused_before_any_agent_asks() {
    let server = MockServer::start();
    let folder = tempfile::tempdir().unwrap();
    let late = command(folder.path(), &server, &["--start-at", "2020-01-01T00:00:00Z"]);
    refused(late, "--start-at");
    assert_eq!(server.get("computers?limit=1")["total"], 0);
}

#[cfg(unix)]
#[test]
fn a_fleet_waits_for_its_start_and_can_be_called_off() {
    let server = MockServer::start();
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let arguments = ["--start-at", "2099-01-01T00:00:00Z", "--metrics", &address];
    let mut waiting = Run::start(command(folder.path(), &server, &arguments));
    let text = wait_for("metrics", || scrape(&address));
    assert!(text.contains("oco_simulator_run_info{"), "{text}");
    assert_eq!(waiting.interrupt(), Some(2));
    assert_eq!(server.get("computers?limit=1")["total"], 0);
}

#[cfg(unix)]
#[test]
fn metrics_follow_a_run() {
    let server = MockServer::start();
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    refused(
        command(folder.path(), &server, &["--metrics", &address]),
        "--metrics",
    );
    drop(listener);
    let run = command(folder.path(), &server, &["--metrics", &address]);
    std::fs::write(
        folder.path().join("fleet.toml"),
        FLEET.replace("[run]", "[run]\nuntil = \"duration\""),
    )
    .unwrap();
    let mut run = Run::start(run);
    let text = wait_for("all agents in the metrics", || {
        scrape(&address).filter(|text| text.contains("oco_simulator_agents{state=\"registered\"} 12"))
    });
    for line in [
        "oco_simulator_run_info{scenario=\"fleet\",seed=\"5\",shard=\"0/1\"} 1",
        "oco_simulator_requests_total{method=\"oco.agent.hello\"} ",
        "oco_simulator_latency_seconds{method=\"oco.agent.hello\",quantile=\"0.99\"} ",
        "oco_simulator_process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(run.interrupt(), Some(0));
}

/// What is served there, if anything is.
fn scrape(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// A run that does not outlive its test.
struct Run(Child);

impl Run {
    fn start(mut command: Command) -> Self {
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Ends it as Ctrl-C does; its exit code.
    #[cfg(unix)]
    fn interrupt(&mut self) -> Option<i32> {
        crate::support::signal(&self.0, "INT");
        self.0.wait().unwrap().code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
