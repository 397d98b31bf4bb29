//! Servers over TLS: certificates of an authority of one's own are accepted, others are refused in words.

use crate::support::scripted::{SERVER_KEY, hello, signed};
use crate::support::tls::{Authority, TlsServer, Validity};
use crate::support::{Agent, stderr};
/// Starts a server with a certificate of this name that answers each hello; its port.
fn serve(authority: &Authority, name: &str, validity: Validity) -> u16 {
    TlsServer::start(authority, &[name], validity, |request| {
        assert_eq!(request.method(), "oco.agent.hello");
        signed(&hello(None, None), SERVER_KEY)
    })
    .port
}

/// An agent for the server at this host and port, that trusts what is in its folder's `ca.pem` beside the system's
/// certificates.
fn agent(host: &str, port: u16, ca: Option<&str>) -> Agent {
    let agent = Agent::registered(&format!("https://{host}:{port}/api-agent.php"), "");
    if let Some(pem) = ca {
        let file = agent.folder().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        let config = agent.config() + &format!("ca-file = {}\n", file.display());
        std::fs::write(agent.config_path(), config).unwrap();
    }
    agent
}

fn refused(agent: &Agent, reasons: &[&str]) {
    let output = agent.check_in();
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    for reason in reasons {
        assert!(log.contains(reason), "{log}");
    }
    assert!(!log.contains(SERVER_KEY));
}

#[test]
fn a_server_with_a_certificate_of_the_named_authority_is_believed() {
    let authority = Authority::new("authority of the tests");
    for host in ["localhost", "127.0.0.1"] {
        let port = serve(&authority, host, Validity::Long);
        let output = agent(host, port, Some(authority.pem())).check_in();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let port = serve(&other, "localhost", Validity::Long);
    for ca in [None, Some(known.pem())] {
        let agent = agent("localhost", port, ca);
        refused(
            &agent,
            &[
                "the server cannot be reached",
                "set [server] ca-file",
                "certificate",
                "UnknownIssuer",
            ],
        );
    }
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new("authority of the tests");
    let port = serve(&authority, "other.example.org", Validity::Long);
    let agent = agent("localhost", port, Some(authority.pem()));
    refused(
        &agent,
        &[
            "certificate not valid for name \"localhost\"",
            "other.example.org",
            "use a name in [server] api-url",
        ],
    );
}

#[test]
fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new("authority of the tests");
    for (validity, reason) in [
        (Validity::Expired, "certificate expired"),
        (Validity::NotYet, "certificate not valid yet"),
    ] {
        let port = serve(&authority, "localhost", validity);
        refused(
            &agent("localhost", port, Some(authority.pem())),
            &[reason, "set this computer's clock"],
        );
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_named() {
    let damaged = "-----BEGIN CERTIFICATE-----\nMAMB\n-----END CERTIFICATE-----\n";
    for pem in ["", "no certificate", damaged] {
        refused(&agent("localhost", 9, Some(pem)), &["[server] ca-file", "ca.pem"]);
    }
    let agent = agent("localhost", 9, Some(""));
    std::fs::remove_file(agent.folder().join("ca.pem")).unwrap();
    refused(&agent, &["[server] ca-file", "ca.pem"]);
}
