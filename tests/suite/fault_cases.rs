//! Servers and networks that do wrong things: the agent says which, keeps its state whole, and goes on with its next
//! check-in.

#![cfg(unix)] // the procedures are shell scripts

use crate::support::mock::archive;
use crate::support::scripted::{
    AGENT_KEY, Captured, SERVER_KEY, ScriptedServer, hello, response, signed, signed_at, signed_with,
};
use crate::support::{Agent, shell_program, stderr, wait_for};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What is done to a connection once its request was read.
type Fault = Box<dyn Fn(&mut TcpStream) + Send + Sync>;

fn says(bytes: Vec<u8>) -> Fault {
    Box::new(move |stream| {
        let _ = stream.write_all(&bytes);
    })
}

fn refuses(status: &str, reason: &str) -> Fault {
    says(refusal(status, reason))
}

fn refusal(status: &str, reason: &str) -> Vec<u8> {
    response(status, "Content-Type: text/html; charset=UTF-8\r\n", reason)
}

/// Says something and keeps the connection open, in silence, until the agent hangs up.
fn stalls_after(bytes: &'static [u8]) -> Fault {
    Box::new(move |stream| {
        let _ = stream.write_all(bytes);
        let _ = stream.read(&mut [0]);
    })
}

/// A response of this body, signed by the server, whatever it is.
fn signed_body(body: &str, headers: &str) -> Vec<u8> {
    let signature = signature::sign(&Key::new(SERVER_KEY), body.as_bytes());
    response(
        "200 OK",
        &format!("{headers}x-oco-server-signature: {signature}\r\n"),
        body,
    )
}

fn body_of(answer: &[u8]) -> String {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn signed_now(params: &Value) -> Vec<u8> {
    signed(params, SERVER_KEY)
}

/// An answer to a hello with one part of its text replaced, signed.
fn altered(from: &str, to: &str) -> Vec<u8> {
    let body = body_of(&signed_now(&hello(None, None)));
    assert!(body.contains(from), "{body}");
    signed_body(&body.replace(from, to), "Content-Type: application/json\r\n")
}

/// A server that does `fault` to the first hello and then behaves.
fn faulty_once(fault: Fault) -> ScriptedServer {
    let requests = AtomicUsize::new(0);
    ScriptedServer::serving(move |request, stream| {
        assert_eq!(request.method(), "oco.agent.hello");
        if requests.fetch_add(1, Ordering::SeqCst) == 0 {
            fault(stream);
        } else {
            let _ = stream.write_all(&signed_now(&hello(None, None)));
        }
    })
}

/// The agent fails for `reason`, its configuration stays as it is, and its next check-in succeeds.
fn fails_once(name: &str, fault: Fault, reason: &str) {
    let server = faulty_once(fault);
    let agent = Agent::registered(&server.url, "read-timeout = 1");
    let before = agent.config();
    let output = agent.check_in();
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{name}: {log}");
    assert!(log.contains(reason), "{name}: {log}");
    assert!(
        !log.contains(AGENT_KEY) && !log.contains(SERVER_KEY),
        "{name}: {log}"
    );
    assert_eq!(agent.config(), before, "{name}");
    let output = agent.check_in();
    assert!(output.status.success(), "{name}: {}", stderr(&output));
    assert_eq!(server.requests().len(), 2, "{name}");
}

#[test]
fn each_refusal_of_a_hello_is_named_and_the_next_check_in_succeeds() {
    for (status, reason) in [
        ("400 Bad Request", "Content type mismatch"),
        ("400 Bad Request", "Invalid JSON data"),
        ("400 Bad Request", "Unknown method"),
        ("401 Unauthorized", "Signature header missing"),
        ("401 Unauthorized", "Invalid agent signature"),
        ("401 Unauthorized", "Agent timestamp too old"),
        ("401 Unauthorized", "Client self-registration is disabled"),
        ("401 Unauthorized", "Computer not found"),
    ] {
        fails_once(reason, refuses(status, reason), reason);
    }
    let nothing_said = "status 500: (no reason given)";
    fails_once("500", refuses("500 Internal Server Error", ""), nothing_said);
    fails_once(
        "503",
        refuses("503 Service Unavailable", "busy"),
        "status 503: busy",
    );
}

#[test]
fn answers_that_are_not_whole_are_named_and_the_next_check_in_succeeds() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"id\"";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n20\r\n{\"id\"";
    fails_once("nothing", says(Vec::new()), "request failed");
    fails_once("cut off", says(cut.to_vec()), "the response ended early");
    fails_once(
        "cut off in a chunk",
        says(chunked.to_vec()),
        "the response ended early",
    );
    fails_once(
        "no HTTP",
        says(b"220 mail.example.org ESMTP\r\n".to_vec()),
        "request failed",
    );
    fails_once("silence", stalls_after(b""), "did not answer in time");
    fails_once("silence in the body", stalls_after(cut), "did not answer in time");
    fails_once("endless head", Box::new(endless_head), "request failed");
    fails_once(
        "endless body",
        Box::new(endless_body),
        "longer than 8388608 bytes",
    );
}

fn endless_head(stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ");
    while stream.write_all(&[b'x'; 1 << 14]).is_ok() {}
}

fn endless_body(stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
}

/// A connection that is closed while there is something unread is reset.
#[test]
fn a_connection_that_is_reset_costs_one_check_in() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"id\"",
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api-agent.php", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The head only: the body stays unread.
            let mut byte = [0];
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.peek(&mut byte).unwrap();
            stream.write_all(answer).unwrap();
        });
        let agent = Agent::registered(&url, "");
        let output = agent.check_in();
        server.join().unwrap();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(
            log.contains("the connection was reset") || log.contains("ended early"),
            "{log}"
        );
    }
}

