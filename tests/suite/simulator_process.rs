//! The simulator as a process: a small fleet against a mock server process, its exit codes, and what it says to bad input.

use crate::support::mock::MockServer;
use crate::support::{REGISTRATION_KEY, program, stderr};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// A fleet that is done in some seconds, even unoptimised on a busy machine.
const SMALL: &str = r#"
description = "a dozen machines install one package"
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
[[admin.package]]
name = "Tool"
version = "1.0"
procedure = "install-tool"
size_kib = 16
[[admin.deployment]]
name = "Tool for everybody"
packages = ["Tool"]
at = "all-registered"
[[convergence]]
name = "installed"
goal = "succeeded"
deployment = "Tool for everybody"
within = "90s"
[thresholds]
error_share = 0.0
agents_lost = 0
"#;

fn simulator(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program("oco-simulator"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_small_fleet_converges_at_a_server_process_and_the_server_agrees() {
    let server = MockServer::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let output = simulator(
        folder.path(),
        &[
            "run",
            "small.toml",
            "--server",
            &server.agent_url,
            "--agent-key",
            REGISTRATION_KEY,
            "--api-key",
            MockServer::API_KEY,
        ],
    );
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
    let result: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("oco-simulator-report.json")).unwrap())
            .unwrap();
    assert_eq!(result["verdict"], "pass");
    assert_eq!(
        (&result["agents"]["planned"], &result["agents"]["registered"]),
        (&12.into(), &12.into())
    );
    assert_eq!(result["jobs"]["succeeded"], 12);
    assert_eq!(result["errors"], serde_json::json!({}));
    assert!(result["methods"]["oco.agent.hello"]["ok"].as_u64().unwrap() >= 24);
    let html = std::fs::read_to_string(folder.path().join("oco-simulator-report.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("Passed"));
    for outside in ["src=\"http", "href=\"http", "url(http"] {
        assert!(!html.contains(outside), "the report is to need no network");
    }
    let computers = server.get("computers?limit=100");
    assert_eq!(computers["total"], 12);
    for computer in computers["computers"].as_array().unwrap() {
        assert_eq!(computer["state"], "inventoried", "{computer}");
    }
    assert_eq!(server.get("jobs?state=succeeded&limit=100")["total"], 12);
    assert_eq!(
        server.findings(),
        Vec::<String>::new(),
        "no agent has broken the protocol"
    );
}

#[test]
fn a_threshold_that_does_not_hold_is_named_and_ends_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = format!("{SMALL}[thresholds.p99]\n\"oco.agent.hello\" = \"1ms\"\n");
    std::fs::write(folder.path().join("strict.toml"), scenario).unwrap();
    let output = simulator(folder.path(), &["run", "strict.toml"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(
        text.contains("FAIL") && text.contains("p99_ms oco.agent.hello"),
        "{text}"
    );
}

#[test]
fn bad_input_is_explained_and_ends_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bad.toml"),
        SMALL.replace("size = 12", "size = \"many\""),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("typo.toml"),
        SMALL.replace("interval =", "intervall ="),
    )
    .unwrap();
    std::fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/api-agent.php", listener.local_addr().unwrap());
    drop(listener);
    for (arguments, reason) in [
        (vec!["run", "--agnts", "5"], "--agnts"),
        (vec!["run", "--duration", "soon"], "soon"),
        (vec!["run", "no-such-scenario"], "no-such-scenario"),
        (vec!["run", "bad.toml"], "bad.toml is not valid, line 6"),
        (vec!["run", "typo.toml"], "intervall"),
        (
            vec![
                "run",
                "small.toml",
                "--server",
                &nobody,
                "--agent-key",
                "k",
                "--api-key",
                "k",
            ],
            "127.0.0.1",
        ),
        (
            vec!["run", "small.toml", "--report", "/proc/no/report.html"],
            "/proc/no",
        ),
        (vec!["generate", "--os", "beos", "--index", "1"], "beos"),
    ] {
        let output = simulator(folder.path(), &arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(reason),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "nothing half-written is left: {left:?}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_still_writes_its_report() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("long.toml"),
        SMALL
            .replace("size = 12", "size = 500")
            .replace("\"1s\"", "\"60s\""),
    )
    .unwrap();
    let mut command = Command::new(program("oco-simulator"));
    command
        .current_dir(folder.path())
        .args(["run", "long.toml"])
        .stdout(std::process::Stdio::null());
    let log = folder.path().join("log");
    let mut run = command
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    crate::support::wait_for("the first progress", || {
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("registered")
            .then_some(())
    });
    crate::support::signal(&run, "INT");
    assert_eq!(
        run.wait().unwrap().code(),
        Some(1),
        "what was to converge did not"
    );
    let result = std::fs::read(folder.path().join("oco-simulator-report.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    assert_eq!(result["interrupted"], true);
    assert_eq!(result["verdict"], "fail");
}

#[test]
fn the_same_machine_is_generated_again_and_can_be_recorded() {
    let folder = tempfile::tempdir().unwrap();
    for os in ["linux", "macos", "windows"] {
        let arguments = [
            "generate",
            "--os",
            os,
            "--index",
            "7",
            "--seed",
            "3",
            "--artefacts",
            os,
        ];
        let inventory = simulator(folder.path(), &arguments);
        assert!(inventory.status.success(), "{}", stderr(&inventory));
        let parsed: Value = serde_json::from_slice(&inventory.stdout).unwrap();
        assert!(
            parsed["hostname"].is_string()
                && parsed["software"].as_array().is_some_and(|list| list.len() > 10)
        );
        assert!(folder.path().join(os).join("host.json").exists());
    }
}
