//! Whole runs of a small fleet against an embedded server, judged by their machine-readable result.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_simulator::duration::Span;
use oco_simulator::progress::Progress;
use oco_simulator::report::{RunReport, json};
use oco_simulator::run::{External, Options, RunError, ServerChoice, run};
use oco_simulator::scenario::{InFlight, Scenario, Share, Until};
use oco_simulator::verdict::Verdict;
use serde_json::Value;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a server stalls.
const STALL: Duration = Duration::from_secs(5);

/// Thirty machines that are quick about everything.
const SMALL: &str = include_str!("small.toml");

fn scenario(goal: &str) -> Scenario {
    Scenario::parse("small", "small.toml", &SMALL.replace("GOAL", goal)).unwrap()
}

fn options(scenario: Scenario, server: ServerChoice) -> Options {
    #[allow(clippy::disallowed_methods)] // a test stands where `main` does
    let now = SystemTime::now();
    Options {
        command: "oco-simulator run small.toml".into(),
        ..Options::new(scenario, server, now)
    }
}

async fn run_embedded(scenario: Scenario) -> RunReport {
    run(
        options(scenario, ServerChoice::Embedded),
        Progress::Silent,
        std::future::pending(),
    )
    .await
    .unwrap()
    .report
}

/// A mock server of its own, for what is put between it and the agents.
struct MockServer {
    handle: oco_mock_server::ServerHandle,
    /// Of its database.
    _folder: tempfile::TempDir,
}

impl MockServer {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = oco_mock_server::Config {
            database: format!("sqlite:{}", folder.path().join("server.db").display()),
            ..oco_mock_server::Config::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handle = oco_mock_server::Server::start(config, listener, std::future::pending()).await;
        Self {
            handle: handle.unwrap(),
            _folder: folder,
        }
    }

    fn address(&self) -> String {
        self.handle.addr.to_string()
    }

    /// The server at the URL of a proxy before it.
    fn behind(&self, proxy: &str) -> External {
        External {
            url: External::parse_url(proxy).unwrap(),
            agent_key: self.handle.agent_key.clone(),
            api_key: Some(self.handle.api_key.clone()),
            client_api: None,
            ca: None,
        }
    }
}

fn as_json(report: &RunReport) -> Value {
    serde_json::from_str(&json::render(report).unwrap()).unwrap()
}

