//! The keyed generation: with a server of 2022 as it was recorded, with one of today, and never by mistake.

use crate::support::mock::{MockServer, archive};
use crate::support::scripted::{
    AGENT_KEY, Captured, SERVER_KEY, ScriptedServer, archive_response, hello, raw, repeated, response, signed,
};
use crate::support::{Agent, REGISTRATION_KEY, stderr};
use oco_protocol::Key;
use oco_protocol::password::EncryptedPassword;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

const RECORDED_REGISTRATION_KEY: &str = "regkey-test-0123456789";
const RECORDED_AGENT_KEY: &str = "tdbzbttf358vw49ns46pmwanjgup5h";
const RECORDED_SERVER_KEY: &str = "1qq2m1iz5shx61nw5u8wg53b3g5y82";

fn keyed(url: &str, agent_key: &str, server_key: &str) -> Agent {
    Agent::with_config(&format!(
        "[agent]\nagent-key = {agent_key}\n[server]\napi-url = {url}\nprotocol = keyed\nserver-key = {server_key}\n"
    ))
}

/// An answer as servers of 2022 give it.
fn of_2022(params: &Value) -> Vec<u8> {
    let body = json!({"id": 1, "error": null, "result": {"success": true, "params": params}});
    response("200 OK", "Content-Type: application/json\r\n", &body.to_string())
}

/// A refusal as servers of 2022 give it: in the reason phrase alone.
fn phrase(status: &str) -> Vec<u8> {
    response(status, "Content-Type: text/html; charset=UTF-8\r\n", "")
}

fn method(request: &Captured) -> String {
    if request.head.starts_with("GET ") {
        return "download".to_owned();
    }
    request.json()["method"].as_str().unwrap().to_owned()
}

/// The recorded exchanges: what the old agent asked, and the body that the server answered with.
fn recorded() -> Vec<(Captured, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/transcripts/keyed");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    // The last one is a signed hello.
    let files = files
        .iter()
        .filter(|file| !file.to_string_lossy().contains("011-"));
    files
        .map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let (request, response) = text.split_once("\n<<<<<<<<<< RESPONSE").unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let head = head.split_once('\n').unwrap().1.to_owned();
            let body = body.as_bytes().to_vec();
            let answer = response.split_once("\r\n\r\n").unwrap().1.trim_end_matches('\n');
            (Captured { head, body }, answer.to_owned())
        })
        .collect()
}

/// A server that knows nothing but the recorded exchanges, in their order, and refuses the method of today as it did.
fn server_of_2022() -> ScriptedServer {
    let package = archive(&[("run.sh", b"echo from the package\n")]);
    let exchanges = Arc::new(Mutex::new(recorded().into_iter()));
    ScriptedServer::start(repeated(100, move |request| {
        if method(request) == "oco.agent.update_job_state" {
            return phrase("400 Unknown Method");
        }
        let Some((expected, answer)) = exchanges.lock().unwrap().next() else {
            return phrase("404 Computer Not Found");
        };
        if method(request) != method(&expected) {
            return phrase("400 Payload Corrupt");
        }
        match method(request).as_str() {
            "download" => archive_response(&package),
            _ => response("200 OK", "Content-Type: application/json\r\n", &answer),
        }
    }))
}

#[test]
fn a_server_of_2022_sees_what_it_saw_of_the_old_agent() {
    let server = server_of_2022();
    let agent = keyed(&server.url, RECORDED_REGISTRATION_KEY, "");
    for keys in ["registered=true", "registered=false", "registered=false"] {
        let output = agent.check_in();
        let log = stderr(&output);
        assert!(output.status.success() && log.contains(keys), "{log}");
        assert!(log.contains("the agent key travels in the clear"), "{log}");
        assert_eq!(agent.setting("agent-key"), RECORDED_AGENT_KEY);
        assert_eq!(agent.setting("server-key"), RECORDED_SERVER_KEY);
    }
    let requests = server.requests();
    let tried = requests
        .iter()
        .filter(|r| method(r) == "oco.agent.update_job_state")
        .count();
    assert_eq!(tried, 1, "the name that the server knows is remembered");
    let requests = requests
        .iter()
        .filter(|r| method(r) != "oco.agent.update_job_state");
    let expected = recorded();
    assert_eq!(requests.clone().count(), expected.len());
    for (request, (expected, _)) in requests.zip(&expected) {
        assert!(!request.head.contains("signature"), "{}", request.head);
        if method(request) == "download" {
            let line = request.head.lines().next().unwrap();
            let (before, after) = line.split_once("?hostname=").unwrap();
            assert_eq!(before, "GET /api-agent.php");
            assert!(
                after.ends_with(&format!("&agent-key={RECORDED_AGENT_KEY}&id=1 HTTP/1.1")),
                "{line}"
            );
            assert!(request.body.is_empty());
            continue;
        }
        let (request, expected) = (request.json(), expected.json());
        assert_eq!(request["method"], expected["method"]);
        assert_eq!(request["params"]["agent-key"], expected["params"]["agent-key"]);
        let names: Vec<_> = request["params"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["agent-key", "data", "hostname", "uid"]);
        let (data, expected) = (&request["params"]["data"], &expected["params"]["data"]);
        for part in ["job-id", "state", "return-code"] {
            assert_eq!(data.get(part), expected.get(part), "{request}");
        }
        assert_eq!(data.get("download-progress"), None);
        if let Some(version) = data.get("agent_version") {
            assert_eq!(
                version, "1.1.6",
                "servers of today serve this generation before 1.1.7"
            );
        }
    }
    let output: Vec<_> = server
        .requests()
        .iter()
        .filter(|r| method(r).ends_with("deploy_status"))
        .map(|r| r.json()["params"]["data"]["message"].clone())
        .collect();
    assert_eq!(output, ["", "", "from the package\n", "", "fail\n"]);
}

