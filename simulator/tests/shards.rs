//! A fleet in two processes against one server, and their results merged by a third one.

#![allow(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_mock_server::{Config, Server};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tokio::net::TcpListener;

/// Thirty machines that are quick about everything.
const SMALL: &str = include_str!("small.toml");

/// A busy machine has no time for some of their check-ins, which are errors. Whoever uses it looks whether there are others.
const LENIENT: &str = "[thresholds]\nerror_share = 1\n";

fn simulator(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oco-simulator"));
    command
        .current_dir(folder)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn result(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

fn number(result: &Value, pointer: &str) -> u64 {
    result.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn said(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    text.concat()
}

/// Whether nothing went wrong but that there was no time for some check-ins.
fn has_only_missed(result: &Value) -> bool {
    let errors = result["errors"].as_object().unwrap();
    errors.keys().all(|kind| kind == "missed")
}

/// Runs both halves of the fleet at the same time, into `0.json` and `1.json`.
async fn run_halves(folder: &Path) {
    let config = Config {
        database: format!("sqlite:{}", folder.join("server.db").display()),
        ..Config::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(config, listener, std::future::pending())
        .await
        .unwrap();
    let text = SMALL.replace("GOAL", "succeeded") + LENIENT;
    std::fs::write(folder.join("parts.toml"), text).unwrap();
    let url = server.agent_url();
    let halves = [0, 1].map(|shard| {
        let (part, json, html) = (
            format!("{shard}/2"),
            format!("{shard}.json"),
            format!("{shard}.html"),
        );
        let access = [
            "--server",
            &url,
            "--agent-key",
            server.agent_key.expose(),
            "--api-key",
            server.api_key.expose(),
        ];
        let run = [
            "run",
            "parts.toml",
            "--shard",
            &part,
            "--json",
            &json,
            "--report",
            &html,
        ];
        simulator(folder, &[&run[..], &access[..]].concat())
            .spawn()
            .unwrap()
    });
    for half in halves {
        let output = tokio::task::spawn_blocking(move || half.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_run_a_fleet_and_their_merged_counts_are_the_sums() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run_halves(folder).await;
    let merge = |arguments: &[&str]| simulator(folder, arguments).output().unwrap();
    let all = [
        "merge", "0.json", "1.json", "--report", "all.html", "--json", "all.json",
    ];
    let output = merge(&all);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let (merged, parts) = (
        result(folder, "all.json"),
        ["0.json", "1.json"].map(|name| result(folder, name)),
    );
    for pointer in [
        "/agents/planned",
        "/agents/registered",
        "/check_ins/ok",
        "/jobs/succeeded",
        "/methods/oco.agent.hello/ok",
        "/methods/oco.agent.update/ok",
        "/methods/oco.agent.update_job_state/ok",
        "/convergence/1/agents",
    ] {
        let counts = parts.each_ref().map(|part| number(part, pointer));
        assert!(counts.iter().all(|count| *count > 0), "{pointer}: {counts:?}");
        assert_eq!(number(&merged, pointer), counts.iter().sum::<u64>(), "{pointer}");
    }
    assert!(has_only_missed(&merged), "{}", merged["errors"]);
    // Every agent exactly once, in one of the processes.
    assert_eq!(
        parts.each_ref().map(|part| number(part, "/agents/registered")),
        [15, 15]
    );
    assert_eq!(number(&merged, "/jobs/succeeded"), 60);
    assert_eq!(
        (&merged["verdict"], number(&merged, "/merged")),
        (&"pass".into(), 2)
    );
    assert!(
        std::fs::read_to_string(folder.join("all.html"))
            .unwrap()
            .contains("2 shards merged")
    );
    for (arguments, named) in [
        (&["merge", "0.json", "--report", "x.html"][..], "missing: 1/2"),
        (
            &["merge", "0.json", "0.json", "1.json", "--report", "x.html"],
            "again",
        ),
        (
            &["merge", "all.json", "--report", "x.html"],
            "no result of a shard",
        ),
        (&["merge", "parts.toml", "--report", "x.html"], "parts.toml"),
    ] {
        let output = merge(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(named), "{}", said(&output));
    }
    assert!(!folder.join("x.html").exists());
}

#[test]
fn a_result_that_is_faster_than_possible_fails_the_run_as_its_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = SMALL.split("[[admin.package]]").next().unwrap().to_owned();
    let text =
        text + "[[convergence]]\nname = \"registered\"\ngoal = \"registered\"\nwithin = \"5m\"\n" + LENIENT;
    std::fs::write(folder.join("parts.toml"), text).unwrap();
    let first = simulator(folder, &["run", "parts.toml", "--json", "old.json"])
        .output()
        .unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", said(&first));
    assert!(has_only_missed(&result(folder, "old.json")));
    let mut old = result(folder, "old.json");
    old["methods"]["oco.agent.hello"]["p99_ms"] = 0.001.into();
    std::fs::write(folder.join("old.json"), old.to_string()).unwrap();
    let run = |arguments: &[&str]| {
        let arguments = [&["run", "parts.toml", "--baseline", "old.json"], arguments].concat();
        simulator(folder, &arguments).output().unwrap()
    };
    let slower = run(&["--regression", "0.5", "--json", "new.json"]);
    assert_eq!(slower.status.code(), Some(1), "{}", said(&slower));
    assert!(said(&slower).contains("FAIL regression p99_ms oco.agent.hello"));
    let new = result(folder, "new.json");
    assert_eq!(new["baseline"]["regression_limit"], 0.5);
    let page = std::fs::read_to_string(folder.join("oco-simulator-report.html")).unwrap();
    assert!(page.contains("Against old.json"));
    let other_load = run(&["--agents", "5"]);
    assert_eq!(other_load.status.code(), Some(2), "{}", said(&other_load));
}
