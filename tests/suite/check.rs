//! `oco-agent check`: what it says of each thing that can be wrong, and that it changes nothing on either side.

use crate::support::mock::MockServer;
use crate::support::scripted::{ScriptedServer, response};
use crate::support::tls::{Authority, TlsServer, Validity};
use crate::support::{Agent, REGISTRATION_KEY, wait_for};
use serde_json::Value;
use std::process::Output;

/// What an agent API says to a request that is none.
const REFUSAL: &str = "Content type mismatch";

fn run(agent: &Agent) -> Output {
    agent
        .command()
        .arg("check")
        .env_remove("https_proxy")
        .output()
        .unwrap()
}

/// What was printed; it never holds a key.
fn text(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!all.contains(REGISTRATION_KEY), "{all}");
    text
}

/// Checks that the agent's only failure is at `name` and says `finding`, with a hint.
fn fails(agent: &Agent, name: &str, finding: &str) {
    let output = run(agent);
    let text = text(&output);
    let failures: Vec<_> = text.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!(failures.len(), 1, "{text}");
    assert!(
        failures[0].contains(&format!("FAIL  {name}  ")) || failures[0].contains(&format!("FAIL  {name} ")),
        "{text}"
    );
    assert!(failures[0].contains(finding), "{text}");
    let hint = text.lines().skip_while(|line| !line.starts_with("FAIL")).nth(1);
    assert!(hint.is_some_and(|line| line.contains("-> ")), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
}

/// An answer with the present time.
fn refusal() -> Vec<u8> {
    response("400 Bad Request", "", REFUSAL)
}

#[test]
fn a_sound_agent_passes_before_and_after_its_registration_and_nothing_changes() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let before = agent.config();
    let output = run(&agent);
    let first = text(&output);
    assert!(output.status.success(), "{first}");
    for part in [
        "configuration  ",
        "no agent is running",
        "ok    server         http://127.0.0.1:",
        "answers as an OCO server does",
        "clock          the same as the server's",
        "not registered yet",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert_eq!(
        (agent.config(), server.get("computers")["total"].clone()),
        (before, 0.into())
    );
    assert!(agent.check_in().status.success());
    let keys = [agent.setting("agent-key"), agent.setting("server-key")];
    let files = std::fs::read_dir(agent.folder()).unwrap().count();
    let stamp = || std::fs::read(agent.folder().join("oco-agent.sent-timestamp")).unwrap();
    let stamp_before = stamp();
    let output = run(&agent);
    let second = text(&output);
    assert!(
        output.status.success() && second.contains("registered: there is an agent key"),
        "{second}"
    );
    assert!(keys.iter().all(|key| !second.contains(key.as_str())));
    assert_eq!(
        (stamp(), std::fs::read_dir(agent.folder()).unwrap().count()),
        (stamp_before, files)
    );
    assert!(agent.check_in().status.success());
}

#[test]
fn a_running_daemon_is_named_and_left_alone() {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let _daemon = agent.daemon();
    wait_for("the first check-in", || {
        agent.log().contains("checked in").then_some(())
    });
    let output = run(&agent);
    assert!(output.status.success());
    assert!(
        text(&output).contains("an agent is running, process "),
        "{}",
        text(&output)
    );
}

#[test]
fn machines_get_json() {
    let server = MockServer::start();
    let output = Agent::new(&server.agent_url)
        .command()
        .args(["check", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    let names: Vec<_> = report["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"configuration"));
    assert_eq!(names.last(), Some(&"keys"));
    text(&output);
}

#[test]
fn a_wrong_port_is_told_from_a_wrong_name() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    fails(
        &Agent::new(&format!("http://{address}/api-agent.php")),
        "connection",
        "refused",
    );
    fails(
        &Agent::new("http://no-such-name.invalid/api-agent.php"),
        "name",
        "no-such-name.invalid has no address",
    );
}

#[test]
fn what_is_no_agent_api_is_told_by_its_answer() {
    for (status, headers, finding) in [
        ("404 Not Found", "", "there is no such page"),
        ("200 OK", "", "something else answers there"),
        (
            "301 Moved Permanently",
            "Location: https://oco.example/\r\n",
            "leads on to https://oco.example/",
        ),
        ("500 Internal Server Error", "", "the server has failed"),
    ] {
        // The first connection is closed without a request.
        let server = server_for_check(response(status, headers, "<html>"));
        fails(&Agent::new(&server), "agent API", finding);
    }
}

#[test]
fn a_refusal_of_the_older_generation_is_known_by_its_reason_phrase() {
    let url = server_for_check(response("400 Content Type Mismatch", "", ""));
    let output = run(&Agent::new(&url));
    assert!(
        output.status.success() && text(&output).contains("answers as an OCO server does"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_clock_that_is_off_is_measured() {
    let header =
        |date: &str| server_for_check(response("400 Bad Request", &format!("Date: {date}\r\n"), REFUSAL));
    fails(
        &Agent::new(&header("Sun, 06 Nov 1994 08:49:37 GMT")),
        "clock",
        "s ahead of the server's",
    );
    fails(
        &Agent::new(&header("Tue, 01 Jan 2097 00:00:00 GMT")),
        "clock",
        "s behind the server's",
    );
}

#[test]
fn wrong_values_unknown_keys_and_open_permissions_are_all_told() {
    use std::os::unix::fs::PermissionsExt;
    let url = server_for_check(refusal());
    let agent = Agent::new(&url);
    let set_mode = |mode| {
        std::fs::set_permissions(agent.config_path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    agent.set("query-interval = often");
    agent.set("qwery-interval = 5");
    set_mode(0o644);
    let output = run(&agent);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "warn  configuration",
        "others can read it",
        "[agent] query-interval = \"often\" is wrong: expected seconds",
        "[agent] qwery-interval is not a setting of this agent",
        "chmod 600",
        "ok    agent API",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    set_mode(0o666);
    std::fs::set_permissions(agent.folder(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = run(&agent);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("others can change it"), "{text}");
    assert!(
        text.contains("others can replace it: its folder has mode 0777"),
        "{text}"
    );
}

#[test]
fn a_proxy_is_asked_in_place_of_the_server() {
    let proxy = server_for_check(refusal());
    let agent = Agent::new("http://no-such-name.invalid/api-agent.php");
    let mut command = agent.command();
    command
        .arg("check")
        .env("http_proxy", proxy.trim_end_matches("/api-agent.php"));
    let output = command.output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("-     name           the environment names a proxy"),
        "{text}"
    );
    assert!(text.contains("ok    agent API"), "{text}");
    assert!(
        text.contains("warn  server") && text.contains("use https://"),
        "{text}"
    );
}

#[test]
fn a_missing_configuration_and_one_that_may_not_be_read_are_told() {
    use std::os::unix::process::CommandExt;
    let agent = Agent::with_config("");
    std::fs::remove_file(agent.config_path()).unwrap();
    let output = run(&agent);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("FAIL  configuration"), "{}", text(&output));

    let agent = Agent::new("http://127.0.0.1:9/api-agent.php");
    let mut command = agent.command();
    command.arg("check").uid(65_534).gid(65_534);
    let Ok(output) = command.output() else {
        eprintln!("skipped: this needs the right to become another user, who can run the agent");
        return;
    };
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(
        text.contains("Permission denied") && text.contains("as root"),
        "{text}"
    );
}

#[test]
fn a_certificate_is_trusted_through_the_ca_file_and_its_end_is_told() {
    let authority = Authority::new("a");
    let agent = https_agent(&authority, &["localhost"], Validity::Long, Some(&authority));
    let output = run(&agent);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("TLS 1.3, trusted through [server] ca-file, valid until "),
        "{text}"
    );
    let agent = https_agent(&authority, &["localhost"], Validity::Days(3), Some(&authority));
    let output = run(&agent);
    let warned = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && warned.contains("warn  certificate"),
        "{warned}"
    );
    assert!(
        warned.contains("it ends in 2 days") || warned.contains("it ends in 3 days"),
        "{warned}"
    );
}

#[test]
fn certificates_that_are_not_accepted_are_told_apart() {
    let (authority, other, renewed) = (Authority::new("a"), Authority::new("b"), Authority::new("a"));
    let long = Validity::Long;
    let unknown = https_agent(&authority, &["localhost"], long, None);
    fails(
        &unknown,
        "certificate",
        "issued by nobody whom this computer trusts",
    );
    let wrong = https_agent(&authority, &["localhost"], long, Some(&other));
    fails(&wrong, "certificate", "and 1 of [server] ca-file");
    let anew = https_agent(&authority, &["localhost"], long, Some(&renewed));
    fails(
        &anew,
        "certificate",
        "the name of one that this computer trusts, but another key",
    );
    let expired = https_agent(&authority, &["localhost"], Validity::Expired, Some(&authority));
    fails(&expired, "certificate", "it ended on 2020-01-01");
    let misnamed = https_agent(&authority, &["oco.example"], long, Some(&authority));
    fails(&misnamed, "certificate", "it is not for localhost, but for");
    let no_file = https_agent(&authority, &["localhost"], long, Some(&authority));
    std::fs::write(no_file.folder().join("ca.pem"), "nonsense").unwrap();
    fails(&no_file, "certificate", "there is no PEM certificate in it");
}

#[test]
fn a_port_without_tls_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::Write;
        for stream in listener.incoming() {
            let _ = stream
                .unwrap()
                .write_all(&response("400 Bad Request", "", "plain HTTP"));
        }
    });
    fails(
        &Agent::new(&format!("https://localhost:{port}/api-agent.php")),
        "certificate",
        "does not speak TLS",
    );
}

/// An agent for an HTTPS server on this machine, which it knows as `localhost`.
fn https_agent(
    authority: &Authority,
    names: &[&str],
    validity: Validity,
    trusted: Option<&Authority>,
) -> Agent {
    let server = TlsServer::start(authority, names, validity, |_| refusal());
    let agent = Agent::new(&format!("https://localhost:{}/api-agent.php", server.port));
    if let Some(trusted) = trusted {
        let file = agent.folder().join("ca.pem");
        std::fs::write(&file, trusted.pem()).unwrap();
        let line = format!("[server]\nca-file = {}\n", file.display());
        let config = agent.config().replacen("[server]\n", &line, 1);
        std::fs::write(agent.config_path(), config).unwrap();
    }
    agent
}

/// URL of a plain HTTP server that gives this answer to each request; it also lives with connections that bring none.
fn server_for_check(answer: Vec<u8>) -> String {
    let server = ScriptedServer::answering(move |_| answer.clone());
    server.url
}
