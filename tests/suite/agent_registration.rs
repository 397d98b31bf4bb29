//! A new computer at a mock server: registration, inventory, and what the server then knows of it.

use crate::support::mock::MockServer;
use crate::support::{Agent, REGISTRATION_KEY, program, stderr};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn the_server_knows_this_machines_packages_addresses_and_partitions() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    for _ in 0..2 {
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(server.get("computers")["total"], 1);
    let stored = server.get("computers/1")["inventory"].clone();
    let printed = Command::new(program("oco-agent"))
        .arg("inventory")
        .output()
        .unwrap();
    let own: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let part = |inventory: &Value, field: &str, key: &str| -> BTreeSet<String> {
        inventory[field]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item[key].as_str().unwrap().to_owned())
            .collect()
    };
    for (field, key) in [
        ("software", "name"),
        ("networks", "addr"),
        ("partitions", "mountpoint"),
    ] {
        assert_eq!(part(&stored, field, key), part(&own, field, key), "{field}");
        assert!(!part(&stored, field, key).is_empty(), "{field}");
    }
    assert_eq!(stored["ram"], own["ram"]);
}

#[test]
fn registration_leaves_the_registration_key_behind_and_the_new_key_is_accepted() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    assert!(agent.check_in().status.success());
    let (agent_key, server_key) = (agent.setting("agent-key"), agent.setting("server-key"));
    assert!(
        agent_key.len() == 30 && agent_key != REGISTRATION_KEY,
        "{}",
        agent.config()
    );
    assert_eq!(server_key.len(), 30);
    assert!(agent.check_in().status.success());
    assert_eq!(
        (agent.setting("agent-key"), agent.setting("server-key")),
        (agent_key, server_key)
    );
}

#[test]
fn a_wrong_registration_key_is_refused_and_changes_nothing() {
    let server = MockServer::start();
    let agent = Agent::with_config(&format!(
        "[agent]\nagent-key = guess\n[server]\napi-url = {}\n",
        server.agent_url
    ));
    let before = agent.config();
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("Invalid agent signature"),
        "{}",
        stderr(&output)
    );
    assert_eq!(agent.config(), before);
    assert_eq!(server.get("computers")["total"], 0);
}

#[test]
fn a_computer_survives_the_servers_sudden_death() {
    let mut server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    assert!(agent.check_in().status.success());
    server.kill_and_restart();
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(server.get("computers")["total"], 1);
}

#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let daemon = agent.daemon();
    crate::support::wait_for("the daemon's first check-in", || {
        agent.log().contains("checked in").then_some(())
    });
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("another agent is running already"),
        "{}",
        stderr(&output)
    );
    #[cfg(unix)]
    assert_eq!(daemon.terminate(), Some(0));
    #[cfg(not(unix))]
    drop(daemon);
}

#[cfg(unix)]
#[test]
fn a_signal_does_not_cut_off_a_registration() {
    use crate::support::scripted::{AGENT_KEY, SERVER_KEY, ScriptedServer, hello, signed};
    use crate::support::wait_for;
    let gate = tempfile::tempdir().unwrap();
    let (asked, signalled) = (gate.path().join("asked"), gate.path().join("signalled"));
    let step = {
        let (asked, signalled) = (asked.clone(), signalled.clone());
        move |_: &_| {
            std::fs::write(&asked, "").unwrap();
            wait_for("the signal", || signalled.exists().then_some(()));
            signed(&hello(Some(SERVER_KEY), Some(AGENT_KEY)), SERVER_KEY)
        }
    };
    let server = ScriptedServer::start(vec![Box::new(step)]);
    let agent = Agent::new(&server.url);
    let mut daemon = agent.daemon();
    wait_for("the registration to be under way", || {
        asked.exists().then_some(())
    });
    daemon.signal("TERM");
    wait_for("the agent to notice", || {
        agent.log().contains("signal received").then_some(())
    });
    std::fs::write(&signalled, "").unwrap();
    assert_eq!(daemon.wait(), Some(0));
    assert_eq!(agent.setting("agent-key"), AGENT_KEY);
}
