//! Trust on first use, pre-registration and what a hello answers.

use crate::support::{TestAgent, TestServer, hello_data};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor};

#[tokio::test]
async fn the_first_hello_brings_keys_and_later_ones_bring_none() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::new("PC-1");
    let first = agent.hello(&server).await;
    assert_eq!(agent.agent_key.len(), 30);
    assert_eq!(agent.server_key.len(), 30);
    assert_ne!(agent.agent_key, agent.server_key);
    assert_eq!(first["update"], 1);
    assert_eq!(first["logins-since"], "1970-01-01 00:00:00");
    let second = agent.hello(&server).await;
    assert!(second["agent-key"].is_null() && second["server-key"].is_null());
    assert_eq!(second["software-jobs"], json!([]));
    assert_eq!(
        (&second["events"], &second["update-passwords"]),
        (&json!([]), &json!([]))
    );
    server.stop().await;
}

#[tokio::test]
async fn host_names_compare_case_insensitively() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "Straße-ÄPC").await;
    agent.hostname = "straße-äpc".into();
    agent.hello(&server).await;
    assert_eq!(server.get("/computers").await["total"], 1);
}

#[tokio::test]
async fn a_pre_registered_computer_registers_while_self_registration_is_off() {
    let server = TestServer::start_with(|config| config.self_registration = Some(false)).await;
    let id = server
        .create("/computers", json!({"hostname": "known", "notes": "n"}))
        .await["id"]
        .clone();
    assert_eq!(
        server.get(&format!("/computers/{id}")).await["computer"]["state"],
        "pre-registered"
    );
    TestAgent::registered(&server, "KNOWN").await;
    assert_eq!(
        server.get(&format!("/computers/{id}")).await["computer"]["state"],
        "registered"
    );
    let (status, _) = server
        .rest("POST", "/computers", Some(json!({"hostname": "Known"})))
        .await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn answers_grow_in_time_even_where_the_clock_stands_still() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let mut last = 0.0;
    for _ in 0..5 {
        let response = agent.call(&server, "hello", hello_data()).await;
        let timestamp = response.json()["result"]["timestamp"].as_f64().unwrap();
        assert!(timestamp > last);
        last = timestamp;
    }
}

#[tokio::test]
async fn an_inventory_is_asked_for_after_the_interval_or_when_forced() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.ask(&server, "update", json!({"os": "Debian"})).await;
    assert_eq!(agent.hello(&server).await["update"], 0);
    let mut forced = hello_data();
    forced["force_update"] = true.into();
    assert_eq!(agent.ask(&server, "hello", forced).await["update"], 1);
    server.clock.forward(2 * 3600);
    assert_eq!(agent.hello(&server).await["update"], 1);
    agent.ask(&server, "update", json!({"os": "Debian"})).await;
    server.clock.forward(60);
    assert_eq!(agent.hello(&server).await["update"], 0);
    let (status, settings) = server
        .rest("PUT", "/settings", Some(json!({"update_interval": 60})))
        .await;
    assert_eq!((status, &settings["update_interval"]), (200, &json!(60)));
    assert_eq!(agent.hello(&server).await["update"], 1);
}

#[tokio::test]
async fn a_changed_uid_and_version_are_kept() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.uid = "other".into();
    let mut data = hello_data();
    data["agent_version"] = "9.9".into();
    agent.ask(&server, "hello", data).await;
    let computer = server.get("/computers/1").await["computer"].clone();
    assert_eq!(
        (&computer["uid"], &computer["agent_version"]),
        (&json!("other"), &json!("9.9"))
    );
    assert_eq!(computer["uptime"], 5.5);
    assert!(computer["seen_at"].is_number());
}

