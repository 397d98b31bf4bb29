//! Finding the server over DNS: the agent's resolver against a name server of the tests, and the whole agent in a
//! namespace whose resolver asks that.

use crate::support::dns::{DnsServer, Reply, Srv, srv};
use oco_agent::discovery::{DiscoveryError, Found, TIME_LIMIT, discover};
use oco_agent::host::system::{Resolver, SystemHost};
use std::collections::BTreeMap;
use std::time::Instant;

/// Discovery on this machine, with the test's name server and search domains in place of the machine's.
fn ask(server: &DnsServer, search: &[&str]) -> Result<Found, DiscoveryError> {
    let resolver = Resolver::with_server(server.address, search).unwrap();
    discover(&SystemHost::new(std::env::temp_dir()).with_resolver(resolver))
}

fn server(rule: impl Fn(&str) -> Reply + Send + Sync + 'static) -> DnsServer {
    DnsServer::start("127.0.0.1:0", rule).unwrap()
}

fn reason(answer: Result<Found, DiscoveryError>) -> String {
    answer.unwrap_err().to_string()
}

#[test]
fn the_lowest_priority_and_within_it_the_weight_decide() {
    let server = server(|_| {
        Reply::Records(vec![
            srv(20, 65535, 1, "backup.example"),
            srv(10, 30, 443, "small.example"),
            srv(10, 90, 8443, "Large.example"),
        ])
    });
    let mut hits = BTreeMap::new();
    for _ in 0..200 {
        *hits.entry(ask(&server, &["a.example"]).unwrap().url).or_insert(0) += 1;
    }
    let (small, large) = (
        "https://small.example:443/api-agent.php",
        "https://large.example:8443/api-agent.php",
    );
    assert_eq!(
        hits.keys().map(String::as_str).collect::<Vec<_>>(),
        [large, small]
    );
    // Expected are 150 with a standard deviation of 6.
    assert!((110..=190).contains(&hits[large]), "{hits:?}");
    assert!(
        server
            .asked()
            .iter()
            .all(|(name, _)| name == "_oco._tcp.a.example")
    );
}

#[test]
fn search_domains_are_asked_in_their_order_until_one_has_a_server() {
    let server = server(|name| match name {
        "_oco._tcp.empty.example" => Reply::Records(Vec::new()),
        "_oco._tcp.second.example" => Reply::Records(vec![srv(0, 0, 443, "oco.second.example")]),
        "_oco._tcp.third.example" => Reply::Records(vec![srv(0, 0, 443, "oco.third.example")]),
        _ => Reply::NoSuchName,
    });
    let found = ask(
        &server,
        &["none.example", "empty.example", "second.example", "third.example"],
    )
    .unwrap();
    assert_eq!(found.url, "https://oco.second.example:443/api-agent.php");
    assert!(server.asked().iter().all(|(name, _)| !name.contains("third")));
}

#[test]
fn missing_names_and_failing_servers_are_told_apart() {
    let server = server(|name| match name {
        "_oco._tcp.broken.example" => Reply::Failure,
        "_oco._tcp.malformed.example" => Reply::Malformed,
        "_oco._tcp.closed.example" => Reply::Records(vec![srv(0, 0, 0, "")]),
        _ => Reply::NoSuchName,
    });
    let search = [
        "none.example",
        "closed.example",
        "broken.example",
        "malformed.example",
    ];
    let message = reason(ask(&server, &search));
    assert!(
        message.contains("_oco._tcp.none.example (there are none)"),
        "{message}"
    );
    assert!(
        message.contains("_oco._tcp.closed.example (the domain says that it has no server)"),
        "{message}"
    );
    for failing in ["broken", "malformed"] {
        let part = message
            .split(&format!("_oco._tcp.{failing}.example ("))
            .nth(1)
            .unwrap();
        assert!(!part.starts_with("there are none"), "{message}");
    }
}

#[test]
fn a_server_that_never_answers_costs_the_time_limit_and_no_more() {
    let server = server(|name| match name {
        "_oco._tcp.second.example" => Reply::Records(vec![srv(0, 0, 443, "oco.second.example")]),
        _ => Reply::Silence,
    });
    let started = Instant::now();
    // The first domain has a share of the time only.
    assert!(ask(&server, &["first.example", "second.example", "third.example"]).is_ok());
    let message = reason(ask(&server, &["first.example"]));
    assert!(
        message.contains("no name server has answered within"),
        "{message}"
    );
    assert!(started.elapsed() < TIME_LIMIT * 2, "{:?}", started.elapsed());
    let attempts = server
        .asked()
        .iter()
        .filter(|(name, _)| name.contains("first"))
        .count();
    assert!(attempts >= 2, "a lost datagram is to be sent again");
}

#[test]
fn an_answer_that_is_too_long_for_a_datagram_is_fetched_over_tcp() {
    let records: Vec<Srv> = (0..200)
        .map(|port| srv(1, 1, 1000 + port, "a-rather-long-name-of-a-server.example"))
        .collect();
    let server = server(move |_| Reply::Truncated(records.clone()));
    let found = ask(&server, &["a.example"]).unwrap();
    assert!(
        found
            .url
            .starts_with("https://a-rather-long-name-of-a-server.example:1"),
        "{}",
        found.url
    );
    assert!(server.asked().iter().any(|(_, tcp)| *tcp) && server.asked().iter().any(|(_, tcp)| !*tcp));
}

#[test]
fn hostile_targets_are_refused_in_words() {
    let labels = |labels: &[&[u8]]| labels.iter().map(|label| label.to_vec()).collect::<Vec<_>>();
    let hostile = vec![
        (0, 0, 443, labels(&[b"evil.example/#", b"corp", b"example"])),
        (
            0,
            0,
            443,
            labels(&[b"a\n[server]\napi-url = http://evil", b"example"]),
        ),
        (0, 0, 443, labels(&[b"\xff\x00", b"example"])),
        (0, 0, 443, labels(&[b"127", b"0", b"0", b"1"])),
        (0, 0, 0, labels(&[b"oco", b"example"])),
    ];
    let records = hostile.clone();
    let only = server(move |_| Reply::Records(records.clone()));
    let message = reason(ask(&only, &["a.example"]));
    assert!(!message.contains(['\n', '\0']), "{message:?}");
    assert_eq!(message.matches("is no host name").count(), 4, "{message}");
    assert!(message.contains("port 0"), "{message}");
    let mixed =
        server(move |_| Reply::Records([hostile.clone(), vec![srv(9, 0, 443, "oco.example")]].concat()));
    let found = ask(&mixed, &["a.example"]).unwrap();
    assert_eq!(found.url, "https://oco.example:443/api-agent.php");
    assert_eq!(found.refused.len(), 5);
}
