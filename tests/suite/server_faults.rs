//! Every fault that the mock server commits, met by an agent process: it says what is wrong, keeps what it has, and goes on
//! once the fault is over.

use crate::support::mock::MockServer;
use crate::support::{Agent, REGISTRATION_KEY, stderr, wait_for};
use serde_json::{Value, json};

/// What an agent says about a fault; none: it checks in as if there were none.
type Says = Option<&'static str>;

/// A server with a registered agent that does not wait long.
fn registered() -> (MockServer, Agent) {
    let server = MockServer::start();
    let agent = Agent::with_config(&format!(
        "[agent]\nagent-key = {REGISTRATION_KEY}\nread-timeout = 1\nreport-job-output = 1\n\n\
         [server]\napi-url = {}\nserver-key =\n",
        server.agent_url
    ));
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    (server, agent)
}

/// One check-in under a fault, and one when it is over.
fn survives(server: &MockServer, agent: &Agent, fault: &Value, says: Says) {
    let before = agent.config();
    let rule = server.commit(&json!({"select": {"methods": ["hello"]}, "fault": fault}));
    // Answers can be sent again once there was one.
    let needs_one_before = ["replayed", "equal"].iter().any(|is| fault["is"] == *is);
    if needs_one_before {
        assert!(agent.check_in().status.success());
    }
    let output = agent.check_in();
    let log = stderr(&output);
    match says {
        None => assert!(output.status.success(), "{fault}: {log}"),
        Some(reason) => {
            assert_eq!(output.status.code(), Some(1), "{fault}: {log}");
            assert!(log.contains(reason), "{fault}: {log}");
        }
    }
    assert_eq!(agent.config(), before, "{fault}");
    server.wait_until_up();
    assert!(server.committed(rule) > 0, "{fault}");
    server.behave(rule);
    let output = agent.check_in();
    assert!(output.status.success(), "{fault}: {}", stderr(&output));
    assert_eq!(agent.config(), before, "{fault}");
    assert_eq!(server.findings(), Vec::<String>::new(), "{fault}");
}

#[test]
fn slow_answers_are_waited_for() {
    let (server, agent) = registered();
    for fault in [
        json!({"kind": "delay", "distribution": "fixed", "ms": 200}),
        json!({"kind": "delay", "distribution": "uniform", "min": 1, "max": 200}),
        json!({"kind": "delay", "distribution": "log-normal", "median": 20, "sigma": 0.5}),
        json!({"kind": "bandwidth", "bytes_per_second": 1000}),
        json!({"kind": "dribble", "bytes": 20, "every_ms": 20}),
        json!({"kind": "reset", "at": "after"}),
        json!({"kind": "content-type", "value": "text/html"}),
    ] {
        survives(&server, &agent, &fault, None);
    }
}

#[test]
fn broken_connections_and_refusals_cost_one_check_in() {
    let (server, agent) = registered();
    for (fault, reason) in [
        (
            json!({"kind": "status", "code": 503, "retry_after": 5, "body": "busy"}),
            "status 503",
        ),
        (json!({"kind": "status", "code": 500}), "status 500"),
        (json!({"kind": "reset", "at": "request"}), "oco.agent.hello"),
        (json!({"kind": "reset", "at": "before"}), "oco.agent.hello"),
        (json!({"kind": "reset", "at": "in"}), "oco.agent.hello"),
        (json!({"kind": "idle", "at": "request"}), "oco.agent.hello"),
        (json!({"kind": "idle", "at": "before"}), "oco.agent.hello"),
        (json!({"kind": "idle", "at": "in"}), "oco.agent.hello"),
        (json!({"kind": "refuse", "for_ms": 300}), "oco.agent.hello"),
        (json!({"kind": "restart", "for_ms": 300}), "oco.agent.hello"),
    ] {
        survives(&server, &agent, &fault, Some(reason));
    }
}

#[test]
fn answers_that_are_not_genuine_or_make_no_sense_are_not_used() {
    let (server, agent) = registered();
    for (fault, reason) in [
        (json!({"kind": "json", "is": "truncated"}), "not trusted"),
        (json!({"kind": "json", "is": "garbage"}), "not trusted"),
        (
            json!({"kind": "json", "is": "truncated", "signed": true}),
            "makes no sense",
        ),
        (
            json!({"kind": "json", "is": "garbage", "signed": true}),
            "makes no sense",
        ),
        (
            json!({"kind": "oversized", "bytes": 9_000_000, "signed": true}),
            "oco.agent.hello",
        ),
        (
            json!({"kind": "signature", "is": "wrong"}),
            "does not fit the server key",
        ),
        (
            json!({"kind": "signature", "is": "missing"}),
            "carries no signature",
        ),
        (
            json!({"kind": "signature", "is": "other-agent"}),
            "does not fit the server key",
        ),
        (json!({"kind": "timestamp", "is": "replayed"}), "is not newer"),
        (json!({"kind": "timestamp", "is": "equal"}), "is not newer"),
        (json!({"kind": "timestamp", "is": "backward"}), "is not newer"),
        (json!({"kind": "timestamp", "is": "absent"}), "makes no sense"),
    ] {
        survives(&server, &agent, &fault, Some(reason));
    }
}

