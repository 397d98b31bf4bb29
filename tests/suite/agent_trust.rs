//! What an agent believes: trust on first use, and from then on only what the stored server key signed.

use crate::support::scripted::{
    AGENT_KEY, SERVER_KEY, ScriptedServer, hello, raw, registration, response, signed, signed_at,
};
use crate::support::{Agent, REGISTRATION_KEY, stderr};
use std::time::Duration;

#[test]
fn registration_stores_both_keys_and_keeps_the_rest_of_the_configuration() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = Agent::new(&server.url);
    let before = agent.config();
    assert!(agent.check_in().status.success());
    assert_eq!(
        (
            agent.setting("agent-key").as_str(),
            agent.setting("server-key").as_str()
        ),
        (AGENT_KEY, SERVER_KEY)
    );
    let expected = before
        .replace(
            &format!("agent-key = {REGISTRATION_KEY}"),
            &format!("agent-key = {AGENT_KEY}"),
        )
        .replace("server-key =", &format!("server-key = {SERVER_KEY}"));
    assert_eq!(agent.config(), expected);
}

#[cfg(unix)]
#[test]
fn the_configuration_with_keys_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let server = ScriptedServer::start(vec![registration()]);
    let agent = Agent::new(&server.url);
    assert!(agent.check_in().status.success());
    assert_eq!(
        std::fs::metadata(agent.config_path())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn a_first_answer_that_its_own_key_did_not_sign_is_not_believed() {
    let server = ScriptedServer::start(vec![raw(signed(
        &hello(Some(SERVER_KEY), Some(AGENT_KEY)),
        "another key",
    ))]);
    refused(&Agent::new(&server.url), "not trusted");
}

#[test]
fn an_agent_key_without_a_verifiable_signature_is_not_believed() {
    let server = ScriptedServer::start(vec![raw(signed(&hello(None, Some("smuggled")), SERVER_KEY))]);
    refused(&Agent::new(&server.url), "not trusted");
}

#[test]
fn answers_of_another_server_are_not_believed_after_registration() {
    let server = ScriptedServer::start(vec![
        registration(),
        raw(signed(&hello(Some("evil"), Some("evil")), "evil")),
        raw(response("200 OK", "", "{}")),
    ]);
    let agent = Agent::new(&server.url);
    assert!(agent.check_in().status.success());
    refused(&agent, "does not fit the server key");
    refused(&agent, "carries no signature");
}

#[test]
fn a_replayed_answer_is_not_believed() {
    let at = Duration::from_secs(4_000_000_000);
    let answer = || {
        raw(signed_at(
            &hello(Some(SERVER_KEY), Some(AGENT_KEY)),
            SERVER_KEY,
            at,
        ))
    };
    let server = ScriptedServer::start(vec![answer(), answer()]);
    let agent = Agent::new(&server.url);
    assert!(agent.check_in().status.success());
    refused(&agent, "is not newer than the last accepted one");
}

#[test]
fn a_lost_server_key_is_reported_and_nothing_is_stored() {
    let server = ScriptedServer::start(vec![raw(signed(&hello(None, None), SERVER_KEY))]);
    let agent = Agent::new(&server.url);
    let before = agent.config();
    let output = agent.check_in();
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("server-key is empty"),
        "{}",
        stderr(&output)
    );
    assert_eq!(agent.config(), before);
}

#[test]
fn an_answer_that_cannot_be_verified_does_not_make_genuine_ones_look_old() {
    let far_ahead = Duration::from_secs(9_000_000_000);
    let server = ScriptedServer::start(vec![
        raw(signed_at(&hello(None, None), "anybody", far_ahead)),
        registration(),
    ]);
    let agent = Agent::new(&server.url);
    assert!(agent.check_in().status.success());
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(agent.setting("agent-key"), AGENT_KEY);
}

#[test]
fn keys_that_would_change_the_configuration_are_not_stored() {
    for key in ["x\n[agent]\nquery-interval = 0", " padded ", "None"] {
        let server =
            ScriptedServer::start(vec![raw(signed(&hello(Some(SERVER_KEY), Some(key)), SERVER_KEY))]);
        refused(&Agent::new(&server.url), "makes no sense");
    }
}

#[test]
fn a_server_that_says_no_is_not_taken_to_have_said_yes() {
    let mut answer =
        String::from_utf8(signed(&hello(Some(SERVER_KEY), Some(AGENT_KEY)), SERVER_KEY)).unwrap();
    answer = answer
        .split_once("\r\n\r\n")
        .unwrap()
        .1
        .replace("\"success\":true", "\"success\":0");
    let signature = oco_protocol::signature::sign(&oco_protocol::Key::new(SERVER_KEY), answer.as_bytes());
    let headers = format!("x-oco-server-signature: {signature}\r\n");
    let server = ScriptedServer::start(vec![raw(response("200 OK", &headers, &answer))]);
    refused(&Agent::new(&server.url), "did not succeed");
}

/// The agent ends with exit code 1 and says `reason`; its configuration is as before, and no key is in its log.
fn refused(agent: &Agent, reason: &str) {
    let before = agent.config();
    let output = agent.check_in();
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(reason), "{log}");
    assert_eq!(agent.config(), before);
    for secret in [REGISTRATION_KEY, SERVER_KEY, AGENT_KEY, "smuggled"] {
        assert!(!log.contains(secret), "{log}");
    }
}
