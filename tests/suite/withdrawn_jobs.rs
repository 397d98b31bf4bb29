//! Jobs that the server withdraws while they wait for the one before them.

#![cfg(unix)] // the procedures are shell scripts

use crate::support::scripted::{Captured, SERVER_KEY, ScriptedServer, hello, signed};
use crate::support::{Agent, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What the server orders: the jobs that it was told to, in this order, but those that have ended.
#[derive(Default)]
struct Orders {
    jobs: Vec<Value>,
    ended: BTreeSet<i64>,
}

impl Orders {
    fn answer(&mut self, request: &Captured) -> Vec<u8> {
        if request.method() == "oco.agent.hello" {
            let mut params = hello(None, None);
            let open = self.jobs.iter();
            let open = open.filter(|job| !self.ended.contains(&job["id"].as_i64().unwrap()));
            params["software-jobs"] = open.cloned().collect();
            return signed(&params, SERVER_KEY);
        }
        if request.data()["state"] == 3 {
            self.ended.insert(request.data()["job-id"].as_i64().unwrap());
        }
        signed(&json!({"job-succeeded": true}), SERVER_KEY)
    }
}

#[test]
fn a_job_that_waits_is_not_started_once_it_is_withdrawn_and_the_latest_order_holds() {
    let orders = Arc::new(Mutex::new(Orders::default()));
    let answering = orders.clone();
    let server = ScriptedServer::answering(move |request| answering.lock().unwrap().answer(request));
    let agent = Agent::registered(&server.url, "query-interval = 1");
    let (witness, gate) = (agent.folder().join("witness"), agent.folder().join("gate"));
    let job = |id: i64, more: &str| json!({"id": id, "procedure": format!("echo {id} >> {}; {more}", witness.display())});
    let first = job(
        1,
        &format!("while [ ! -e {} ]; do sleep 0.1; done", gate.display()),
    );
    orders.lock().unwrap().jobs = vec![first.clone(), job(2, ":"), job(3, ":")];
    let runs = || std::fs::read_to_string(&witness).unwrap_or_default();
    let daemon = agent.daemon();
    wait_for("the first job", || (runs() == "1\n").then_some(()));

    orders.lock().unwrap().jobs = vec![first, job(4, ":"), job(3, ":")];
    wait_for("the agent to notice", || {
        let noticed = |line: &str| line.contains("no longer orders it") && line.contains("job.id=2");
        agent.log().lines().any(noticed).then_some(())
    });
    std::fs::write(&gate, "").unwrap();
    wait_for("the other jobs", || {
        (orders.lock().unwrap().ended.len() == 3).then_some(())
    });
    assert_eq!(runs(), "1\n4\n3\n");
    assert_eq!(daemon.terminate(), Some(0));
}
