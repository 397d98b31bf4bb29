use super::*;

fn parse(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
    let cli = Cli::try_parse_from([&["oco-simulator"], arguments].concat())?;
    Ok(match cli.command {
        None => cli.run,
        Some(Command::Run(run)) => *run,
        Some(_) => panic!("not a run"),
    })
}

#[test]
fn no_argument_at_all_runs_the_demo_on_the_embedded_server() {
    for arguments in [&[][..], &["run"], &["demo"], &["run", "demo"]] {
        let run = parse(arguments).unwrap();
        assert_eq!(run.scenario, "demo");
        assert!(matches!(run.server_choice(), ServerChoice::Embedded));
    }
}

#[test]
fn options_overrule_the_scenario() {
    let run = parse(&["--agents", "5", "--seed", "9", "--duration", "3m"]).unwrap();
    let scenario = run.scenario().unwrap();
    assert_eq!((scenario.fleet.size.0, scenario.fleet.seed), (5, 9));
    assert_eq!(scenario.run.duration, Span::from_secs(180));
    assert_eq!(
        run.again(&scenario),
        "oco-simulator run demo --agents 5 --seed 9 --duration 3m"
    );
}

#[test]
fn wrong_usage_is_refused_with_what_would_be_right() {
    for (arguments, hint) in [
        (&["--agents", "0"][..], "1 to 10000000"),
        (&["--duration", "soon"], "5m"),
        (&["--server", "http://127.0.0.1:1"], "--agent-key"),
        (&["--ca-file", "ca.pem"], "--server"),
        (&["--client-api", "user:password"], "USER:PASSWORD:KEY"),
        (&["--server", "oco", "--agent-key", "k"], "https://"),
        (&["--server", "http://h", "--agent-key", ""], "empty"),
        (&["--shard", "1/2"], "--server"),
        (&["--shard", "2/2"], "0/4 to 3/4"),
        (&["--regression", "0.1"], "--baseline"),
        (&["run", "demo", "more"], "more"),
    ] {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn keys_and_passwords_stay_out_of_the_command_to_repeat() {
    let run = parse(&[
        "my run.toml",
        "--server",
        "http://u:secret@h/api?token=secret",
        "--agent-key",
        "hidden",
        "--api-key",
        "hidden",
        "--client-api",
        "user:hidden:hidden",
    ])
    .unwrap();
    let scenario = Scenario::load("demo").unwrap();
    let again = run.again(&scenario);
    assert!(again.starts_with("oco-simulator run 'my run.toml' "), "{again}");
    assert!(!again.contains("secret") && !again.contains("hidden"), "{again}");
    assert!(
        again.ends_with(" --agent-key KEY --api-key KEY --client-api USER:PASSWORD:KEY"),
        "{again}"
    );
    let error = parse(&["--server", "ftp://u:secret@h", "--agent-key", "k"]).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(!format!("{run:?}").contains("hidden"));
}

#[tokio::test]
async fn scenarios_are_listed_one_in_a_line() {
    let outcome = scenarios().unwrap();
    assert!(
        outcome.text.lines().any(|line| line.starts_with("demo ")),
        "{}",
        outcome.text
    );
}

#[test]
fn a_machine_is_shown_as_json_and_as_artefacts() {
    let folder = tempfile::tempdir().unwrap();
    let artefacts = folder.path().join("machine");
    let arguments = [
        "oco-simulator",
        "generate",
        "--os",
        "windows",
        "--index",
        "7",
        "--artefacts",
    ];
    let cli = Cli::try_parse_from(arguments.iter().copied().chain([artefacts.to_str().unwrap()])).unwrap();
    let Some(Command::Generate(machine)) = cli.command else {
        panic!("not generate")
    };
    assert_eq!(machine.now, MachineTime::default());
    let outcome = machine.execute().unwrap();
    let inventory: serde_json::Value = serde_json::from_str(&outcome.text).unwrap();
    assert!(
        inventory["os"].as_str().unwrap().starts_with("Windows"),
        "{}",
        outcome.text
    );
    assert!(std::fs::read_dir(artefacts).unwrap().count() > 0);
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_noticed_before_the_run() {
    let run = parse(&["--report", "/no/such/folder/report.html"]).unwrap();
    let error = run
        .execute(SystemTime::UNIX_EPOCH, std::future::pending())
        .await
        .unwrap_err();
    assert!(matches!(error, CliError::Report(_)), "{error}");
    assert!(error.to_string().contains("/no/such/folder/report.html"));
}

#[tokio::test]
async fn two_reports_in_one_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [report, json] = ["r", "./r"].map(|name| folder.path().join(name));
    let run = parse(&[
        "--report",
        report.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ])
    .unwrap();
    let error = run.execute(SystemTime::UNIX_EPOCH, std::future::pending()).await;
    assert!(matches!(error, Err(CliError::SameFile(_))), "{error:?}");
}

#[tokio::test]
async fn a_report_that_cannot_be_written_after_the_run_does_not_cost_the_verdict() {
    let report = crate::report::tests::sample();
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let lost = ReportFile::prepare(&gone.join("r.json")).unwrap();
    let kept = ReportFile::prepare(&folder.path().join("r.html")).unwrap();
    std::fs::remove_dir(&gone).unwrap();
    let outcome = outcome(
        &report,
        &[
            ("Result", &lost, Ok(String::new())),
            ("Report", &kept, Ok("x".into())),
        ],
    );
    assert!(outcome.text.starts_with("FAIL"), "{}", outcome.text);
    assert_eq!((outcome.code, outcome.problems.len()), (UNUSABLE, 1));
    assert!(kept.path().exists());
}
