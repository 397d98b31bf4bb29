//! The production agent through a whole working day, in either generation and with either server: the mock server finds no
//! fault with any of its requests.

use crate::support::mock::MockServer;
use crate::support::{Agent, REGISTRATION_KEY, shell_program, stderr};
use serde_json::json;

/// An agent of that generation with stand-ins for what it would change on this machine, and a service check.
fn equipped(url: &str, protocol: &str) -> Agent {
    let agent = Agent::with_config(&format!(
        "[agent]\nagent-key = {REGISTRATION_KEY}\nreport-job-output = 1\nread-timeout = 20\n\n\
         [server]\napi-url = {url}\nprotocol = {protocol}\nserver-key =\n"
    ));
    agent.stand_in("chpasswd", "case $(cat) in ghost:*) exit 1;; esac");
    agent.stand_in(
        "journalctl",
        r#"echo '{"__REALTIME_TIMESTAMP":"1767225600000000","MESSAGE":"it happened","PRIORITY":"3","SYSLOG_IDENTIFIER":"x"}'"#,
    );
    shell_program(
        agent.folder(),
        "service-checks/disk",
        "echo '0 \"Disk root\" usage=17;80;90 17 % used'",
    );
    agent
}

fn check_in(agent: &Agent, arguments: &[&str]) {
    let output = agent.command_with_stand_ins().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// What an administrator has an agent do: packages that come and run, fail, or come in part, and all rules.
fn administer(server: &MockServer, agent: &Agent) -> (i64, i64) {
    let tool = server.package("tool", "sh run.sh", "0", &[("run.sh", b"echo done\n")]);
    let fails = server.package("fails", "echo no; exit 3", "0", &[]);
    let never = server.package("never", "true", "0", &[]);
    let broken = server.package("broken", "true", "0", &[("file", b"content")]);
    let second = json!({"methods": ["download"], "skip": 1});
    let fault = json!({"kind": "package", "is": "truncated"});
    server.commit(&json!({"select": second, "fault": fault}));
    let works = server.deploy(&[tool, broken], 0);
    let aborts = server.deploy(&[fails, never], 1);
    for username in ["local", "ghost"] {
        let rule = json!({"username": username, "alphabet": "abcdef0123", "length": 12});
        server.post("password-rules", &rule);
    }
    let query = r#"{"identifier":"x"}"#;
    server.post("event-rules", &json!({"log": "journalctl", "query": query}));
    let key = format!("JSON:{}:Enabled", agent.folder().join("policy.json").display());
    server.put("policies", &json!({"machine": {key: true}}));
    (works, aborts)
}

/// States and return codes of the jobs of a deployment.
fn outcomes(server: &MockServer, deployment: i64) -> Vec<(String, i64)> {
    let jobs = server.jobs(deployment);
    let outcome = |job: &serde_json::Value| {
        let state = job["state"].as_str().unwrap().to_owned();
        (state, job["return_code"].as_i64().unwrap())
    };
    jobs.iter().map(outcome).collect()
}

/// Lives a day; `check_ins` are the arguments of the agent's later check-ins.
fn a_day(protocol: &str, arguments: &[&str], check_ins: &[&str]) -> (MockServer, Agent) {
    let server = MockServer::start_with(arguments);
    let agent = equipped(&server.agent_url, protocol);
    check_in(&agent, &[]);
    let (works, aborts) = administer(&server, &agent);
    for _ in 0..3 {
        check_in(&agent, check_ins);
    }
    let named = |outcomes: &[(&str, i64)]| -> Vec<(String, i64)> {
        outcomes
            .iter()
            .map(|(state, code)| ((*state).to_owned(), *code))
            .collect()
    };
    assert_eq!(
        outcomes(&server, works),
        named(&[("succeeded", 0), ("failed", -9999)])
    );
    assert_eq!(
        outcomes(&server, aborts),
        named(&[("failed", 3), ("failed", -8888)])
    );
    let summary = server.get("conformance");
    assert!(summary["checked"].as_u64().unwrap() > 8, "{summary}");
    let findings = server.get("conformance/findings");
    assert_eq!(findings["findings"], json!([]), "{findings:#}");
    (server, agent)
}

/// What only servers of today ask for has come, too.
fn assert_all_duties_done(server: &MockServer, agent: &Agent) {
    let passwords = server.get("computers/1/passwords")["passwords"].clone();
    assert_eq!(passwords.as_array().unwrap().len(), 1, "{passwords}");
    assert_eq!(passwords[0]["username"], "local", "the other one was revoked");
    let events = server.get("computers/1/events")["events"].clone();
    assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    let services = server.get("computers/1")["inventory"]["services"].clone();
    assert_eq!(services[0]["name"], "Disk root");
    let policy = std::fs::read_to_string(agent.folder().join("policy.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&policy).unwrap(),
        json!({"Enabled": true})
    );
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn a_signed_agent_is_not_found_fault_with() {
    let (server, agent) = a_day("signed", &[], &["--force"]);
    assert_all_duties_done(&server, &agent);
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn a_keyed_agent_is_not_found_fault_with_by_a_server_of_today() {
    let (server, agent) = a_day("keyed", &[], &["--force"]);
    assert_all_duties_done(&server, &agent);
}

#[test]
fn a_keyed_agent_is_not_found_fault_with_by_a_server_of_2022() {
    a_day("keyed", &["--server-generation", "2022"], &[]);
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn agents_of_both_generations_live_with_the_json_of_every_php() {
    for quirks in ["7", "off"] {
        for protocol in ["signed", "keyed"] {
            let (server, agent) = a_day(protocol, &["--php-quirks", quirks], &["--force"]);
            assert_all_duties_done(&server, &agent);
        }
    }
}
