//! What comes with a hello beside jobs: service checks, events, passwords. The commands that the agent runs for them
//! are scripts of the test.

use crate::support::scripted::{
    AGENT_KEY, Captured, SERVER_KEY, ScriptedServer, hello, raw, registration, response, signed, signed_with,
};
use crate::support::{Agent, REGISTRATION_KEY, shell_program, stderr};
use oco_protocol::Key;
use oco_protocol::password::EncryptedPassword;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;

/// An agent whose `chpasswd` writes into a file and knows no account `ghost`, and whose `journalctl` prints one too.
fn equipped(url: &str) -> Agent {
    let agent = Agent::new(url);
    let folder = agent.folder().display().to_string();
    script(
        &agent,
        "bin/chpasswd",
        &format!(
            "read -r line; case $line in ghost:*) echo \"user 'ghost' does not exist\" >&2; exit 1;; esac; echo \"$#$line\" >> {folder}/set"
        ),
    );
    script(
        &agent,
        "bin/journalctl",
        &format!("echo \"$@\" >> {folder}/journal-arguments; cat {folder}/journal"),
    );
    agent
}

fn script(agent: &Agent, name: &str, text: &str) -> PathBuf {
    shell_program(agent.folder(), name, text)
}

/// Checks in at the most talkative level.
fn check_in(agent: &Agent) -> Output {
    let path = format!(
        "{}:{}",
        agent.folder().join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let output = agent
        .command()
        .env("PATH", path)
        .env("OCO_AGENT_LOG", "trace")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn method(request: &Captured) -> String {
    request.json()["method"].as_str().unwrap().to_owned()
}

fn set_passwords(agent: &Agent) -> String {
    std::fs::read_to_string(agent.folder().join("set")).unwrap_or_default()
}

type MakeAnswer = fn() -> Vec<u8>;

fn with_rules(rules: &Value) -> Vec<u8> {
    let mut params = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    params["update-passwords"] = rules.clone();
    signed(&params, SERVER_KEY)
}

fn decrypt(request: &Captured, number: usize) -> (String, String, bool) {
    let item = request.json()["params"]["data"]["passwords"][number].clone();
    let encrypted: EncryptedPassword = serde_json::from_value(item["password"].clone()).unwrap();
    let clear = encrypted.decrypt(&Key::new(AGENT_KEY)).unwrap();
    let revoked = item.get("revoke").is_some_and(|flag| flag == &json!(true));
    (
        item["username"].as_str().unwrap().to_owned(),
        clear.to_string(),
        revoked,
    )
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn passwords_are_set_once_stored_and_revoked_where_that_fails() {
    let rules = json!([
        {"username": "local", "alphabet": "abcdefXYZ0123456789", "length": 15},
        {"username": "ghost", "alphabet": "abcdef123456", "length": "12"},
        {"username": "nobody", "alphabet": "", "length": 12},
    ]);
    let server = ScriptedServer::start(vec![
        raw(with_rules(&rules)),
        Box::new(|_| signed_with(&json!("2"), &json!([]), SERVER_KEY)),
        Box::new(|_| signed(&json!([]), SERVER_KEY)),
    ]);
    let agent = equipped(&server.url);
    let log = stderr(&check_in(&agent));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let (username, password, revoked) = decrypt(&requests[1], 0);
    assert_eq!((username.as_str(), password.len(), revoked), ("local", 15, false));
    let ghost = decrypt(&requests[1], 1);
    assert_eq!((ghost.0.as_str(), ghost.1.len(), ghost.2), ("ghost", 12, false));
    assert_eq!(
        requests[1].json()["params"]["data"]["passwords"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(set_passwords(&agent), format!("0local:{password}\n"));
    assert_eq!(decrypt(&requests[2], 0), (ghost.0, ghost.1.clone(), true));
    assert!(
        log.contains("does not exist") && log.contains("passwords rotated"),
        "{log}"
    );
    for secret in [
        password.as_str(),
        &ghost.1,
        AGENT_KEY,
        SERVER_KEY,
        REGISTRATION_KEY,
        "abcdefXYZ0123456789",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[test]
fn without_a_rule_nothing_is_sent() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = equipped(&server.url);
    check_in(&agent);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn nothing_is_set_where_the_server_refused_or_its_answer_is_lost() {
    let rules = json!([{"username": "local", "alphabet": "abcdef", "length": 12}]);
    let refused = || {
        response(
            "400 Bad Request",
            "Content-Type: text/html\r\n",
            "Invalid password data",
        )
    };
    let forged = || signed(&json!([]), "another-key");
    let denied = || signed_with(&json!(false), &json!([]), SERVER_KEY);
    let answers: [(MakeAnswer, bool); 4] =
        [(refused, false), (Vec::new, true), (forged, true), (denied, true)];
    for (answer, revoked) in answers {
        let server = ScriptedServer::start(vec![
            raw(with_rules(&rules)),
            Box::new(move |_| answer()),
            Box::new(|_| signed(&json!([]), SERVER_KEY)),
        ]);
        let agent = equipped(&server.url);
        check_in(&agent);
        assert_eq!(set_passwords(&agent), "");
        let requests = server.requests();
        assert_eq!(requests.len(), if revoked { 3 } else { 2 });
        if let Some(request) = requests.get(2) {
            let first = decrypt(&requests[1], 0);
            assert_eq!(decrypt(request, 0), (first.0, first.1, true));
        }
    }
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn events_are_reported_once_and_only_if_there_are_any() {
    let mut params = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    params["events"] = json!([
        {"since": "2026-11-22 05:00:00", "log": "journalctl", "query": "{\"unit\":\"ssh.service\",\"priority\":\"4\"}"},
        {"since": "1970-01-01 00:00:00", "log": "journalctl", "query": "{\"identifier\":\"kernel\",\"grep\":\"oops [0-9]*5\"}"},
        {"since": "1970-01-01 00:00:00", "log": "journalctl", "query": "{\"grep\":\"(\"}"},
        {"since": "1970-01-01 00:00:00", "log": "System", "query": "<QueryList/>"},
    ]);
    let quiet = {
        let mut params = hello(None, None);
        params["events"] =
            json!([{"since": "1970-01-01 00:00:00", "log": "journalctl", "query": "{\"grep\":\"never\"}"}]);
        params
    };
    let server = ScriptedServer::start(vec![
        raw(signed(&params, SERVER_KEY)),
        Box::new(|_| signed(&json!([]), SERVER_KEY)),
        Box::new(move |_| signed(&quiet, SERVER_KEY)),
    ]);
    let agent = equipped(&server.url);
    let journal: String = [(1, "oops 15"), (2, "oops 16"), (3, "all is well")]
        .iter()
        .map(|(second, message)| {
            json!({"__REALTIME_TIMESTAMP": format!("{second}000000"), "PRIORITY": "3", "SYSLOG_FACILITY": "4",
                   "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": message})
            .to_string()
                + "\n"
        })
        .collect();
    std::fs::write(agent.folder().join("journal"), journal).unwrap();
    check_in(&agent);
    check_in(&agent);
    let requests = server.requests();
    let methods: Vec<_> = requests.iter().map(method).collect();
    assert_eq!(
        methods,
        ["oco.agent.hello", "oco.agent.events", "oco.agent.hello"]
    );
    let events = requests[1].json()["params"]["data"]["events"].clone();
    // Three of the first query, which the script does not filter, and one of the second.
    assert_eq!(events.as_array().unwrap().len(), 4);
    assert_eq!(
        events[3],
        json!({"log": "journalctl", "provider": "kernel", "event_id": "4", "level": "3",
               "timestamp": "1970-01-01 00:00:01", "data": {"message": "oops 15"}})
    );
    let arguments = std::fs::read_to_string(agent.folder().join("journal-arguments")).unwrap();
    assert!(
        arguments.contains("--since=@1795323600 --unit=ssh.service PRIORITY=4\n"),
        "{arguments}"
    );
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn events_and_passwords_do_not_depend_on_the_inventory() {
    let mut params = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    params["update"] = json!(1);
    params["events"] = json!([{"since": "1970-01-01 00:00:00", "log": "journalctl", "query": ""}]);
    params["update-passwords"] = json!([{"username": "local", "alphabet": "abcdef", "length": 12}]);
    let server = ScriptedServer::start(vec![
        raw(signed(&params, SERVER_KEY)),
        raw(response(
            "400 Bad Request",
            "",
            "Update refused (too often or invalid data)",
        )),
        raw(response("500 Internal Server Error", "", "")),
        Box::new(|_| signed(&json!([]), SERVER_KEY)),
    ]);
    let agent = equipped(&server.url);
    std::fs::write(
        agent.folder().join("journal"),
        "{\"__REALTIME_TIMESTAMP\":\"1\",\"MESSAGE\":\"x\"}\n",
    )
    .unwrap();
    let path = format!(
        "{}:{}",
        agent.folder().join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let output = agent.command().env("PATH", path).output().unwrap();
    assert!(!output.status.success());
    let methods: Vec<_> = server.requests().iter().map(method).collect();
    assert_eq!(
        methods,
        [
            "oco.agent.hello",
            "oco.agent.update",
            "oco.agent.events",
            "oco.agent.passwords"
        ]
    );
    assert!(set_passwords(&agent).starts_with("0local:"));
}

#[test]
fn service_checks_reach_the_server_whatever_one_of_them_does() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = equipped(&server.url);
    script(
        &agent,
        "service-checks/1-disk",
        "echo '0 \"Disk root\" usage=17;80;90 Root filesystem at 17%'",
    );
    script(
        &agent,
        "service-checks/2-crash",
        "echo '2 Broken - Service is not running!'; kill -9 $$",
    );
    script(
        &agent,
        "service-checks/3-rubbish",
        "echo some text; head -c 300 /dev/urandom; exit 1",
    );
    let plain = agent.folder().join("service-checks/4-notes.txt");
    std::fs::write(plain, "0 Not - executed").unwrap();
    check_in(&agent);
    let hello = server.requests()[0].json();
    let services = &hello["params"]["data"]["services"];
    assert_eq!(
        services[0],
        json!({"status": "0", "name": "Disk root", "merics": "usage=17;80;90", "metrics": "usage=17;80;90",
               "details": "Root filesystem at 17%"})
    );
    assert_eq!(services[1]["name"], "Broken");
    assert_eq!(services.as_array().unwrap().len(), 2);
}

#[test]
fn without_a_folder_there_are_no_services() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = equipped(&server.url);
    check_in(&agent);
    assert_eq!(
        server.requests()[0].json()["params"]["data"]["services"],
        json!([])
    );
}