#[tokio::test]
async fn a_registration_that_fails_leaves_no_keys_behind() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("oco.db").display());
    let server = TestServer::start_with(|config| config.database.clone_from(&url)).await;
    let deployable = server.package("p", "0").await;
    server.create("/computers", json!({"hostname": "pc1"})).await;
    server
        .create(
            "/deployments",
            json!({"name": "d", "packages": [deployable], "computers": [1]}),
        )
        .await;
    server
        .create("/event-rules", json!({"log": "l", "query": "*"}))
        .await;
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for (index, table) in ["job_containers", "events", "inventory_sections"]
        .into_iter()
        .enumerate()
    {
        let rename = |from: &str, to: &str| AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
        let mut agent = TestAgent::new("pc1");
        agent.skip(10 * index as u64);
        database.execute(rename(table, "away")).await.unwrap();
        let response = agent.call(&server, "hello", hello_data()).await;
        database.execute(rename("away", table)).await.unwrap();
        assert_eq!(response.status, 500, "{table}");
        assert_eq!(
            server.get("/computers/1").await["inventory"]["networks"],
            Value::Null
        );
    }
    let mut agent = TestAgent::new("pc1");
    agent.skip(100);
    assert_eq!(
        agent.hello(&server).await["software-jobs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        server.get("/computers/1").await["inventory"]["networks"],
        json!([])
    );
    agent.hello(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn only_the_latest_password_of_an_account_decides() {
    let server = TestServer::start().await;
    server
        .create(
            "/password-rules",
            json!({"username": "admin", "alphabet": "ab", "length": 8, "valid_for": 60}),
        )
        .await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    agent.ask(&server, "update", json!({"os": "macOS"})).await;
    for password in ["first", "second", "third"] {
        server.clock.forward(1);
        let data = json!({"passwords": [{"username": "admin", "password": password}]});
        agent.ask(&server, "passwords", data).await;
    }
    assert_eq!(agent.hello(&server).await["update-passwords"], json!([]));
    server.clock.forward(60);
    let rules = agent.hello(&server).await["update-passwords"].clone();
    assert_eq!(rules.as_array().unwrap().len(), 1);
    assert_eq!(rules[0]["old_password"], "third");
}

/// What `/computers/registered` says about computers: how many are registered, and why the others are not.
async fn register_all(server: &TestServer, computers: Value) -> (Value, Value) {
    let body = json!({"computers": computers, "inventories_over": 3600});
    let (status, answer) = server.rest("POST", "/computers/registered", Some(body)).await;
    assert_eq!(status, 200, "{answer}");
    (answer["registered"].clone(), answer["refused"].clone())
}

/// An agent that has the keys of a computer which it has not registered itself.
fn with_keys(hostname: &str) -> TestAgent {
    let mut agent = TestAgent::new(hostname);
    agent.agent_key = format!("agent-key-of-{hostname}");
    agent.server_key = format!("server-key-of-{hostname}");
    agent
}

fn computer(agent: &TestAgent) -> Value {
    json!({"hostname": agent.hostname, "uid": agent.uid, "agent_key": agent.agent_key, "server_key": agent.server_key,
        "agent_version": "1.2.0"})
}

#[tokio::test]
async fn a_fleet_is_registered_at_once_and_its_inventories_come_due_one_after_the_other() {
    let server = TestServer::start_with(|config| config.self_registration = Some(false)).await;
    server.create("/computers", json!({"hostname": "Known"})).await;
    let mut agents = ["known", "b", "c", "d"].map(with_keys);
    let computers: Vec<_> = agents.iter().map(computer).collect();
    for _ in 0..2 {
        let answer = register_all(&server, json!(computers)).await;
        assert_eq!(answer, (4.into(), json!([])), "the same again changes nothing");
    }
    assert_eq!(server.get("/computers").await["total"], 4);
    let computer = &server.get("/computers/2").await["computer"];
    assert_eq!(
        (&computer["state"], &computer["seen_at"]),
        (&"inventoried".into(), &Value::Null)
    );
    // The interval is 7200 s; the oldest inventory is 3600 s old, the latest one 900 s.
    for (seconds, due) in [(0, 0), (3600, 1), (900, 2), (1800, 4)] {
        server.clock.forward(seconds);
        let mut wanted = 0;
        for agent in &mut agents {
            let hello = agent.hello(&server).await;
            assert!(hello["agent-key"].is_null() && hello["server-key"].is_null());
            wanted += u64::from(hello["update"] == 1);
        }
        assert_eq!(wanted, due, "after {seconds} s more");
    }
}

#[tokio::test]
async fn of_a_fleet_those_are_refused_that_are_known_with_other_keys_or_share_a_uid() {
    let server = TestServer::start().await;
    let mut before = TestAgent::registered(&server, "before").await;
    let mut copy = with_keys("copy");
    copy.uid = before.uid.to_uppercase();
    let mut good = with_keys("good");
    let mut twice = with_keys("GOOD");
    twice.agent_key = "another".into();
    let fleet = [&with_keys("before"), &copy, &good, &twice].map(computer);
    let (registered, refused) = register_all(&server, json!(fleet)).await;
    assert_eq!(registered, 1);
    assert_eq!(
        refused,
        json!([
            {"hostname": "before", "reason": "it is registered with other keys"},
            {"hostname": "copy", "reason": "its uid belongs to another computer"},
            {"hostname": "GOOD", "reason": "it is registered with other keys"},
        ])
    );
    good.hello(&server).await;
    before.hello(&server).await;
    assert_eq!(server.get("/computers").await["total"], 2);
}

#[tokio::test]
async fn a_fleet_survives_a_restart_of_the_server_with_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("oco.db").display());
    let start = || TestServer::start_with(|config| config.database.clone_from(&database));
    let server = start().await;
    let mut agent = with_keys("pc");
    register_all(&server, json!([computer(&agent)])).await;
    server.stop().await;
    let server = start().await;
    assert_eq!(agent.hello(&server).await["update"], 0);
}
