//! The mock server over TLS, with the authority that it makes itself.

use crate::support::mock::MockServer;
use crate::support::{Agent, REGISTRATION_KEY, stderr};

fn agent(server: &MockServer, ca: &str) -> Agent {
    assert!(server.agent_url.starts_with("https://"), "{}", server.agent_url);
    Agent::with_config(&format!(
        "[agent]\nagent-key = {REGISTRATION_KEY}\n\n[server]\napi-url = {}\n{ca}\n",
        server.agent_url
    ))
}

#[test]
fn an_agent_that_trusts_the_authority_checks_in_and_another_does_not() {
    let server = MockServer::start_with(&["--tls"]);
    let stranger = agent(&server, "");
    let output = stranger.check_in();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let trusting = agent(
        &server,
        &format!("ca-file = {}", server.ca_certificate().display()),
    );
    let output = trusting.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
}
