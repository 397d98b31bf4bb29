//! No log and no file but the configuration ever holds a key or a password, however talkative the agent is.

use crate::support::mock::{MockServer, archive};
use crate::support::scripted::{
    AGENT_KEY, SERVER_KEY, ScriptedServer, archive_response, hello, repeated, response, signed,
};
use crate::support::{Agent, REGISTRATION_KEY, stderr};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Output;

/// How talkative: the value of `OCO_AGENT_LOG`, or `debug = 1` in the configuration.
const LEVELS: [Option<&str>; 8] = [
    None,
    Some("error"),
    Some("warn"),
    Some("info"),
    Some("debug"),
    Some("trace"),
    Some("hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,tokio=trace"),
    Some("trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace"),
];

/// An agent whose `chpasswd` shows the test the password.
fn equipped(config: &str, level: Option<&str>) -> Agent {
    let agent = Agent::with_config(config);
    if level.is_none() {
        agent.set("debug = 1");
    }
    agent.stand_in(
        "chpasswd",
        &format!("cat >> {}/bin/set", agent.folder().display()),
    );
    agent
}

fn check_in(agent: &Agent, level: Option<&str>) -> Output {
    let mut command = agent.command_with_stand_ins();
    if let Some(level) = level {
        command.env("OCO_AGENT_LOG", level);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// The password that was set.
fn password(agent: &Agent) -> String {
    let set = std::fs::read_to_string(agent.folder().join("bin/set")).unwrap();
    set.trim().strip_prefix("local:").unwrap().to_owned()
}

/// All files of the agent but its configuration and its stand-ins.
fn state_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let folders = folders.iter().filter(|path| !path.ends_with("bin"));
    let mut all: Vec<_> = folders.flat_map(|folder| state_files(folder)).collect();
    all.extend(files.into_iter().filter(|path| !path.ends_with("oco-agent.ini")));
    all
}

/// Nowhere in the logs and state files is there a secret.
fn assert_kept(secrets: &[&str], logs: &[(&str, &[u8])], agent: &Agent) {
    let files = state_files(agent.folder());
    assert!(
        files
            .iter()
            .any(|file| file.ends_with("policies.json") || file.ends_with("oco-agent.lock"))
    );
    let files: Vec<_> = files
        .iter()
        .map(|file| (file.display().to_string(), std::fs::read(file).unwrap()))
        .collect();
    let files = files
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()));
    for (name, content) in files.chain(logs.iter().copied()) {
        for secret in secrets {
            assert!(secret.len() >= 8);
            let found = content
                .windows(secret.len())
                .position(|part| part == secret.as_bytes());
            if let Some(at) = found {
                let around = &content[at.saturating_sub(200)..(at + 100).min(content.len())];
                panic!("{secret} is in {name}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn a_signed_agent_and_its_server_keep_all_secrets_at_every_log_level() {
    for level in LEVELS {
        let server = MockServer::start_talkative();
        let agent = equipped(
            &format!(
                "[agent]\nagent-key = {REGISTRATION_KEY}\n[server]\napi-url = {}\n",
                server.agent_url
            ),
            level,
        );
        let mut logs = vec![check_in(&agent, level)];
        server.post(
            "password-rules",
            &json!({"username": "local", "alphabet": "ABCDEFGHJKLMNPQR23456789", "length": 20}),
        );
        let package = server.package("tool", "sh run.sh", "0", &[("run.sh", b"echo installed\n")]);
        let deployment = server.deploy(&[package], 0);
        logs.push(check_in(&agent, level));
        assert_eq!(server.jobs(deployment)[0]["state"], "succeeded");
        let (agent_key, server_key) = (agent.setting("agent-key"), agent.setting("server-key"));
        let password = password(&agent);
        assert_eq!((agent_key.len(), server_key.len(), password.len()), (30, 30, 20));
        let server_log = server.log();
        let mut texts = vec![("the server's log", server_log.as_bytes())];
        for output in &logs {
            texts.push(("standard output", &output.stdout));
            texts.push(("the agent's log", &output.stderr));
        }
        assert_kept(
            &[
                REGISTRATION_KEY,
                &agent_key,
                &server_key,
                &password,
                "ABCDEFGHJKLMNPQR23456789",
            ],
            &texts,
            &agent,
        );
        assert!(server_log.contains("api-agent.php"), "{server_log}");
        let log = stderr(&logs[1]);
        let talkative = level.is_none_or(|level| ["debug", "trace"].iter().any(|l| level.starts_with(l)));
        assert_eq!(
            log.contains("request method=oco.agent.passwords"),
            talkative,
            "{log}"
        );
        assert_eq!(log.contains(r#""password":"***""#), talkative, "{log}");
        assert!(!log.contains("installed"), "{log}");
    }
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn a_keyed_agent_keeps_all_secrets_also_from_servers_that_repeat_them() {
    let package = archive(&[("run.sh", b"echo installed\n")]);
    let server = ScriptedServer::start(repeated(30, move |request| {
        if request.head.starts_with("GET ") {
            // Once with what it was asked, as some servers put it into their error pages.
            let line = request.head.lines().next().unwrap();
            return match line.contains("id=1 ") {
                true => archive_response(&package),
                false => response("404 Not Found", "", &format!("nothing at {line}")),
            };
        }
        let mut params = json!({});
        if request.json()["method"] == "oco.agent.hello" {
            params = hello(None, Some(AGENT_KEY));
            params["update-passwords"] = json!([{"username": "local", "alphabet": "abcdef", "length": 20}]);
            let job = |id| json!({"id": id, "package-id": id, "download": true, "procedure": "sh run.sh"});
            params["software-jobs"] = json!([job(1), job(2)]);
        }
        params["server-key"] = json!(SERVER_KEY);
        params["job-succeeded"] = json!(true);
        signed(&params, SERVER_KEY)
    }));
    let agent = equipped(
        &format!(
            "[agent]\nagent-key = {REGISTRATION_KEY}\n[server]\napi-url = {}\nprotocol = keyed\n",
            server.url
        ),
        None,
    );
    let output = check_in(&agent, Some("trace"));
    let log = stderr(&output);
    assert_kept(
        &[REGISTRATION_KEY, AGENT_KEY, SERVER_KEY, &password(&agent)],
        &[("the log", &output.stderr), ("standard output", &output.stdout)],
        &agent,
    );
    assert!(
        log.contains("&agent-key=***&id=2") && log.contains(r#""agent-key":"***""#),
        "{log}"
    );
    // Nor does the server get its own words about the key back in the report of the job that failed.
    for report in server.requests().iter().filter(|r| !r.head.starts_with("GET ")) {
        assert!(!report.json()["params"]["data"].to_string().contains(AGENT_KEY));
    }
}