fn at<'a>(json: &'a Value, pointer: &str) -> &'a Value {
    json.pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer} in {json:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_fleet_registers_reports_and_installs_without_an_error() {
    let result = as_json(&run_embedded(scenario("succeeded")).await);
    for (pointer, value) in [
        ("/verdict", "pass".into()),
        ("/interrupted", false.into()),
        ("/seed", 11.into()),
        ("/agents/planned", 30.into()),
        ("/agents/registered", 30.into()),
        ("/agents/lost", 0.into()),
        ("/errors", Value::Object(serde_json::Map::new())),
        ("/jobs/succeeded", 60.into()),
        ("/jobs/failed", 0.into()),
        ("/jobs/pending", 0.into()),
        ("/jobs/repeated", 0.into()),
        ("/check_ins/failed", 0.into()),
        ("/methods/oco.agent.update/ok", 30.into()),
        ("/methods/oco.agent.download/ok", 30.into()),
        ("/methods/oco.agent.hello/errors", 0.into()),
        ("/convergence/0/agents", 30.into()),
        ("/convergence/1/of", 30.into()),
        ("/convergence/1/ok", true.into()),
    ] {
        assert_eq!(at(&result, pointer), &value, "{pointer} in {result:#}");
    }
    let systems: u64 = ["linux", "macos", "windows"]
        .iter()
        .filter_map(|os| result["agents"]["by_os"][os].as_u64())
        .sum();
    assert_eq!(systems, 30);
    assert!(at(&result, "/methods/oco.agent.hello/ok").as_u64().unwrap() >= 60);
    assert!(at(&result, "/methods/oco.agent.hello/p50_ms").as_f64().unwrap() > 0.0);
    assert!(!at(&result, "/timeline").as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_procedures_are_counted_and_fail_a_run_that_wants_success() {
    let mut scenario = scenario("finished");
    scenario.jobs.failure_share = Share(1.0);
    let report = run_embedded(scenario).await;
    assert_eq!(
        (report.jobs.succeeded, report.jobs.failed, report.jobs.pending),
        (0, 60, 0)
    );
    assert!(report.convergence.iter().all(|convergence| convergence.ok));
}

/// Thirty agents are due at once and there is one place: the last one waits for all others.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_place_counts_as_latency() {
    let mut scenario = scenario("succeeded");
    scenario.pacing.ramp = Span::from_secs(0);
    scenario.pacing.in_flight = InFlight(1);
    let report = run_embedded(scenario).await;
    let hello = &report.methods["oco.agent.hello"];
    assert!(hello.max_ms > 10.0 * hello.service_p50_ms, "{hello:?}");
    assert_eq!(report.agents.lost, 0);
}

/// Passes connections on to a server until it has passed so many answers back, then only accepts them. Requests with
/// `refused` in them are never passed on.
async fn stalling_after(answers: usize, refused: &'static str, server: String) -> String {
    stalling_for(Duration::MAX, answers, refused, server).await
}

/// The same, but after so long it hands out the answers that it has held, and goes on as before.
async fn stalling_for(stall: Duration, answers: usize, refused: &'static str, server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answered = Arc::new(AtomicUsize::new(0));
    let began = Arc::new(OnceLock::new());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, answered, began) = (server.clone(), answered.clone(), began.clone());
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = upstream.split();
                let back = async {
                    let mut answer = vec![0; 65_536];
                    loop {
                        let length = from_server.read(&mut answer).await.unwrap_or(0);
                        if answered.fetch_add(1, Ordering::SeqCst) >= answers {
                            let began: &Instant = began.get_or_init(Instant::now);
                            let rest = stall.saturating_sub(began.elapsed());
                            let _ = tokio::time::timeout(rest, std::future::pending::<()>()).await;
                        }
                        if length == 0 || to_client.write_all(&answer[..length]).await.is_err() {
                            break;
                        }
                    }
                };
                let there = async {
                    let mut request = vec![0; 65_536];
                    loop {
                        let length = from_client.read(&mut request).await.unwrap_or(0);
                        if String::from_utf8_lossy(&request[..length]).contains(refused) {
                            std::future::pending::<()>().await;
                        }
                        if length == 0 || to_server.write_all(&request[..length]).await.is_err() {
                            break;
                        }
                    }
                };
                let _ = tokio::join!(there, back);
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answering_fails_the_run() {
    let server = MockServer::start().await;
    let text = "description = \"\"\n[run]\nduration = \"4s\"\ndrain = \"500ms\"\n[fleet]\nsize = 10\n[pacing]\n\
                ramp = \"500ms\"\ninterval = \"500ms\"\nin_flight = 6\n[thresholds]\nerror_share = 0.2\n[thresholds.p99]\n\
                \"oco.agent.hello\" = \"1s\"";
    // Enough for all of them to register, after which nobody is lost.
    let proxy = stalling_after(35, "nothing of this", server.address()).await;
    let access = External {
        api_key: None,
        ..server.behind(&proxy)
    };
    let scenario = Scenario::parse("stall", "stall.toml", text).unwrap();
    let options = options(scenario, ServerChoice::External(access));
    let report = run(options, Progress::Silent, std::future::pending())
        .await
        .unwrap()
        .report;
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(report.agents.registered, 10);
    // Six that hold a place, four that wait for one, and what every agent owes.
    assert_eq!(report.errors.get("unfinished"), Some(&20), "{:?}", report.errors);
    assert!(report.errors["missed"] >= 20, "{:?}", report.errors);
    assert_eq!(report.check_ins.missed, report.errors["missed"]);
    assert_eq!(report.check_ins.failed, 20);
    for threshold in ["error_share", "p99_ms oco.agent.hello"] {
        let threshold = report.thresholds.iter().find(|t| t.name == threshold).unwrap();
        assert!(!threshold.ok, "{threshold:?}");
    }
    let hello = &report.methods["oco.agent.hello"];
    assert!(
        hello.service_p99_ms < 1000.0 && hello.max_ms > 1500.0,
        "{hello:?}"
    );
}

/// Ten hellos a second of machines that the server knows, through a proxy that stalls once, after so many answers. No
/// machine is due twice within the stall.
async fn run_with_a_stall(after: usize) -> RunReport {
    let server = MockServer::start().await;
    let text = "description = \"\"\n[run]\nduration = \"20s\"\nuntil = \"duration\"\n[fleet]\nsize = 80\n\
                registered = true\n[pacing]\nramp = \"8s\"\ninterval = \"8s\"\njitter = 0.0";
    let proxy = stalling_for(STALL, after, "nothing of this", server.address()).await;
    let access = server.behind(&proxy);
    let scenario = Scenario::parse("stall", "stall.toml", text).unwrap();
    let options = options(scenario, ServerChoice::External(access));
    let finished = run(options, Progress::Silent, std::future::pending()).await;
    finished.unwrap().report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_for_five_seconds_shows_it_in_the_99th_percentile() {
    // The stall begins after some seconds and is over long before the end.
    let (stalled, smooth) = tokio::join!(run_with_a_stall(60), run_with_a_stall(usize::MAX));
    for report in [&stalled, &smooth] {
        assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.errors);
        assert_eq!(report.check_ins.missed + report.check_ins.failed, 0);
        assert!(report.check_ins.ok >= 150, "{:?}", report.check_ins);
    }
    let p99 = |report: &RunReport| report.methods["oco.agent.hello"].p99_ms;
    assert!((3000.0..8000.0).contains(&p99(&stalled)), "{}", p99(&stalled));
    assert!(p99(&smooth) < 1000.0, "{}", p99(&smooth));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_a_server_never_answers_fail_the_run() {
    let server = MockServer::start().await;
    let text = SMALL.split("[[convergence]]").next().unwrap();
    let text = [
        ("duration = \"5m\"", "duration = \"5s\"\nuntil = \"duration\""),
        ("drain = \"1m\"", "drain = \"500ms\""),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (long, short)| {
        assert!(text.contains(long), "{long}");
        text.replace(long, short)
    });
    let proxy = stalling_after(usize::MAX, "update_job_state", server.address()).await;
    let access = server.behind(&proxy);
    let scenario = Scenario::parse("stall", "stall.toml", &text).unwrap();
    let options = options(scenario, ServerChoice::External(access));
    let report = run(options, Progress::Silent, std::future::pending())
        .await
        .unwrap()
        .report;
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(report.errors.get("unfinished"), Some(&30), "{:?}", report.errors);
    assert_eq!(report.methods["oco.agent.update_job_state"].errors, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_by_hand_still_has_its_report() {
    let mut scenario = scenario("succeeded");
    scenario.run.until = Until::Duration;
    let interrupt = std::future::ready(());
    let report = run(
        options(scenario, ServerChoice::Embedded),
        Progress::Silent,
        interrupt,
    )
    .await
    .unwrap()
    .report;
    assert!(report.interrupted && report.duration_s < 60.0);
    assert_eq!(report.verdict, Verdict::Fail, "nothing has converged");
    assert_eq!(report.agents.lost, 0, "agents that were never due are not lost");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let external = External {
        url: External::parse_url(&format!("http://user:secret@127.0.0.1:{port}")).unwrap(),
        agent_key: oco_protocol::Key::new("k"),
        api_key: None,
        client_api: None,
        ca: None,
    };
    let options = options(scenario("succeeded"), ServerChoice::External(external));
    let error = run(options, Progress::Silent, std::future::pending())
        .await
        .unwrap_err();
    assert!(matches!(error, RunError::Unreachable { .. }));
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}
