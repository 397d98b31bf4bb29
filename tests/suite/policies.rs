//! Policies from the server to a file and back, with a real agent and a real mock server.

use crate::support::mock::MockServer;
use crate::support::scripted::{Captured, SERVER_KEY, ScriptedServer, hello, signed};
use crate::support::{Agent, stderr};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};

fn check_in(agent: &Agent) {
    let output = agent.command().arg("--force").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn policies_come_with_the_second_inventory_and_leave_no_trace_when_withdrawn() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let existing = agent.folder().join("existing.json");
    let new = agent.folder().join("made/by/policies.json");
    let before = "{\n  \"theirs\": [1,  2],\n  \"precise\": 1.10\n}\n";
    std::fs::write(&existing, before).unwrap();
    std::fs::set_permissions(&existing, std::fs::Permissions::from_mode(0o640)).unwrap();
    let key = |path: &std::path::Path, members: &str| format!("JSON:{}:{members}", path.display());
    server.put(
        "policies",
        &json!({"machine": {
            key(&existing, "HomepageLocation"): "https://example.org",
            key(&existing, r"Limits\Max"): "12",
            key(&new, "Enabled"): true,
            key(&agent.folder().join("oco-agent.ini"), "x"): 1,
            "JSON:relative.json:x": 1,
            r"REGISTRY:Software\X:y": 1,
        }}),
    );

    check_in(&agent);
    assert_eq!(std::fs::read_to_string(&existing).unwrap(), before);
    check_in(&agent);
    let text = std::fs::read_to_string(&existing).unwrap();
    assert!(
        text.starts_with("{\n  \"theirs\": [1,  2],\n  \"precise\": 1.10,\n"),
        "{text}"
    );
    let after: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&after["HomepageLocation"], &after["Limits"]["Max"]),
        (&json!("https://example.org"), &json!(12))
    );
    assert_eq!(existing.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(
        serde_json::from_slice::<Value>(&std::fs::read(&new).unwrap()).unwrap(),
        json!({"Enabled": true})
    );
    assert_eq!(new.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    let state = agent.folder().join("policies.json");
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    server.put("policies", &json!({"machine": {}}));
    check_in(&agent);
    assert_eq!(std::fs::read_to_string(&existing).unwrap(), before);
    assert!(!new.exists());
    assert!(
        agent.config().contains("[server]"),
        "the configuration is no JSON and stays"
    );
}

#[test]
fn a_new_registration_takes_nothing_away_with_its_first_answer() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let file = agent.folder().join("managed.json");
    server.put(
        "policies",
        &json!({"machine": {format!("JSON:{}:a", file.display()): 1}}),
    );
    check_in(&agent);
    check_in(&agent);
    let applied = std::fs::read(&file).unwrap();

    // Another server, which does not know the computer.
    let other = MockServer::start();
    let config = agent.config();
    let config = config.replace(&server.agent_url, &other.agent_url);
    let config: Vec<_> = config
        .lines()
        .map(|line| match line.split('=').next().unwrap().trim() {
            "agent-key" => format!("agent-key = {}", crate::support::REGISTRATION_KEY),
            "server-key" => "server-key =".to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(agent.config_path(), config.join("\n")).unwrap();
    check_in(&agent);
    assert_eq!(std::fs::read(&file).unwrap(), applied);
    check_in(&agent);
    assert!(!file.exists());
}

#[test]
fn a_policy_in_a_folder_that_others_can_write_to_is_refused_and_the_folder_is_named() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    // On a Mac, the way to temporary folders leads over a link, which the agent resolves.
    let own = agent.folder().canonicalize().unwrap();
    let (shared, victim) = (own.join("shared"), own.join("victim"));
    for folder in [&shared, &victim] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(victim.join("x.json"), "{}").unwrap();
    // What another user could have put there between a look and a write.
    symlink(&victim, shared.join("inner")).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    let key = |path: &str| format!("JSON:{}:a", shared.join(path).display());
    server.put(
        "policies",
        &json!({"machine": {key("x.json"): 1, key("inner/x.json"): 1}}),
    );
    check_in(&agent);
    let output = agent.command().arg("--force").output().unwrap();
    let log = stderr(&output);
    assert!(
        log.contains(&format!("write into the folder {}", shared.display())) && log.contains("chmod go-w"),
        "{log}"
    );
    assert!(!shared.join("x.json").exists());
    assert_eq!(std::fs::read_to_string(victim.join("x.json")).unwrap(), "{}");
}

#[test]
fn an_answer_that_says_nothing_of_policies_takes_none_away() {
    let answer = Arc::new(Mutex::new(json!({})));
    let given = answer.clone();
    let server = ScriptedServer::answering(move |request: &Captured| {
        if request.method() == "oco.agent.hello" {
            let mut params = hello(None, None);
            params["update"] = json!(1);
            return signed(&params, SERVER_KEY);
        }
        signed(&given.lock().unwrap(), SERVER_KEY)
    });
    let agent = Agent::registered(&server.url, "");
    let file = agent.folder().join("managed.json");
    let check_in_with = |params: Value| {
        *answer.lock().unwrap() = params;
        check_in(&agent);
        file.exists()
    };
    let machine = json!({format!("JSON:{}:a", file.display()): 1});
    assert!(check_in_with(json!({"policies": {"machine": machine}})));
    for nothing in [json!({}), json!({"policies": null}), json!([])] {
        assert!(check_in_with(nothing.clone()), "{nothing}");
    }
    assert!(!check_in_with(json!({"policies": {"machine": []}})));
}