#[test]
fn a_signed_agent_that_is_refused_never_puts_its_key_on_the_wire() {
    let text = |status: &str, reason: &str| response(status, "Content-Type: text/html\r\n", reason);
    let refusals = vec![
        phrase("400 Parameter Mismatch"),
        phrase("400 Unknown Method"),
        phrase("401 Client Not Authorized"),
        text("400 Bad Request", "Unknown method"),
        text("401 Unauthorized", "Signature header missing"),
        text("401 Unauthorized", "Invalid agent signature"),
        text("401 Unauthorized", "Agent timestamp too old"),
        text("401 Unauthorized", "Agent key mismatch"),
        text("500 Internal Server Error", ""),
        of_2022(&hello(Some(SERVER_KEY), None)),
    ];
    let mut ordered = hello(Some(SERVER_KEY), None);
    ordered["update"] = json!(1);
    ordered["software-jobs"] = json!([{"id": 1, "package-id": 9, "download": true, "procedure": "true"}]);
    let count = refusals.len();
    for registered in [false, true] {
        // Each refusal answers a hello, and then everything that comes after a hello that was answered.
        for hello_too in [true, false] {
            let (refusals, ordered, turn) = (refusals.clone(), ordered.clone(), Arc::new(Mutex::new(0)));
            let server = ScriptedServer::start(repeated(200, move |request| {
                if !hello_too && method(request) == "oco.agent.hello" {
                    return signed(&ordered, SERVER_KEY);
                }
                let mut turn = turn.lock().unwrap();
                *turn += 1;
                refusals[(*turn - 1) % refusals.len()].clone()
            }));
            let agent = match registered {
                true => Agent::with_config(&format!(
                    "[agent]\nagent-key = {AGENT_KEY}\n[server]\napi-url = {}\nserver-key = {SERVER_KEY}\n",
                    server.url
                )),
                false => Agent::new(&server.url),
            };
            for _ in 0..if hello_too { count } else { 2 } {
                agent.check_in();
            }
            let requests = server.requests();
            assert!(requests.len() >= 8, "{}", requests.len());
            for request in requests {
                let wire = format!("{}{}", request.head, String::from_utf8_lossy(&request.body));
                for secret in [
                    AGENT_KEY,
                    REGISTRATION_KEY,
                    SERVER_KEY,
                    "\"agent-key\"",
                    "agent-key=",
                ] {
                    assert!(!wire.contains(secret), "{wire}");
                }
                assert!(request.header("x-oco-agent-signature").is_some(), "{wire}");
                assert!(!wire.contains("deploy_status"), "{wire}");
            }
        }
    }
}

#[test]
fn a_server_with_another_key_or_none_is_not_obeyed() {
    let witness = tempfile::NamedTempFile::new().unwrap();
    let order = |server_key: Option<&str>| {
        let mut params = hello(server_key, Some("smuggled"));
        params["software-jobs"] =
            json!([{"id": 4, "procedure": format!("echo ran >> {}", witness.path().display())}]);
        params
    };
    for (answer, reason) in [
        (of_2022(&order(Some("another-key"))), "brings another server key"),
        (of_2022(&order(None)), "brings no server key"),
        (
            signed(&order(Some(SERVER_KEY)), "another-key"),
            "does not fit the server key",
        ),
    ] {
        let server = ScriptedServer::start(vec![raw(answer)]);
        let agent = keyed(&server.url, AGENT_KEY, SERVER_KEY);
        let before = agent.config();
        let output = agent.check_in();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(reason), "{log}");
        assert_eq!((agent.config(), server.requests().len()), (before, 1));
        assert_eq!(std::fs::read_to_string(witness.path()).unwrap(), "");
    }
}

