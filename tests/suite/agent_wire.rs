//! What an agent's requests look like, byte for byte.

use crate::support::scripted::{
    AGENT_KEY, Captured, SERVER_KEY, ScriptedServer, archive_response, hello, raw, registration, repeated,
    response, signed,
};
use crate::support::{Agent, REGISTRATION_KEY, stderr};
use oco_protocol::{Key, signature};
use serde_json::{Value, json};
use std::io::Write;

#[test]
fn header_names_are_lower_case_and_the_signature_fits_the_exact_body() {
    let server = ScriptedServer::start(vec![registration(), raw(signed(&hello(None, None), SERVER_KEY))]);
    let agent = Agent::new(&server.url);
    for key in [REGISTRATION_KEY, AGENT_KEY] {
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        let request = server.requests().pop().unwrap();
        assert!(
            request.head.starts_with("POST /api-agent.php HTTP/1.1\r\n"),
            "{}",
            request.head
        );
        assert_eq!(
            request.header("content-type"),
            Some("application/json"),
            "{}",
            request.head
        );
        for name in request
            .head
            .lines()
            .skip(1)
            .map(|line| line.split(':').next().unwrap())
        {
            assert_eq!(name, name.to_lowercase());
        }
        let signature = request.header("x-oco-agent-signature").unwrap();
        assert!(signature::verify(&Key::new(key), &request.body, signature));
    }
}

#[test]
fn a_hello_has_the_fields_that_servers_read_and_its_timestamp_grows() {
    let server = ScriptedServer::start(vec![registration(), raw(signed(&hello(None, None), SERVER_KEY))]);
    let agent = Agent::new(&server.url);
    assert!(agent.check_in().status.success());
    assert!(agent.check_in().status.success());
    let requests: Vec<_> = server.requests().iter().map(|request| request.json()).collect();
    for request in &requests {
        assert_eq!(
            (&request["jsonrpc"], &request["method"]),
            (&json!("2.0"), &json!("oco.agent.hello"))
        );
        let params = &request["params"];
        assert!(params["uid"].as_str().is_some_and(|uid| !uid.is_empty()));
        assert!(
            params["hostname"]
                .as_str()
                .is_some_and(|name| !name.is_empty() && name.len() <= 200)
        );
        let version: Vec<u32> = params["data"]["agent_version"]
            .as_str()
            .unwrap()
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect();
        assert!(
            version >= vec![1, 1, 7],
            "servers speak the signed generation from 1.1.7 on"
        );
        assert!(params["data"]["networks"].is_array() && params["data"]["uptime"].as_f64().unwrap() > 0.0);
        assert_eq!(params["data"]["force_update"], json!(false));
        let decimals = params["timestamp"].to_string();
        assert!(
            decimals
                .split('.')
                .nth(1)
                .is_none_or(|decimals| decimals.len() <= 4),
            "{decimals}"
        );
    }
    assert!(requests[1]["params"]["timestamp"].as_f64() > requests[0]["params"]["timestamp"].as_f64());
}

#[test]
fn force_asks_for_an_inventory_and_gets_to_send_one() {
    let mut wanted = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    wanted["update"] = json!(1);
    let server = ScriptedServer::start(vec![
        raw(signed(&wanted, SERVER_KEY)),
        Box::new(|_| signed(&json!({"policies": {"machine": []}}), SERVER_KEY)),
    ]);
    let agent = Agent::new(&server.url);
    let output = agent.command().arg("--force").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let requests = server.requests();
    assert_eq!(requests[0].json()["params"]["data"]["force_update"], json!(true));
    let update = requests[1].json();
    assert_eq!(update["method"], json!("oco.agent.update"));
    assert!(update["params"]["data"]["ram"].as_u64().unwrap() > 0);
    assert!(signature::verify(
        &Key::new(AGENT_KEY),
        &requests[1].body,
        requests[1].header("x-oco-agent-signature").unwrap()
    ));
}

#[test]
fn a_download_is_signed_like_any_request_and_its_progress_is_reported() {
    let archive = stored_archive(&vec![7; 400 << 10]);
    let mut ordered = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    ordered["software-jobs"] = json!([{"id": 1, "container-id": 1, "package-id": 9, "download": true,
        "procedure": "true", "sequence-mode": 0, "restart": null, "shutdown": null, "exit": null}]);
    let answer: fn(&Value, &[u8], &Value) -> Vec<u8> =
        |request, archive, ordered| match request["method"].as_str() {
            Some("oco.agent.hello") => signed(ordered, SERVER_KEY),
            Some("oco.agent.download") => archive_response(archive),
            _ => signed(&json!({"job-succeeded": true}), SERVER_KEY),
        };
    let steps = repeated(200, move |request| answer(&request.json(), &archive, &ordered));
    let server = ScriptedServer::start(steps);
    let agent = Agent::new(&server.url);
    agent.set("report-frames = 2");
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let requests = server.requests();
    for request in &requests[1..] {
        let signature = request.header("x-oco-agent-signature").unwrap();
        assert!(signature::verify(&Key::new(AGENT_KEY), &request.body, signature));
        assert_eq!(
            request.header("content-type"),
            Some("application/json"),
            "{}",
            request.head
        );
    }
    let download = requests
        .iter()
        .find(|request| request.head.starts_with("GET "))
        .unwrap()
        .json();
    assert_eq!(
        (&download["params"]["package-id"], download["params"].get("data")),
        (&json!(9), None)
    );
    let steps: Vec<_> = requests
        .iter()
        .map(Captured::json)
        .filter(|r| r["method"] == "oco.agent.update_job_state")
        .collect();
    let progress = |step: &Value| step["params"]["data"]["download-progress"].as_f64();
    let states: Vec<_> = steps
        .iter()
        .map(|step| step["params"]["data"]["state"].as_i64().unwrap())
        .collect();
    assert!(states.is_sorted(), "{states:?}");
    assert_eq!(progress(&steps[0]), Some(0.0));
    assert!(
        steps
            .iter()
            .filter_map(progress)
            .any(|percent| percent > 0.0 && percent < 100.0),
        "{steps:?}"
    );
    let downloading = steps
        .iter()
        .rfind(|step| step["params"]["data"]["state"] == 1)
        .unwrap();
    assert_eq!(progress(downloading), Some(101.0), "unpacking comes last");
    assert_eq!(states.last(), Some(&3));
}

/// A ZIP archive of one file as long as its content.
fn stored_archive(content: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("file", stored).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn an_inventory_that_meets_a_deadlock_is_sent_again() {
    let mut wanted = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    wanted["update"] = json!(1);
    let server = ScriptedServer::start(vec![
        raw(signed(&wanted, SERVER_KEY)),
        raw(response(
            "500 Internal Server Error",
            "Content-Type: text/html; charset=UTF-8\r\n",
            "",
        )),
        Box::new(|_| signed(&json!({"policies": []}), SERVER_KEY)),
    ]);
    let agent = Agent::new(&server.url);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(server.requests().len(), 3);
}
