//! Clocks that disagree: the agent says so, and goes on where it can.

use crate::support::scripted::{
    AGENT_KEY, SERVER_KEY, ScriptedServer, hello, raw, registration, response, signed, signed_at,
};
use crate::support::{Agent, stderr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 3600;

fn now() -> u64 {
    #[allow(clippy::disallowed_methods)] // the real agent's clock is the real one
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A `Date` header that is `offset` seconds from now.
fn date_header(offset: i64) -> String {
    let seconds = now().checked_add_signed(offset).unwrap();
    let command = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output();
    format!(
        "Date: {}\r\n",
        String::from_utf8(command.unwrap().stdout).unwrap().trim()
    )
}

fn too_old(headers: &str) -> Vec<u8> {
    response(
        "401 Unauthorized",
        &format!("Content-Type: text/html\r\n{headers}"),
        "Agent timestamp too old",
    )
}

/// The agent's file with the last timestamp it has sent.
fn sent(agent: &Agent) -> f64 {
    let text = std::fs::read_to_string(agent.folder().join("oco-agent.sent-timestamp")).unwrap();
    text.parse().unwrap()
}

#[cfg(target_os = "linux")] // `date -d`
#[test]
fn a_timestamp_that_is_refused_as_too_old_tells_both_clocks_and_their_difference() {
    for (offset, words) in [
        (3 * 3600, "this computer's clock is 3 h behind the server's"),
        (-300, "this computer's clock is 5 min ahead of the server's"),
    ] {
        let server = ScriptedServer::start(vec![raw(too_old(&date_header(offset)))]);
        let agent = Agent::new(&server.url);
        let output = agent.check_in();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{log}");
        let stamp = server.requests()[0].json()["params"]["timestamp"].to_string();
        for part in [
            words,
            "this computer's clock says 20",
            &format!("was stamped {stamp}, 20"),
        ] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert_eq!(
            server.requests().len(),
            1,
            "a date that nothing vouches for is not signed"
        );
    }
}

#[test]
fn a_refusal_without_a_date_says_that_the_servers_time_is_not_known() {
    let server = ScriptedServer::start(vec![raw(too_old(""))]);
    let log = stderr(&Agent::new(&server.url).check_in());
    assert!(
        log.contains("the server does not say what time it is there"),
        "{log}"
    );
}

#[cfg(target_os = "linux")] // `date -d`
#[test]
fn an_answer_that_is_not_newer_tells_both_clocks() {
    let old = Duration::from_secs(now() - DAY);
    let again = signed_at(&hello(None, None), SERVER_KEY, old);
    let again = String::from_utf8(again).unwrap();
    let again = again.replacen("\r\n", &format!("\r\n{}", date_header(-7200)), 1);
    let server = ScriptedServer::start(vec![registration(), raw(again.into_bytes())]);
    let agent = Agent::new(&server.url);
    assert!(agent.check_in().status.success());
    let log = stderr(&agent.check_in());
    for part in [
        "is not newer than the last accepted one",
        "this computer's clock says 20",
        "this computer's clock is 2 h ahead of the server's",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_with_every_process() {
    let ahead = Duration::from_secs(now() + 5 * 3600);
    let keys = hello(Some(SERVER_KEY), Some(AGENT_KEY));
    let server = ScriptedServer::start(vec![raw(signed_at(&keys, SERVER_KEY, ahead))]);
    let output = Agent::new(&server.url).check_in();
    assert!(output.status.success());
    let log = stderr(&output);
    assert!(
        log.contains("this computer's clock is 5 h behind the server's"),
        "{log}"
    );
}

#[test]
fn a_timestamp_of_the_future_in_the_agents_memory_is_kept_up_by_small_steps() {
    let server = ScriptedServer::start(vec![registration(), raw(signed(&hello(None, None), SERVER_KEY))]);
    let agent = Agent::new(&server.url);
    let path = agent.folder().join("oco-agent.sent-timestamp");
    std::fs::write(path, "4070908800.5").unwrap();
    for expected in ["4070908800.5001", "4070908800.5002"] {
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        let request = server.requests().pop().unwrap().json();
        assert_eq!(request["params"]["timestamp"].to_string(), expected);
    }
}

#[cfg(target_os = "linux")] // `date -d`
#[test]
fn a_clock_that_was_doubted_wrongly_is_believed_once_the_server_agrees_with_it() {
    // The last answer is a week old, and what was sent since then is lost: the server has accepted later timestamps.
    let week_ago = now() - 7 * DAY;
    let server = ScriptedServer::start(vec![
        raw(too_old(&date_header(0))),
        raw(signed(&hello(None, None), SERVER_KEY)),
    ]);
    let agent = Agent::with_config(&format!(
        "[agent]\nagent-key = {AGENT_KEY}\n[server]\napi-url = {}\nserver-key = {SERVER_KEY}\n",
        server.url
    ));
    std::fs::write(agent.folder().join("oco-agent.timestamp"), week_ago.to_string()).unwrap();
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let stamps: Vec<_> = server
        .requests()
        .iter()
        .map(|r| r.json()["params"]["timestamp"].as_f64().unwrap())
        .collect();
    #[allow(clippy::cast_precision_loss)]
    let (week_ago, now) = (week_ago as f64, now() as f64);
    assert!(stamps[0] > week_ago && stamps[0] < week_ago + 1.0, "{stamps:?}");
    assert!((stamps[1] - now).abs() < 120.0, "{stamps:?}");
    assert!((sent(&agent) - stamps[1]).abs() < f64::EPSILON);
}
