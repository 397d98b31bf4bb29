//! Every fault that the mock server commits, met by an agent process: it says what is wrong, keeps what it has, and goes on
//! once the fault is over.

mod cases;

use crate::support::mock::MockServer;
use crate::support::{Agent, REGISTRATION_KEY, stderr, wait_for};
use cases::{
    BAD_PACKAGES, KEYS_TAKEN, ODD_JOBS, RANGE_IGNORED, costly, harmless, key_change, name_of, package,
    unusable,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
fn every_fault_that_the_server_can_commit_has_a_case() {
    let described = cases::committable();
    assert!(described.contains("package zip-bomb") && described.contains("foreign-job"));
    let covered: BTreeSet<_> = cases::all().iter().map(name_of).collect();
    assert_eq!(covered, described);
}

#[test]
fn faults_that_leave_the_answer_whole_change_nothing() {
    let (server, agent) = registered();
    for fault in harmless() {
        survives(&server, &agent, &fault, None);
    }
}

#[test]
fn broken_connections_and_refusals_cost_one_check_in() {
    let (server, agent) = registered();
    for (fault, reason) in costly() {
        survives(&server, &agent, &fault, Some(reason));
    }
}

#[test]
fn answers_that_are_not_genuine_or_make_no_sense_are_not_used() {
    let (server, agent) = registered();
    for (fault, reason) in unusable() {
        survives(&server, &agent, &fault, Some(reason));
    }
}

/// From then on the agent is a stranger to its server: it says so, and is itself again once its key is put back.
#[test]
fn an_agent_key_that_changes_unasked_is_stored_as_it_is_signed_and_its_refusal_explained() {
    for keys in KEYS_TAKEN {
        let (server, agent) = registered();
        let (before, own, server_key) = (
            agent.config(),
            agent.setting("agent-key"),
            agent.setting("server-key"),
        );
        let rule = server.commit(&json!({ "fault": key_change(keys) }));
        let output = agent.check_in();
        let log = stderr(&output);
        assert!(output.status.success(), "{keys}: {log}");
        assert!(
            log.contains("keys received from the server are stored"),
            "{keys}: {log}"
        );
        assert_eq!(server.committed(rule), 1, "{keys}");
        server.behave(rule);
        let taken = agent.setting("agent-key");
        assert!(taken.starts_with("unasked"), "{keys}");
        assert_eq!(
            agent.config(),
            before.replace(&own, &taken),
            "{keys}: nothing else"
        );
        let output = agent.check_in();
        let refused = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{keys}: {refused}");
        for part in [
            "Invalid agent signature",
            "[agent] agent-key is not the one the server expects",
        ] {
            assert!(refused.contains(part), "{keys}: {refused}");
        }
        for secret in [&own, &taken, &server_key] {
            assert!(
                !log.contains(secret.as_str()) && !refused.contains(secret.as_str()),
                "{keys}"
            );
        }
        std::fs::write(agent.config_path(), &before).unwrap();
        let output = agent.check_in();
        assert!(output.status.success(), "{keys}: {}", stderr(&output));
        assert_eq!(agent.config(), before, "{keys}");
    }
}

/// A package whose procedure leaves a line in `witness`.
fn tool(server: &MockServer, agent: &Agent) -> i64 {
    let witness = agent.folder().join("witness");
    let procedure = format!("echo ran >> {}; sh run.sh", witness.display());
    server.package("tool", &procedure, "0", &[("run.sh", b"echo done\n")])
}

/// A deployment of it.
fn deploy(server: &MockServer, agent: &Agent) -> i64 {
    server.deploy(&[tool(server, agent)], 0)
}

fn runs(agent: &Agent) -> usize {
    std::fs::read_to_string(agent.folder().join("witness")).map_or(0, |text| text.lines().count())
}

#[test]
fn odd_jobs_run_once_or_fail_by_themselves() {
    for (kind, state, code, run) in ODD_JOBS {
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
    for (is, reason) in BAD_PACKAGES {
        let (server, agent) = registered();
        let deployment = deploy(&server, &agent);
        let rule = server.commit(&json!({ "fault": package(is) }));
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

/// Such a fault can befall no agent that asks for whole archives only: after a download that broke off, too.
#[test]
fn a_package_is_always_asked_for_whole_so_that_no_range_can_be_ignored() {
    let (server, agent) = registered();
    let rule = server.commit(&json!({ "fault": package(RANGE_IGNORED) }));
    let cut = server.commit(&json!({"select": {"methods": ["download"], "first": 1},
        "fault": {"kind": "reset", "at": "in"}}));
    let tool = tool(&server, &agent);
    for (state, run) in [("failed", 0), ("succeeded", 1)] {
        let deployment = server.deploy(&[tool], 0);
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        let job = &server.jobs(deployment)[0];
        assert_eq!(job["state"], state, "{job}");
        assert_eq!(runs(&agent), run);
        assert!(agent.staging_is_empty());
    }
    assert_eq!((server.committed(cut), server.committed(rule)), (1, 0));
    assert_eq!(server.findings(), Vec::<String>::new());
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
