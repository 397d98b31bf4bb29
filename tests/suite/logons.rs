//! The daemon on a recorded Windows machine, which tells of logons.

use crate::support::mock::MockServer;
use crate::support::{REGISTRATION_KEY, wait_for};
use oco_agent::Agent;
use oco_agent::config::Paths;
use oco_agent::daemon::{self, Ending};
use oco_agent::host::recorded::RecordedHost;
use oco_agent::host::{Host, Visibility};
use oco_agent::observer::Unobserved;
use oco_agent::server_client::{HttpClient, HttpOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../agent/fixtures/windows/windows-11-pro"
);

/// How often the server has accepted that.
fn accepted(server: &MockServer, method: &str) -> u64 {
    server.get("stats")["requests"][method]["200"]
        .as_u64()
        .unwrap_or(0)
}

#[test]
fn a_logon_brings_a_check_in_with_an_inventory_at_once() {
    let server = MockServer::start();
    let host = Arc::new(RecordedHost::load(Path::new(MACHINE)).unwrap());
    let paths = Paths::installed(host.os(), Path::new("C:/Program Files/OCO Agent"));
    // By itself the next check-in would come in an hour.
    let config = format!(
        "[agent]\nagent-key = {REGISTRATION_KEY}\nquery-interval = 3600\n\n[server]\napi-url = {}\nserver-key =\n",
        server.agent_url
    );
    host.write_file(&paths.config, config.as_bytes(), Visibility::Private)
        .unwrap();
    let http = |_: &_| {
        HttpClient::new(&HttpOptions {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            tls: None,
            local_address: None,
            keep_alive: false,
            proxies: false,
        })
    };
    let agent = Agent::load(host.clone(), &paths, http, Arc::new(Unobserved)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ending = Ending::default();
    let daemon = runtime.spawn(daemon::run(Arc::new(agent), host.clone(), false, ending.clone()));

    wait_for("the registration and the first inventory", || {
        (accepted(&server, "oco.agent.update") == 1).then_some(())
    });
    assert_eq!(accepted(&server, "oco.agent.hello"), 1);
    assert!(host.log_on(), "nobody wants to know of logons");
    wait_for("the inventory after the logon", || {
        (accepted(&server, "oco.agent.update") == 2).then_some(())
    });
    assert_eq!(accepted(&server, "oco.agent.hello"), 2);
    ending.stop.cancel();
    runtime.block_on(daemon).unwrap();
}
