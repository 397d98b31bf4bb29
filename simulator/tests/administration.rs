//! Scenarios against a server that runs already: what the client API can do, and what is said where it cannot.

#![allow(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not see their shared functions"
)]

use oco_mock_server::{Config, Server, ServerHandle};
use oco_simulator::admin::Credentials;
use oco_simulator::progress::Progress;
use oco_simulator::report::RunReport;
use oco_simulator::run::{External, Options, RunError, ServerChoice, run};
use oco_simulator::scenario::Scenario;
use oco_simulator::verdict::Verdict;
use std::time::SystemTime;
use tokio::net::TcpListener;

async fn server(folder: &std::path::Path) -> ServerHandle {
    let config = Config {
        database: format!("sqlite:{}", folder.join("server.db").display()),
        admin_password: Some(oco_protocol::Key::new("pass:word")),
        ..Config::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::start(config, listener, std::future::pending())
        .await
        .unwrap()
}

/// The server, administered through its client API only.
fn access(server: &ServerHandle, credentials: Option<&str>) -> External {
    External {
        url: External::parse_url(&server.agent_url()).unwrap(),
        agent_key: server.agent_key.clone(),
        api_key: None,
        client_api: credentials.map(|text| text.parse::<Credentials>().unwrap()),
        ca: None,
    }
}

async fn play(text: &str, access: External) -> Result<RunReport, RunError> {
    #[allow(clippy::disallowed_methods)] // a test stands where `main` does
    let now = SystemTime::now();
    let scenario = Scenario::parse("x", "x.toml", text).unwrap();
    let options = Options::new(scenario, ServerChoice::External(access), now);
    let finished = run(options, Progress::Silent, std::future::pending()).await;
    finished.map(|finished| finished.report)
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_and_deployments_go_through_the_client_api() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let text = include_str!("small.toml")
        .replace("GOAL", "succeeded")
        .replace("size = 30", "size = 10")
        .replace("interval = \"1s\"", "interval = \"2s\"");
    let credentials = format!("admin:pass:word:{}", server.api_key.expose());
    let report = play(&text, access(&server, Some(&credentials))).await.unwrap();
    let summary = oco_simulator::report::text::Summary(&report).to_string();
    assert_eq!(report.verdict, Verdict::Pass, "{summary}");
    assert_eq!((report.jobs.succeeded, report.jobs.pending), (20, 0), "{summary}");
    assert_eq!(report.convergence[1].of, 10, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_whom_the_server_does_not_know_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let text = include_str!("small.toml").replace("GOAL", "succeeded");
    for (credentials, status) in [("admin:wrong:key", "401"), ("admin:pass:word:wrong", "-32002")] {
        let error = play(&text, access(&server, Some(credentials))).await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(status) && message.contains("package"),
            "{message}"
        );
        assert!(!message.contains("pass:word"), "{message}");
    }
    let error = play(&text, access(&server, None)).await.unwrap_err();
    assert!(error.to_string().contains("--client-api"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_mock_server_has_is_named_by_its_sections() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let text = "description = \"\"\n[fleet]\nsize = 1\n[admin.settings]\nupdate_interval = 5\n[[admin.policies]]\n\
                name = \"p\"\nat = 1\nmachine = {}\n[[fault]]\nname = \"f\"\nat = 1\n\
                fault = { kind = \"duplicate-jobs\" }";
    let credentials = format!("admin:pass:word:{}", server.api_key.expose());
    let error = play(text, access(&server, Some(&credentials))).await.unwrap_err();
    let message = error.to_string();
    for section in ["[admin.settings]", "[[admin.policies]]", "[[fault]]", "--api-key"] {
        assert!(message.contains(section), "{message}");
    }
    assert!(!message.contains("password_rule"), "{message}");
}