#[test]
fn answers_that_prove_nothing_are_not_used_and_the_next_check_in_succeeds() {
    let changed_keys = || hello(Some("another-server-key"), Some("another-agent-key"));
    let unsigned = body_of(&signed_now(&changed_keys()));
    let headers = |signature: &str| format!("x-oco-server-signature: {signature}\r\n");
    let broken = "0".repeat(64);
    for (name, answer, reason) in [
        (
            "unsigned",
            response("200 OK", "", &unsigned),
            "carries no signature",
        ),
        (
            "empty signature",
            response("200 OK", &headers(""), &unsigned),
            "does not fit",
        ),
        (
            "wrong signature",
            response("200 OK", &headers(&broken), &unsigned),
            "does not fit",
        ),
        (
            "signed with the agent's key",
            signed(&changed_keys(), AGENT_KEY),
            "does not fit",
        ),
        (
            "signed by another server",
            signed(&changed_keys(), "another-server-key"),
            "does not fit",
        ),
    ] {
        fails_once(name, says(answer), reason);
    }
    let gzip = "\u{1f}\u{8b}\u{8}\u{0}\u{0}\u{0}\u{0}\u{0}";
    let answer = response(
        "200 OK",
        &format!("Content-Encoding: gzip\r\n{}", headers(&broken)),
        gzip,
    );
    fails_once("packed by a proxy", says(answer), "does not fit");
    let answer = signed_body(gzip, "Content-Encoding: gzip\r\n");
    fails_once("packed and signed", says(answer), "makes no sense");
    let answer = response("302 Found", "Location: http://127.0.0.1:9/\r\n", "");
    fails_once("redirect", says(answer), "status 302");
}

#[test]
fn signed_answers_that_make_no_sense_are_named_and_the_next_check_in_succeeds() {
    let nested = "[".repeat(100_000);
    for (name, body) in [
        ("nothing", ""),
        ("null", "null"),
        ("list", "[]"),
        ("text", "\"hello\""),
        ("no result", "{\"id\":1,\"error\":null}"),
        ("null result", "{\"id\":1,\"error\":null,\"result\":null}"),
        (
            "error",
            "{\"id\":1,\"error\":\"no\",\"result\":{\"success\":true,\"params\":{},\"timestamp\":9e9}}",
        ),
        ("page", "<html><body>Bad Gateway</body></html>"),
        ("nested", &nested),
        ("not UTF-8 by escape", "{\"id\":\"\\ud800\"}"),
    ] {
        fails_once(name, says(signed_body(body, "")), "makes no sense");
    }
    let lone_surrogate = altered(
        "\"software-jobs\":[]",
        "\"software-jobs\":[{\"id\":1,\"procedure\":\"\\udfff\"}]",
    );
    fails_once("lone surrogate", says(lone_surrogate), "makes no sense");
    for no in ["false", "0", "\"\"", "null", "\"0\""] {
        let answer = altered("\"success\":true", &format!("\"success\":{no}"));
        fails_once(no, says(answer), "did not succeed");
    }
    for timestamp in ["null", "true", "\"soon\"", "[]", "-1", "1e400"] {
        let body = format!(
            "{{\"id\":1,\"error\":null,\"result\":{{\"success\":true,\"params\":{},\"timestamp\":{timestamp}}}}}",
            hello(None, None)
        );
        fails_once(timestamp, says(signed_body(&body, "")), "");
    }
}

