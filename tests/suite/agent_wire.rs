//! What an agent's requests look like, byte for byte.

use crate::support::scripted::{
    AGENT_KEY, SERVER_KEY, ScriptedServer, hello, raw, registration, response, signed,
};
use crate::support::{Agent, REGISTRATION_KEY, stderr};
use oco_protocol::{Key, signature};
use serde_json::json;

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