#[cfg(target_os = "linux")] // chpasswd, journalctl
#[test]
fn a_server_of_today_is_told_job_states_and_passwords_and_its_answers_are_checked() {
    let answer = |request: &Captured| {
        let mut params = match method(request).as_str() {
            "oco.agent.hello" => {
                let mut params = hello(None, Some(AGENT_KEY));
                params["software-jobs"] = json!([{"id": 4, "procedure": "echo done"}]);
                params["update-passwords"] =
                    json!([{"username": "local", "alphabet": "abcdef", "length": 9}]);
                params
            }
            "oco.agent.update_job_state" => json!({"job-succeeded": true}),
            _ => json!({}),
        };
        params["server-key"] = json!(SERVER_KEY);
        signed(&params, SERVER_KEY)
    };
    let server = ScriptedServer::start(repeated(10, answer));
    let agent = keyed(&server.url, REGISTRATION_KEY, "");
    agent.stand_in("chpasswd", &format!("cat >> {}/set", agent.folder().display()));
    let output = agent.command_with_stand_ins().output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let requests: Vec<_> = server.requests().iter().map(Captured::json).collect();
    let methods: Vec<_> = requests.iter().map(|r| r["method"].as_str().unwrap()).collect();
    assert_eq!(
        methods,
        [
            "oco.agent.hello",
            "oco.agent.passwords",
            "oco.agent.update_job_state",
            "oco.agent.update_job_state"
        ]
    );
    assert_eq!(requests[3]["params"]["data"]["message"], "done\n");
    let password = requests[1]["params"]["data"]["passwords"][0]["password"].clone();
    let password: EncryptedPassword = serde_json::from_value(password).unwrap();
    let password = password.decrypt(&Key::new(AGENT_KEY)).unwrap();
    let set = std::fs::read_to_string(agent.folder().join("set")).unwrap();
    assert_eq!(set, format!("local:{}\n", &*password));
    // Its timestamps count, as they are signed.
    assert!(agent.folder().join("oco-agent.timestamp").exists());
}

#[test]
fn a_keyed_server_that_accepts_no_report_does_not_see_the_job_run_again() {
    let witness = tempfile::NamedTempFile::new().unwrap();
    let mut order = hello(Some(SERVER_KEY), None);
    order["software-jobs"] =
        json!([{"id": 4, "procedure": format!("echo ran >> {}", witness.path().display())}]);
    let server = ScriptedServer::start(repeated(100, move |request| match method(request).as_str() {
        "oco.agent.hello" => of_2022(&order),
        _ => response("400 Bad Request", "Content-Type: text/html\r\n", "Unknown method"),
    }));
    let agent = keyed(&server.url, AGENT_KEY, SERVER_KEY);
    for _ in 0..3 {
        agent.check_in();
        assert_eq!(std::fs::read_to_string(witness.path()).unwrap(), "ran\n");
    }
    let names: Vec<_> = server.requests().iter().map(method).collect();
    for name in ["oco.agent.update_job_state", "oco.agent.update_deploy_status"] {
        assert!(
            names.iter().filter(|n| *n == name).count() >= 3,
            "both names are tried: {names:?}"
        );
    }
}

#[test]
fn a_forced_inventory_that_a_server_of_2022_does_not_want_is_not_sent() {
    for (generation, wanted) in [("2022", false), ("current", true)] {
        let server = MockServer::start_with(&["--server-generation", generation]);
        let agent = keyed(&server.agent_url, REGISTRATION_KEY, "");
        assert!(agent.check_in().status.success());
        let output = agent.command().arg("--force").output().unwrap();
        let log = stderr(&output);
        assert!(output.status.success(), "{generation}: {log}");
        assert!(
            log.contains(&format!("inventory_sent={wanted}")),
            "{generation}: {log}"
        );
        assert_eq!(
            log.contains("the server wants no inventory now"),
            !wanted,
            "{log}"
        );
        assert_eq!(server.findings(), Vec::<String>::new(), "{generation}");
    }
}

#[test]
fn an_unknown_protocol_is_explained_and_nobody_is_contacted() {
    let server = ScriptedServer::start(vec![raw(of_2022(&json!({})))]);
    let agent = Agent::with_config(&format!("[server]\napi-url = {}\nprotocol = auto\n", server.url));
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1));
    let log = stderr(&output);
    assert!(
        log.contains(":3: [server] protocol = \"auto\" is wrong: expected signed or keyed"),
        "{log}"
    );
    assert_eq!(server.requests().len(), 0);
}
