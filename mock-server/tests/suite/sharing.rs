//! Two servers on one database serve one fleet. They need a database of a server, so they are part of `ci/database-tests`.

use crate::databases;
use crate::support::{START, TestAgent, TestServer, hello_data};
use oco_protocol::Timestamp;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

/// Two servers on a new database; none where the tests run on SQLite, which belongs to one process.
async fn pair() -> Option<(TestServer, TestServer)> {
    let Some(server) = databases::server() else {
        eprintln!("SKIPPED: OCO_TEST_DATABASE names no server; ci/database-tests does");
        return None;
    };
    let database = databases::create(&server).await;
    let start = |database: String| TestServer::start_with(move |config| config.database = database);
    Some((start(database.clone()).await, start(database).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computer_that_registered_at_one_is_known_to_the_other() {
    let Some((one, other)) = pair().await else { return };
    let mut agent = TestAgent::registered(&one, "pc").await;
    agent.hello(&other).await;
    agent.hello(&one).await;
    let listed = other.get("/computers").await;
    assert_eq!(listed["total"], 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_that_both_get_one_is_served() {
    let Some((one, other)) = pair().await else { return };
    let mut agent = TestAgent::registered(&one, "pc").await;
    for _ in 0..25 {
        let body = agent.body("hello", hello_data()).to_string();
        let (first, second) = tokio::join!(
            one.agent_request(body.as_bytes(), &agent.agent_key),
            other.agent_request(body.as_bytes(), &agent.agent_key)
        );
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401], "{} {}", first.text(), second.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_that_one_gets_many_times_one_is_served() {
    let Some((one, _other)) = pair().await else { return };
    let mut agent = TestAgent::registered(&one, "pc").await;
    let body = agent.body("hello", hello_data()).to_string();
    let requests = (0..20).map(|_| one.agent_request(body.as_bytes(), &agent.agent_key));
    let answers = futures::future::join_all(requests).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_registrations_of_a_computer_one_gets_keys() {
    let Some((one, other)) = pair().await else { return };
    for number in 0..10 {
        let hostname = format!("pc{number}");
        if number % 2 == 0 {
            one.create("/computers", json!({"hostname": hostname})).await;
        }
        let (mut first, mut second) = (TestAgent::new(&hostname), TestAgent::new(&hostname));
        let (first, second) = tokio::join!(
            first.call(&one, "hello", hello_data()),
            second.call(&other, "hello", hello_data())
        );
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401], "{} {}", first.text(), second.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_made_at_one_is_given_out_and_reported_at_the_other() {
    let Some((one, other)) = pair().await else { return };
    let mut agent = TestAgent::registered(&other, "pc").await;
    let package = one.package("p", "").await;
    one.deploy(&[package], json!({})).await;
    let jobs = agent.jobs(&other).await;
    assert_eq!(jobs.len(), 1);
    assert!(agent.report(&one, &jobs[0], 3, Some(0)).await);
    assert_eq!(agent.jobs(&other).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_changes_at_one_holds_at_the_other() {
    let Some((one, other)) = pair().await else { return };
    let mut agent = TestAgent::registered(&one, "pc").await;
    assert_eq!(agent.hello(&other).await["events"], json!([]));
    one.create("/event-rules", json!({"log": "System", "query": "q"}))
        .await;
    let events = agent.hello(&other).await["events"].clone();
    assert_eq!(events[0]["log"], "System", "{events}");
    one.change(
        "PUT",
        "/settings",
        Some(json!({"update_interval": 77, "self_registration": false})),
    )
    .await;
    assert_eq!(other.get("/settings").await["update_interval"], 77);
    let refused = TestAgent::new("stranger")
        .call(&other, "hello", hello_data())
        .await;
    assert_eq!(refused.status, 401, "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_asked_for_at_one_is_taken_at_the_other() {
    let Some((one, other)) = pair().await else { return };
    let mut agent = TestAgent::registered(&one, "pc").await;
    agent
        .ask(
            &one,
            "update",
            json!({"hostname": "pc", "networks": [], "software": []}),
        )
        .await;
    one.clock.forward(60);
    other.clock.forward(60);
    assert_eq!(agent.hello(&other).await["update"], 0);
    let id = one.get("/computers").await["computers"][0]["id"]
        .as_i64()
        .unwrap();
    one.change(
        "PUT",
        &format!("/computers/{id}"),
        Some(json!({"force_update": true})),
    )
    .await;
    assert_eq!(agent.hello(&other).await["update"], 1);
    agent
        .ask(
            &other,
            "update",
            json!({"hostname": "pc", "networks": [], "software": []}),
        )
        .await;
    assert_eq!(agent.hello(&one).await["update"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_newer_than_the_one_before_whichever_clock_is_behind() {
    let Some((one, other)) = pair().await else { return };
    // A minute behind.
    other.clock.set_micros((START - 60) * 1_000_000);
    let mut agent = TestAgent::registered(&one, "pc").await;
    let mut last = Timestamp::ZERO;
    for (number, server) in [&one, &other, &one, &other, &other, &one].into_iter().enumerate() {
        for (method, data) in [
            ("hello", hello_data()),
            ("events", json!({"events": [], "number": number})),
        ] {
            let response = agent.call(server, method, data).await;
            assert_eq!(response.status, 200, "{}", response.text());
            let answered = serde_json::from_value(response.json()["result"]["timestamp"].clone()).unwrap();
            assert!(answered > last, "{method} {number}: {answered:?} after {last:?}");
            last = answered;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_limited_to_a_group_sees_its_computers_at_either() {
    let Some((one, other)) = pair().await else { return };
    TestAgent::registered(&one, "inside").await;
    TestAgent::registered(&other, "outside").await;
    let computers = one.get("/computers?hostname=inside").await;
    let id = computers["computers"][0]["id"].as_i64().unwrap();
    let group = one.group("computers", "g", None, &[id]).await;
    let user =
        json!({"name": "eva", "password": "long enough", "role": "viewer", "computer_groups": [group]});
    one.create("/users", user).await;
    for server in [&one, &other] {
        let listed = server
            .client("eva:long enough", "oco.computer.list", json!({}))
            .await
            .unwrap();
        let text = listed.to_string();
        assert!(text.contains("inside") && !text.contains("outside"), "{text}");
    }
}

/// Ends every connection to a database but the one that it does so on, and waits until they have ended.
async fn cut_connections(database: &str) {
    let mut connection = AnyConnection::connect(database).await.unwrap();
    let (others, before, after) = if database.starts_with("postgres") {
        (
            "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "SELECT pg_terminate_backend(",
            ")",
        )
    } else {
        (
            "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
             WHERE db = DATABASE() AND id <> CONNECTION_ID()",
            "KILL ",
            "",
        )
    };
    let cut: Vec<i64> = sqlx::query_scalar(others)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    for id in &cut {
        // It may have gone meanwhile.
        drop(
            connection
                .execute(AssertSqlSafe(format!("{before}{id}{after}")))
                .await,
        );
    }
    loop {
        let left: Vec<i64> = sqlx::query_scalar(others)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        if !left.iter().any(|id| cut.contains(id)) {
            break;
        }
    }
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_cost_requests_but_nothing_that_was_acknowledged() {
    let Some(server) = databases::server() else {
        eprintln!("SKIPPED: OCO_TEST_DATABASE names no server; ci/database-tests does");
        return;
    };
    let database = databases::create(&server).await;
    let config = database.clone();
    let server = TestServer::start_with(move |changed| changed.database = config).await;
    let mut agents = Vec::new();
    for number in 0..8 {
        agents.push(TestAgent::registered(&server, &format!("pc{number}")).await);
    }
    let mut served = 0;
    for _ in 0..20 {
        let bodies: Vec<String> = agents
            .iter_mut()
            .map(|agent| agent.body("hello", hello_data()).to_string())
            .collect();
        let requests = bodies
            .iter()
            .zip(&agents)
            .map(|(body, agent)| server.agent_request(body.as_bytes(), &agent.agent_key));
        let (answers, ()) = tokio::join!(futures::future::join_all(requests), cut_connections(&database));
        for ((answer, body), agent) in answers.iter().zip(&bodies).zip(&agents) {
            assert!([200, 500].contains(&answer.status), "{}", answer.text());
            if answer.status == 200 {
                served += 1;
                let again = server.agent_request(body.as_bytes(), &agent.agent_key).await;
                assert_ne!(again.status, 200, "what was acknowledged is forgotten");
            }
        }
    }
    assert!(served > 0);
    for agent in &mut agents {
        agent.hello(&server).await;
    }
}