#[test]
fn answers_of_every_spelling_are_understood() {
    for (name, answer) in [
        ("number", altered("\"success\":true", "\"success\":11")),
        ("text", altered("\"success\":true", "\"success\":\"11\"")),
        (
            "unknown members",
            altered("\"update\":0", "\"update\":\"0\",\"new\":{\"a\":[1]}"),
        ),
        (
            "null lists",
            altered("\"software-jobs\":[]", "\"software-jobs\":null"),
        ),
        ("no error member", altered("\"error\":null,", "")),
        ("another id", altered("\"id\":1", "\"id\":\"x\"")),
        ("no parameters", signed_now(&json!([]))),
        (
            "another content type",
            signed_body(
                &body_of(&signed_now(&hello(None, None))),
                "Content-Type: text/html\r\n",
            ),
        ),
    ] {
        let server = ScriptedServer::answering(move |_| answer.clone());
        let agent = Agent::registered(&server.url, "");
        let output = agent.check_in();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
}

#[test]
fn answers_that_are_not_newer_are_refused_until_a_newer_one_comes() {
    let at = |seconds: f64| signed_at(&hello(None, None), SERVER_KEY, Duration::from_secs_f64(seconds));
    let answers = [
        (at(4e9), None),
        (at(4e9), Some("is not newer than the last accepted one")),
        (at(4e9 - 0.1), Some("is not newer than the last accepted one")),
        (at(4e9 + 0.5), None),
    ];
    let script: Vec<_> = answers.iter().map(|(answer, _)| answer.clone()).collect();
    let next = AtomicUsize::new(0);
    let server = ScriptedServer::answering(move |_| script[next.fetch_add(1, Ordering::SeqCst)].clone());
    let agent = Agent::registered(&server.url, "");
    for (_, reason) in answers {
        let output = agent.check_in();
        let log = stderr(&output);
        assert_eq!(output.status.success(), reason.is_none(), "{log}");
        assert!(log.contains(reason.unwrap_or_default()), "{log}");
    }
}

#[test]
fn a_stored_server_key_is_never_replaced_and_a_signed_agent_key_is_taken() {
    let server =
        ScriptedServer::answering(|_| signed_now(&hello(Some("another"), Some("renewed-agent-key"))));
    let agent = Agent::registered(&server.url, "");
    assert!(agent.check_in().status.success());
    assert_eq!(
        (
            agent.setting("server-key").as_str(),
            agent.setting("agent-key").as_str()
        ),
        (SERVER_KEY, "renewed-agent-key")
    );
}

/// A server that orders `jobs` until their outcomes were accepted, and answers all else with `answer`.
fn ordering(
    jobs: Value,
    answer: impl Fn(&Captured, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::serving(move |request, stream| {
        if answer(request, stream) {
            return;
        }
        let params = match request.method().as_str() {
            "oco.agent.hello" => {
                let mut params = hello(None, None);
                params["software-jobs"] = jobs.clone();
                params
            }
            "oco.agent.update_job_state" => json!({"job-succeeded": request.data()["state"] == 3}),
            _ => json!([]),
        };
        let _ = stream.write_all(&signed_now(&params));
    })
}

/// The reports of a job, as state and message.
fn reports(server: &ScriptedServer, id: &Value) -> Vec<(i64, String)> {
    let requests = server.requests();
    let reports = requests
        .iter()
        .filter(|request| request.method() == "oco.agent.update_job_state");
    let data = reports.map(Captured::data).filter(|data| data["job-id"] == *id);
    data.map(|data| {
        (
            data["state"].as_i64().unwrap(),
            data["message"].as_str().unwrap().to_owned(),
        )
    })
    .collect()
}

#[test]
fn each_way_a_download_can_fail_is_reported_and_the_next_job_runs() {
    let package = archive(&[("file", &[7; 5000])]);
    let whole = |body: &[u8]| {
        [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            body,
        ]
        .concat()
    };
    let mut corrupt = package.clone();
    corrupt[40] ^= 0xff;
    let longer = [b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", &package[..]].concat();
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nPK", 1u64 << 40).into_bytes();
    let faults: Vec<(Fault, &str)> = vec![
        (
            refuses("400 Bad Request", "Package not found"),
            "Package not found",
        ),
        (
            refuses("400 Bad Request", "No active job for this package"),
            "No active job",
        ),
        (
            refuses("401 Unauthorized", "Invalid agent signature"),
            "Invalid agent signature",
        ),
        (refuses("500 Internal Server Error", ""), "status 500"),
        (
            says(response("302 Found", "Location: http://127.0.0.1:9/\r\n", "")),
            "status 302",
        ),
        (says(longer), "ended early"),
        (says(Vec::new()), "request failed"),
        (says(whole(&corrupt)), "not a complete ZIP archive"),
        (
            says(whole(b"<html>maintenance</html>")),
            "not a complete ZIP archive",
        ),
        (says(whole(b"")), "not a complete ZIP archive"),
        (says(huge), "longer than"),
        (stalls_after(b""), "did not answer in time"),
        (
            stalls_after(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nPK"),
            "did not answer in time",
        ),
    ];
    let reasons: Vec<&str> = faults.iter().map(|(_, reason)| *reason).collect();
    let jobs: Vec<Value> = (0..=faults.len())
        .map(|n| json!({"id": n, "package-id": n, "download": 1, "procedure": "cat file | wc -c"}))
        .collect();
    let ordered = Arc::new(AtomicUsize::new(0));
    let server = ordering(json!(jobs), move |request, stream| {
        if request.method() != "oco.agent.download" {
            return false;
        }
        let n = usize::try_from(request.json()["params"]["package-id"].as_u64().unwrap()).unwrap();
        assert_eq!(
            ordered.fetch_add(1, Ordering::SeqCst),
            n,
            "in their order, each once"
        );
        match faults.get(n) {
            Some((fault, _)) => fault(stream),
            None => stream.write_all(&whole(&package)).unwrap(),
        }
        true
    });
    let agent = Agent::registered(&server.url, "read-timeout = 1");
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    for (n, reason) in reasons.iter().enumerate() {
        let reports = reports(&server, &json!(n));
        let (state, message) = reports.last().unwrap();
        assert_eq!(*state, -1, "{reports:?}");
        assert!(message.contains(reason), "{reason}: {message}");
    }
    let last = reports(&server, &json!(reasons.len()));
    assert_eq!(last.last(), Some(&(3, "5000\n".to_owned())));
    assert!(agent.staging_is_empty());
}

#[test]
fn malformed_jobs_are_skipped_by_name_and_doubled_ones_run_once() {
    let witness = tempfile::NamedTempFile::new().unwrap();
    let run = |name: &str| format!("echo {name} >> {}", witness.path().display());
    let jobs = json!([
        {"procedure": run("no id")},
        {"id": 1},
        {"id": null, "procedure": run("null id")},
        {"id": {"a": 1}, "procedure": run("object id")},
        {"id": 2, "procedure": null},
        {"id": 3, "procedure": ["x"]},
        {"id": 4, "procedure": run("bad minutes"), "restart": "soon"},
        null, 7, "job", [],
        {"id": "dynamic-1", "container-id": "deployment_rule::1", "procedure": run("a"), "invented": {"x": [1]}, "restart": null},
        {"id": "5", "container-id": "3", "sequence-mode": "0", "download": "0", "procedure": run("b")},
        {"id": 5, "container-id": 3, "procedure": run("b")},
        {"id": 6, "container-id": null, "package-id": null, "download": null, "sequence-mode": null, "exit": null, "procedure": run("c")},
        {"id": 7, "procedure": ""},
        {"id": 8, "download": true, "procedure": run("no package")},
    ]);
    let server = ordering(jobs, |_, _| false);
    let agent = Agent::registered(&server.url, "");
    let output = agent.check_in();
    let log = stderr(&output);
    assert!(output.status.success(), "{log}");
    assert_eq!(std::fs::read_to_string(witness.path()).unwrap(), "a\nb\nc\n");
    assert_eq!(log.matches("a malformed job").count(), 11, "{log}");
    let ids: std::collections::BTreeSet<String> = server
        .requests()
        .iter()
        .filter(|request| request.method() == "oco.agent.update_job_state")
        .map(|request| request.data()["job-id"].to_string())
        .collect();
    assert_eq!(
        ids.iter().map(String::as_str).collect::<Vec<_>>(),
        ["\"5\"", "\"dynamic-1\"", "6", "7", "8"],
        "ids go back as they came"
    );
    assert_eq!(
        reports(&server, &json!(7)),
        [(3, String::new())],
        "nothing to run is a success"
    );
    let (state, message) = reports(&server, &json!(8)).pop().unwrap();
    assert!(state == -1 && message.contains("named no package"), "{message}");
}

#[test]
fn steps_that_the_server_refuses_do_not_stop_a_job() {
    for (status, reason) in [
        ("400 Bad Request", "Job »1« not found"),
        ("401 Unauthorized", "Computer not allowed to update job »1«"),
        ("500 Internal Server Error", ""),
    ] {
        let jobs = json!([{"id": 1, "procedure": "echo done"}]);
        let server = ordering(jobs, move |request, stream| {
            let step = request.method() == "oco.agent.update_job_state" && request.data()["state"] != 3;
            if step {
                stream.write_all(&refusal(status, reason)).unwrap();
            }
            step
        });
        let agent = Agent::registered(&server.url, "");
        let output = agent.check_in();
        let log = stderr(&output);
        assert!(output.status.success(), "{log}");
        assert!(
            log.contains("progress could not be reported") && log.contains(reason),
            "{log}"
        );
        assert_eq!(
            reports(&server, &json!(1)).last(),
            Some(&(3, "done\n".to_owned()))
        );
    }
}

#[test]
fn a_refused_inventory_is_named_and_the_jobs_run_all_the_same() {
    for (status, reason, tries) in [
        ("400 Bad Request", "Update refused (too often or invalid data)", 1),
        ("401 Unauthorized", "Invalid agent signature", 1),
        ("400 Bad Request", "Invalid JSON data", 1),
    ] {
        let server = ScriptedServer::answering(move |request| match request.method().as_str() {
            "oco.agent.hello" => {
                let mut params = hello(None, None);
                params["update"] = json!(1);
                params["software-jobs"] = json!([{"id": 1, "procedure": "echo done"}]);
                signed_now(&params)
            }
            "oco.agent.update" => refusal(status, reason),
            _ => signed_now(&json!({"job-succeeded": true})),
        });
        let agent = Agent::registered(&server.url, "");
        let output = agent.check_in();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(reason), "{log}");
        let updates = server
            .requests()
            .iter()
            .filter(|request| request.method() == "oco.agent.update")
            .count();
        assert_eq!(updates, tries);
        assert_eq!(
            reports(&server, &json!(1)).last(),
            Some(&(3, "done\n".to_owned()))
        );
    }
}

#[test]
fn answers_without_a_yes_to_passwords_and_events_are_told_apart() {
    // PHP's last expression: the number of what was stored, as a text.
    for (success, denied) in [
        (json!("1"), false),
        (json!(1), false),
        (json!(false), true),
        (json!("0"), true),
    ] {
        let answered = success.clone();
        let server = ScriptedServer::answering(move |request| match request.method().as_str() {
            "oco.agent.hello" => {
                let mut params = hello(None, None);
                params["events"] =
                    json!([{"since": "1970-01-01 00:00:00", "log": "journalctl", "query": ""}]);
                signed_now(&params)
            }
            _ => signed_with(&answered, &json!([]), SERVER_KEY),
        });
        let agent = Agent::registered(&server.url, "");
        let bin = agent.folder().join("bin");
        let entry = "{\"__REALTIME_TIMESTAMP\":\"1\",\"MESSAGE\":\"x\"}";
        shell_program(&bin, "journalctl", &format!("echo '{entry}'"));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = agent.command().env("PATH", path).output().unwrap();
        let log = stderr(&output);
        assert!(output.status.success(), "{log}");
        assert_eq!(
            log.contains("events are not reported"),
            denied,
            "{success}: {log}"
        );
    }
}

#[test]
fn a_daemon_outlives_one_fault_after_the_other() {
    let faults: Vec<Fault> = vec![
        says(b"rubbish".to_vec()),
        refuses("500 Internal Server Error", ""),
        says(signed(&hello(None, None), "another")),
    ];
    let asked = AtomicUsize::new(0);
    // After each of them all is well for once: a failure after another one doubles the pause.
    let server = ScriptedServer::serving(move |_, stream| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        match faults.get(number / 2).filter(|_| number.is_multiple_of(2)) {
            Some(fault) => fault(stream),
            None => stream.write_all(&signed_now(&hello(None, None))).unwrap(),
        }
    });
    let agent = Agent::registered(&server.url, "query-interval = 1");
    let daemon = agent.daemon();
    wait_for("check-ins after the faults", || {
        (agent.log().matches("checked in").count() >= 4).then_some(())
    });
    assert_eq!(
        agent.log().matches("check-in failed").count(),
        3,
        "{}",
        agent.log()
    );
    assert_eq!(daemon.terminate(), Some(0));
}
