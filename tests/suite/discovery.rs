//! Finding the server over DNS: the agent's resolver against a name server of the tests, and the whole agent in a
//! namespace whose resolver asks that.

use crate::support::dns::{DnsServer, Reply, Srv, srv};
use crate::support::scripted::{AGENT_KEY, SERVER_KEY, hello, response, signed};
use crate::support::tls::{Authority, TlsServer, Validity};
use crate::support::{Agent, REGISTRATION_KEY, stderr, wait_for};
use oco_agent::config::Protocol;
use oco_agent::discovery::{DiscoveryError, Found, TIME_LIMIT, discover};
use oco_agent::host::system::{Resolver, SystemHost};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Discovery on this machine, with the test's name server and search domains in place of the machine's.
fn ask(server: &DnsServer, search: &[&str]) -> Result<Found, DiscoveryError> {
    let resolver = Resolver::with_server(server.address, search).unwrap();
    discover(
        &SystemHost::new(std::env::temp_dir()).with_resolver(resolver),
        Protocol::Signed,
    )
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

#[test]
fn a_discovered_server_is_checked_then_registered_at_and_remembered() {
    let Some(site) = Site::new(|_, port| Reply::Records(vec![srv(0, 0, port, "oco.corp.example.")])) else {
        eprintln!("{NO_SITE}");
        return;
    };
    let before = site.agent.config();
    let checked = site.run(&["check"]);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{text}");
    assert!(
        text.contains("from the SRV records of _oco._tcp.corp.example."),
        "{text}"
    );
    assert!(text.contains("oco.corp.example is 127.0.0.1"), "{text}");
    assert_eq!(site.agent.config(), before, "a check stores nothing");
    let output = site.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("server found in DNS"),
        "{}",
        stderr(&output)
    );
    let url = format!("https://oco.corp.example:{}/api-agent.php", site.server.port);
    let expected = before
        .replace("api-url =\n", &format!("api-url = {url}\n"))
        .replace(REGISTRATION_KEY, AGENT_KEY)
        .replace("server-key =\n", &format!("server-key = {SERVER_KEY}\n"));
    assert_eq!(site.agent.config(), expected);
    let asked = site.dns.asked().len();
    assert!(site.run(&[]).status.success());
    assert_eq!(site.dns.asked().len(), asked, "DNS is not asked again");
}

#[test]
fn without_a_record_one_check_in_fails_and_says_what_was_asked() {
    let Some(site) = Site::new(|_, _| Reply::NoSuchName) else {
        eprintln!("{NO_SITE}");
        return;
    };
    let before = site.agent.config();
    let output = site.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    for part in [
        "asked for SRV records of _oco._tcp.corp.example (there are none); _oco._tcp.example.net (there are none)",
        "set it to https://SERVER/api-agent.php",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(site.agent.config(), before);
    let checked = site.run(&["check"]);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        text.contains("FAIL  server") && text.contains("-     certificate"),
        "{text}"
    );
}

#[test]
fn a_daemon_asks_until_the_record_is_published() {
    let (published, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (open, count) = (published.clone(), asked.clone());
    let Some(site) = Site::new(move |_, port| {
        count.fetch_add(1, Ordering::Relaxed);
        match open.load(Ordering::Relaxed) {
            true => Reply::Records(vec![srv(0, 0, port, "oco.corp.example.")]),
            false => Reply::Failure,
        }
    }) else {
        eprintln!("{NO_SITE}");
        return;
    };
    site.agent.set("query-interval = 0.2");
    let daemon = site.agent.daemon_by(site.command(&[]));
    wait_for("the second failure", || {
        site.agent.log().contains("failures=2").then_some(())
    });
    assert!(asked.load(Ordering::Relaxed) > 1);
    published.store(true, Ordering::Relaxed);
    wait_for("a check-in", || {
        site.agent.log().contains("checked in").then_some(())
    });
    assert_eq!(site.agent.setting("agent-key"), AGENT_KEY);
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_daemon_without_a_server_ends_on_a_signal() {
    let Some(site) = Site::new(|_, _| Reply::Silence) else {
        eprintln!("{NO_SITE}");
        return;
    };
    let daemon = site.agent.daemon_by(site.command(&[]));
    wait_for("the first question", || {
        (!site.dns.asked().is_empty()).then_some(())
    });
    assert_eq!(daemon.terminate(), Some(0));
}

/// Why a test is skipped.
const NO_SITE: &str = "skipped: this needs the rights to listen on port 53 and to make a mount namespace";

/// A network whose name server is one of the tests, an HTTPS server in it, and an agent that knows neither.
struct Site {
    agent: Agent,
    server: TlsServer,
    dns: DnsServer,
}

impl Site {
    /// None where that cannot be had. `rule` is given a name and the HTTPS server's port.
    fn new(rule: impl Fn(&str, u16) -> Reply + Send + Sync + 'static) -> Option<Self> {
        let authority = Authority::new("corp.example");
        let server =
            TlsServer::start(
                &authority,
                &["oco.corp.example"],
                Validity::Long,
                |request| match request.header("content-type") {
                    Some("application/json") => signed(&hello(Some(SERVER_KEY), Some(AGENT_KEY)), SERVER_KEY),
                    _ => response("400 Bad Request", "", "Content type mismatch"),
                },
            );
        let port = server.port;
        // Tests run side by side, each with an address of its own for the one port that name servers have.
        static NEXT: AtomicUsize = AtomicUsize::new(11);
        let address = format!("127.0.53.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let dns = DnsServer::start(&format!("{address}:53"), move |name| rule(name, port));
        let agent = Agent::with_config("");
        let file = |name: &str, content: &str| std::fs::write(agent.folder().join(name), content).unwrap();
        file(
            "resolv.conf",
            &format!("nameserver {address}\nsearch corp.example example.net\n"),
        );
        file("hosts", "127.0.0.1 localhost oco.corp.example\n");
        file("ca.pem", authority.pem());
        let ca_file = agent.folder().join("ca.pem");
        file(
            "oco-agent.ini",
            &format!(
                "; mine\n[agent]\nagent-key = {REGISTRATION_KEY}\n[server]\n# found in DNS\napi-url =\nserver-key =\n\
                 ca-file = {}\n",
                ca_file.display()
            ),
        );
        let site = Self {
            agent,
            server,
            dns: dns?,
        };
        let usable = site.namespace().arg("true").status();
        usable.is_ok_and(|status| status.success()).then_some(site)
    }

    /// A command that runs what is added to it where resolver and hosts are those of the site.
    fn namespace(&self) -> Command {
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0/resolv.conf\" /etc/resolv.conf && mount --bind \"$0/hosts\" /etc/hosts && exec \"$@\"";
        command
            .args(["--mount", "sh", "-c", script])
            .arg(self.agent.folder())
            .env_remove("OCO_AGENT_LOG");
        command
    }

    /// The agent there.
    fn command(&self, arguments: &[&str]) -> Command {
        let agent = self.agent.command();
        let mut command = self.namespace();
        command
            .arg(agent.get_program())
            .args(agent.get_args())
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().unwrap()
    }
}