#[test]
fn a_server_key_that_changes_unasked_is_not_stored() {
    let (server, agent) = registered();
    survives(
        &server,
        &agent,
        &json!({"kind": "key-change", "keys": "server"}),
        None,
    );
}

/// A package whose procedure leaves a line in `witness`.
fn deploy(server: &MockServer, agent: &Agent) -> i64 {
    let witness = agent.folder().join("witness");
    let procedure = format!("echo ran >> {}; sh run.sh", witness.display());
    let package = server.package("tool", &procedure, "0", &[("run.sh", b"echo done\n")]);
    server.deploy(&[package], 0)
}

fn runs(agent: &Agent) -> usize {
    std::fs::read_to_string(agent.folder().join("witness")).map_or(0, |text| text.lines().count())
}

#[test]
fn odd_jobs_run_once_or_fail_by_themselves() {
    for (kind, state, code, run) in [
        ("unknown-job-fields", "succeeded", 0, 1),
        ("duplicate-jobs", "succeeded", 0, 1),
        ("foreign-job", "failed", 127, 0),
    ] {
        let (server, agent) = registered();
        let deployment = deploy(&server, &agent);
        let rule = server.commit(&json!({"fault": {"kind": kind}}));
        let output = agent.check_in();
        assert!(output.status.success(), "{kind}: {}", stderr(&output));
        assert_eq!(server.committed(rule), 1, "{kind}");
        let job = &server.jobs(deployment)[0];
        assert_eq!(
            (&job["state"], &job["return_code"]),
            (&json!(state), &json!(code)),
            "{kind}: {job}"
        );
        assert_eq!(runs(&agent), run, "{kind}");
        assert!(agent.check_in().status.success());
        assert_eq!(runs(&agent), run, "{kind}: nothing is run again");
        assert_eq!(server.findings(), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn packages_that_are_not_what_they_should_be_are_refused_and_reported() {
    for (is, reason) in [
        ("truncated", "not a complete ZIP archive"),
        ("corrupt", "not a complete ZIP archive"),
        ("zip-bomb", "unpacks to more than"),
        ("parent-entry", "leads out of its folder"),
        ("absolute-entry", "leads out of its folder"),
        ("link-entry", "is a link"),
        ("wrong-length", "oco.agent.download"),
    ] {
        let (server, agent) = registered();
        let deployment = deploy(&server, &agent);
        let rule = server.commit(&json!({"fault": {"kind": "package", "is": is}}));
        let output = agent.check_in();
        assert!(output.status.success(), "{is}: {}", stderr(&output));
        assert!(server.committed(rule) > 0, "{is}");
        let job = &server.jobs(deployment)[0];
        assert_eq!(
            (&job["state"], &job["return_code"]),
            (&json!("failed"), &json!(-9999)),
            "{is}: {job}"
        );
        let message = job["output"].as_str().unwrap();
        assert!(message.contains(reason), "{is}: {message}");
        assert_eq!(runs(&agent), 0, "{is}");
        assert!(agent.staging_is_empty(), "{is}");
        assert!(!std::path::Path::new("/tmp/escaped").exists(), "{is}");
        assert_eq!(server.findings(), Vec::<String>::new(), "{is}");
    }
}

#[test]
fn an_inventory_that_meets_a_500_is_sent_again() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let rule = server.commit(
        &json!({"select": {"methods": ["update"], "first": 1}, "fault": {"kind": "status", "code": 500}}),
    );
    let output = agent.check_in();
    let log = stderr(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("inventory is sent again"), "{log}");
    assert_eq!(server.committed(rule), 1);
    let inventory = &server.get("computers/1")["inventory"];
    assert!(inventory["os"].is_string(), "{inventory}");
    assert_eq!(server.findings(), Vec::<String>::new());
}

#[test]
fn an_outcome_whose_answer_is_lost_is_reported_again_and_nothing_runs_twice() {
    let (server, agent) = registered();
    let deployment = deploy(&server, &agent);
    let rule = server.commit(&json!({"select": {"methods": ["update_job_state"], "share": 0.5},
        "fault": {"kind": "reset", "at": "before"}}));
    wait_for("a lost answer", || {
        agent.check_in();
        (server.committed(rule) > 0).then_some(())
    });
    server.behave(rule);
    wait_for("the outcome", || {
        agent.check_in();
        (server.jobs(deployment)[0]["state"] == "succeeded").then_some(())
    });
    assert_eq!(runs(&agent), 1);
    assert_eq!(server.findings(), Vec::<String>::new());
}
