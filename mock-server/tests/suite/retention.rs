//! What is old is forgotten in passes, by the server's clock; what is new or needed stays.

use crate::support::{START, TestAgent, TestServer};
use oco_mock_server::Retention;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: u64 = 24 * 3600;

async fn start(change: impl FnOnce(&mut Retention)) -> TestServer {
    let mut retention = Retention {
        interval: Duration::from_millis(20),
        ..Retention::default()
    };
    change(&mut retention);
    TestServer::start_with(|config| config.retention = retention).await
}

/// Waits until what `path` shows is as wanted.
async fn wait_for(server: &TestServer, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let shown = server.get(path).await;
            if wanted(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
}

fn count(shown: &Value, list: &str) -> usize {
    shown[list].as_array().unwrap().len()
}

async fn id_of(server: &TestServer) -> i64 {
    server.get("/computers").await["computers"][0]["id"]
        .as_i64()
        .unwrap()
}

/// A date and time some seconds from the start of the tests' clock.
fn at(seconds: i64) -> String {
    let start = i64::try_from(START).unwrap();
    let time = jiff::Timestamp::from_second(start + seconds).unwrap();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

async fn send_events(agent: &mut TestAgent, server: &TestServer, times: impl Iterator<Item = i64>) {
    let events: Vec<Value> = times
        .map(|time| json!({"log": "l", "provider": "p", "event_id": 1, "level": 2, "timestamp": at(time), "data": {}}))
        .collect();
    agent.ask(server, "events", json!({"events": events})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computer_keeps_its_latest_events() {
    let server = start(|retention| retention.events_per_computer = Some(3)).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    // More than one write removes.
    send_events(&mut agent, &server, 0..1203).await;
    let path = format!("/computers/{}/events", id_of(&server).await);
    let shown = wait_for(&server, &path, |shown| count(shown, "events") == 3).await;
    assert_eq!(shown["events"][0]["timestamp"], json!(at(1202)));
    assert_eq!(shown["events"][2]["timestamp"], json!(at(1200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_logins_go_when_they_are_old_by_the_servers_clock() {
    let server = start(|retention| {
        retention.events = Some(Duration::from_secs(DAY));
        retention.logins = Some(Duration::from_secs(DAY));
    })
    .await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    send_events(&mut agent, &server, [0, 10].into_iter()).await;
    let login = |time| json!({"username": "eva", "console": "tty", "timestamp": at(time)});
    let inventory = json!({"hostname": "pc", "logins": [login(0), login(10)]});
    agent.ask(&server, "update", inventory).await;
    let id = id_of(&server).await;
    let path = format!("/computers/{id}/events");
    assert_eq!(count(&server.get(&path).await, "events"), 2);
    server.clock.forward(DAY + 5);
    let shown = wait_for(&server, &path, |shown| count(shown, "events") == 1).await;
    assert_eq!(shown["events"][0]["timestamp"], json!(at(10)));
    let shown = wait_for(&server, &format!("/computers/{id}"), |shown| {
        count(&shown["inventory"], "logins") == 1
    })
    .await;
    assert_eq!(shown["inventory"]["logins"][0]["timestamp"], json!(at(10)));
    // The agent is still asked for nothing that it has sent.
    assert_eq!(agent.hello(&server).await["logins-since"], json!(at(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_go_once_all_their_jobs_have_ended_and_grown_old() {
    let server = start(|retention| retention.containers = Some(Duration::from_secs(DAY))).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let (done, open) = (server.package("done", "").await, server.package("open", "").await);
    server.deploy(&[done], json!({})).await;
    let job = agent.jobs(&server).await.remove(0);
    assert!(agent.report(&server, &job, 3, Some(0)).await);
    let kept = server.deploy(&[open], json!({})).await;
    server.clock.forward(DAY + 5);
    let shown = wait_for(&server, "/jobs", |shown| shown["total"] == 1).await;
    assert_eq!(shown["jobs"][0]["container_id"], kept);
    let id = id_of(&server).await;
    let installed = server
        .client("admin:admin", "oco.computer.get", json!({"id": id}))
        .await
        .unwrap();
    assert_eq!(
        installed["installed_packages"][0]["package_family_name"], "done",
        "{installed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_go_when_another_rule_keeps_fewer() {
    let server = start(|_| {}).await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let id = id_of(&server).await;
    let group = server.group("computers", "g", None, &[id]).await;
    let rule = json!({"username": "root", "alphabet": "abc", "length": 8});
    let mut of_group = rule.clone();
    of_group["computer_group"] = group.into();
    server.create("/password-rules", of_group).await;
    let mut of_all = rule;
    of_all["history"] = 2.into();
    server.create("/password-rules", of_all).await;
    for number in 0..6 {
        server.clock.forward(1);
        let passwords = json!([{"username": "root", "password": format!("password-{number}")}]);
        agent
            .ask(&server, "passwords", json!({"passwords": passwords}))
            .await;
    }
    let path = format!("/computers/{id}/passwords");
    assert_eq!(count(&server.get(&path).await, "passwords"), 6);
    server
        .change("DELETE", &format!("/groups/computers/{group}/members/{id}"), None)
        .await;
    let shown = wait_for(&server, &path, |shown| count(shown, "passwords") == 3)
        .await
        .to_string();
    for kept in ["password-3", "password-4", "password-5"] {
        assert!(shown.contains(kept), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_surplus_of_events_goes_by_default() {
    let retention = Retention::default();
    assert_eq!(retention.events_per_computer, Some(10_000));
    assert_eq!(
        (retention.events, retention.logins, retention.containers),
        (None, None, None)
    );
}
