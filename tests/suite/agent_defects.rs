//! Defects of the agent itself, played by an observer that panics: the daemon goes on, and a job that was cut off by one
//! is reported and not run again.

#![cfg(unix)] // the procedure is a shell script

use crate::support::scripted::{Captured, SERVER_KEY, ScriptedServer, hello, signed};
use crate::support::{Agent as Installed, wait_for};
use oco_agent::Agent;
use oco_agent::config::Paths;
use oco_agent::daemon::{self, Ending};
use oco_agent::host::system::SystemHost;
use oco_agent::observer::{Exchange, JobEvent, Observer};
use oco_agent::server_client::{HttpClient, HttpOptions};
use oco_protocol::job::JobState;
use oco_protocol::rpc::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Panics at the first hello, and when the first job's procedure is about to be run.
#[derive(Default)]
struct Defective {
    hellos: AtomicUsize,
    jobs: AtomicUsize,
}

impl Observer for Defective {
    fn exchange(&self, exchange: &Exchange) {
        let first = exchange.method == Method::Hello && self.hellos.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first, "a defect in a check-in");
    }

    fn job(&self, event: &JobEvent) {
        let first = event.state == JobState::Executing && self.jobs.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first, "a defect in a job");
    }
}

#[test]
fn the_daemon_outlives_panics_in_a_check_in_and_in_a_job() {
    let server = ScriptedServer::answering(|request| {
        let mut params = hello(None, None);
        params["software-jobs"] = json!([{"id": 4, "procedure": "echo done"}]);
        match request.method().as_str() {
            "oco.agent.hello" => signed(&params, SERVER_KEY),
            _ => signed(&json!({"job-succeeded": true}), SERVER_KEY),
        }
    });
    let installed = Installed::registered(&server.url, "query-interval = 1");
    let paths = Paths::beside(&installed.config_path());
    let host = Arc::new(SystemHost::new(&paths.staging));
    let http = |_: &_| {
        HttpClient::new(&HttpOptions {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(20),
            tls: None,
            local_address: None,
            keep_alive: false,
            proxies: false,
        })
    };
    let agent = Agent::load(host.clone(), &paths, http, Arc::new(Defective::default())).unwrap();
    let ending = Ending::default();
    let ended = ending.clone();
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(daemon::run(Arc::new(agent), host, false, ended));
    });
    let count = |is: fn(&Captured) -> bool| server.requests().iter().filter(|request| is(request)).count();
    wait_for("a job after the defects", || {
        (count(|request| request.method().ends_with("job_state") && request.data()["state"] == 3) > 0)
            .then_some(())
    });
    ending.stop.cancel();
    running.join().unwrap();
    assert!(count(|request| request.method() == "oco.agent.hello") >= 3);
}
