//! Which exchanges a rule's fault befalls: by who asks and what, by a share drawn from a seed, by number and by time.

use crate::faults::{committed, hello, rule};
use crate::support::{START, TestAgent, TestServer};
use serde_json::{Value, json};

fn busy(select: Value) -> Value {
    json!({"select": select, "fault": {"kind": "status", "code": 503}})
}

#[tokio::test]
async fn selectors_choose_by_method_name_system_number_and_time() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "PC-1").await;
    let mut other = TestAgent::registered(&server, "web-1").await;
    agent
        .ask(
            &server,
            "update",
            json!({"hostname": "PC-1", "os": "Windows 11 Pro"}),
        )
        .await;
    for (select, hits, misses) in [
        (json!({"methods": ["hello"]}), vec!["PC-1", "web-1"], vec![]),
        (json!({"methods": ["update"]}), vec![], vec!["PC-1", "web-1"]),
        (json!({"hostname": "pc-*"}), vec!["PC-1"], vec!["web-1"]),
        (json!({"os": "windows"}), vec!["PC-1"], vec!["web-1"]),
        (json!({"os": "linux"}), vec![], vec!["PC-1", "web-1"]),
        (json!({"share": 0.0}), vec![], vec!["PC-1", "web-1"]),
        (json!({"share": 1.0}), vec!["PC-1", "web-1"], vec![]),
        (json!({"until": 1_700_000_000}), vec![], vec!["PC-1", "web-1"]),
        (json!({"from": 1_700_000_000}), vec!["PC-1", "web-1"], vec![]),
        (json!({"first": 1}), vec!["PC-1"], vec!["web-1"]),
        (json!({"skip": 1}), vec![], vec!["PC-1", "web-1"]),
    ] {
        let id = rule(&server, busy(select.clone())).await;
        for (agents, status) in [(hits, 503), (misses, 200)] {
            for name in agents {
                let agent = if name == "PC-1" { &mut agent } else { &mut other };
                assert_eq!(hello(&server, agent).await.status, status, "{select} {name}");
            }
        }
        server.rest("DELETE", &format!("/faults/{id}"), None).await;
    }
}

/// A server whose draws come from `seed`, with a rule that befalls `share` of all hellos.
async fn drawing(seed: u64, share: f64) -> TestServer {
    TestServer::start_with(|config| {
        config.fault_seed = seed;
        let select = json!({"methods": ["hello"], "share": share, "skip": 1});
        config.faults = vec![serde_json::from_value(busy(select)).unwrap()];
    })
    .await
}

/// Which of the next hellos of each agent are befallen. With `turns` the agents ask in turn, else one after the other.
async fn draws(server: &TestServer, agents: &mut [TestAgent], count: usize, turns: bool) -> Vec<Vec<bool>> {
    let mut befallen = vec![Vec::new(); agents.len()];
    for step in 0..count * agents.len() {
        let index = match turns {
            true => step % agents.len(),
            false => step / count,
        };
        let status = hello(server, &mut agents[index]).await.status;
        assert!([200, 503].contains(&status), "{status}");
        befallen[index].push(status == 503);
    }
    befallen
}

/// What a server with this seed draws for two computers. Their registrations are left alone.
async fn drawn(seed: u64, share: f64, count: usize, turns: bool) -> Vec<Vec<bool>> {
    let server = drawing(seed, share).await;
    let mut agents = [
        TestAgent::registered(&server, "pc-1").await,
        TestAgent::registered(&server, "pc-2").await,
    ];
    let befallen = draws(&server, &mut agents, count, turns).await;
    let hits = befallen.iter().flatten().filter(|hit| **hit).count();
    assert_eq!(
        committed(&server, 1).await,
        hits as u64,
        "all of them are counted"
    );
    assert_eq!(
        server.get("/faults/1").await["matched"],
        json!(2 * (count + 1)),
        "those that are left alone, too"
    );
    befallen
}

#[tokio::test]
async fn a_share_is_drawn_from_the_seed_for_each_computer_whoever_else_asks() {
    let befallen = drawn(1, 0.5, 40, true).await;
    assert_eq!(
        drawn(1, 0.5, 40, false).await,
        befallen,
        "the same seed, in another order"
    );
    assert_ne!(drawn(2, 0.5, 40, true).await, befallen, "another seed");
    assert_ne!(befallen[0], befallen[1], "another computer");
}

#[tokio::test]
async fn a_share_is_kept_roughly() {
    // Of 400 draws, each within five standard deviations.
    for (share, hits) in [(0.1, 10..=70), (0.5, 150..=250), (0.9, 330..=390)] {
        let befallen = drawn(7, share, 200, true).await;
        let found = befallen.iter().flatten().filter(|hit| **hit).count();
        assert!(hits.contains(&found), "{share}: {found}");
    }
}

#[tokio::test]
async fn a_time_window_is_closed_at_its_beginning_and_open_at_its_end() {
    let server = TestServer::start().await;
    let mut agent = TestAgent::registered(&server, "pc").await;
    let id = rule(
        &server,
        busy(json!({"from": START + 10, "until": START as f64 + 20.5})),
    )
    .await;
    for (after_start, status) in [
        (0, 200),
        (9_999_999, 200),
        (10_000_000, 503),
        (15_000_000, 503),
        (20_499_999, 503),
        (20_500_000, 200),
        (3600 * 1_000_000, 200),
        // Its clock may be set back.
        (12_000_000, 503),
    ] {
        server.clock.set_micros(START * 1_000_000 + after_start);
        assert_eq!(hello(&server, &mut agent).await.status, status, "{after_start}");
    }
    assert_eq!(committed(&server, id).await, 4);
}
