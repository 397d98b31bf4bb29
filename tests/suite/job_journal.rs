//! Agents that are killed at each step of a job, and servers that lose or refuse its outcome: no procedure runs twice,
//! no outcome is lost, and the server ends with the right state.

#![cfg(unix)] // the procedures are shell scripts

#[cfg(target_os = "linux")]
mod crash_points;
mod orphans;

use crate::support::mock::MockServer;
use crate::support::proxy::{Action, Proxy};
use crate::support::scripted::{
    AGENT_KEY, Answer, Captured, SERVER_KEY, ScriptedServer, hello, response, signed,
};
use crate::support::{Agent, stderr, wait_for};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A server with one registered agent behind a proxy.
struct Setup {
    server: MockServer,
    proxy: Proxy,
    agent: Agent,
}

impl Setup {
    fn new() -> Self {
        let server = MockServer::start();
        let proxy = Proxy::start(&server.agent_url);
        let agent = Agent::new(&proxy.url);
        agent.set("query-interval = 1");
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        Self { server, proxy, agent }
    }

    /// Each run of the procedure leaves a line here.
    fn witness(&self) -> PathBuf {
        self.agent.folder().join("witness")
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.witness()).map_or(0, |text| text.lines().count())
    }

    /// Deploys a package whose procedure leaves its trace and then does `more`.
    fn deploy(&self, more: &str, files: &[(&str, &[u8])]) -> i64 {
        self.deploy_as("witnessed", more, files)
    }

    /// The same as a package of another name.
    fn deploy_as(&self, name: &str, more: &str, files: &[(&str, &[u8])]) -> i64 {
        let procedure = format!("echo ran >> {}; echo done; {more}", self.witness().display());
        let package = self.server.package(name, &procedure, "0", files);
        self.server.deploy(&[package], 0)
    }

    /// Deploys a package whose procedure leaves its trace and waits for the file `gate`.
    fn deploy_gated(&self, gate: &Path) -> i64 {
        self.deploy(
            &format!("while [ ! -e {} ]; do sleep 0.1; done", gate.display()),
            &[],
        )
    }

    /// Where the journal has the only job of a deployment.
    #[cfg(target_os = "linux")]
    fn record_of(&self, deployment: i64) -> PathBuf {
        let id = &self.server.jobs(deployment)[0]["id"];
        self.agent.folder().join(format!("journal/job-{id}.json"))
    }

    /// Runs the agent until it has asked for the thing that the proxy holds back, and kills it there.
    fn kill_at(&self, what: &str, held: fn(&Captured) -> bool) {
        self.proxy.set(move |request| {
            if held(request) {
                Action::Hold
            } else {
                Action::Forward
            }
        });
        let before = self.proxy.count(held);
        let daemon = self.agent.daemon();
        wait_for(what, || (self.proxy.count(held) > before).then_some(()));
        daemon.kill();
        self.proxy.set(|_| Action::Forward);
    }

    /// Starts the agent again and waits for the job's end and some check-ins after it.
    fn end_of(&self, deployment: i64) -> Value {
        let daemon = self.agent.daemon();
        let job = self.server.wait_for_job(deployment, |job| {
            job["state"] == "succeeded" || job["state"] == "failed"
        });
        let check_ins = || self.agent.log().matches("checked in").count();
        let before = check_ins();
        wait_for("check-ins after the job", || {
            (check_ins() >= before + 2).then_some(())
        });
        assert_eq!(daemon.terminate(), Some(0));
        let after = &self.server.jobs(deployment)[0];
        for part in ["state", "return_code", "output"] {
            assert_eq!(after[part], job[part], "the outcome stays");
        }
        assert_eq!(
            self.journalled(),
            Vec::<String>::new(),
            "the journal is empty when all is done"
        );
        assert!(self.agent.staging_is_empty());
        job
    }

    fn journalled(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.agent.folder().join("journal"));
        let names = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

fn is(request: &Captured, method: &str) -> bool {
    request.json()["method"] == method
}

fn reports(request: &Captured, state: i64) -> bool {
    is(request, "oco.agent.update_job_state") && request.json()["params"]["data"]["state"] == state
}

fn reports_executing(request: &Captured) -> bool {
    reports(request, 2)
}

fn reports_progress(request: &Captured, percent: i64) -> bool {
    reports(request, 1) && request.data()["download-progress"] == percent
}

fn reports_finished(request: &Captured) -> bool {
    reports(request, 3)
}

fn assert_succeeded(job: &Value) {
    assert_eq!(
        (&job["state"], &job["return_code"]),
        (&json!("succeeded"), &json!(0)),
        "{job}"
    );
    assert_eq!(job["output"], "done\n");
}

fn assert_interrupted(job: &Value) {
    assert_eq!(
        (&job["state"], &job["return_code"]),
        (&json!("failed"), &json!(-9999)),
        "{job}"
    );
    let message = job["output"].as_str().unwrap();
    assert!(
        message.contains("was stopped while the job was running"),
        "{message}"
    );
}

#[test]
fn killed_at_any_step_before_the_procedure_starts_the_agent_starts_the_job_again() {
    type Held = fn(&Captured) -> bool;
    let steps: [(&str, Held); 5] = [
        ("the report that it downloads", |request| {
            reports_progress(request, 0)
        }),
        ("the download", |request| is(request, "oco.agent.download")),
        ("the report that it unpacks", |request| {
            reports_progress(request, 101)
        }),
        ("the report that it is executed", reports_executing),
        ("the hello", |request| is(request, "oco.agent.hello")),
    ];
    let setup = Setup::new();
    let deployment = setup.deploy("", &[("file", b"content")]);
    for (what, held) in steps {
        setup.kill_at(what, held);
        assert_eq!((setup.runs(), setup.journalled().len()), (0, 0), "{what}");
    }
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

#[test]
fn killed_while_the_procedure_runs_the_agent_reports_an_interrupted_job() {
    let setup = Setup::new();
    let gate = setup.agent.folder().join("gate");
    let deployment = setup.deploy_gated(&gate);
    let daemon = setup.agent.daemon();
    wait_for("the procedure", || (setup.runs() == 1).then_some(()));
    daemon.kill();
    std::fs::write(&gate, "").unwrap();
    assert_interrupted(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

#[test]
fn killed_before_the_outcome_is_reported_the_agent_reports_it_later() {
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    setup.kill_at("the report of the outcome", reports_finished);
    assert_eq!(setup.runs(), 1);
    assert_eq!(setup.journalled().len(), 1);
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

#[test]
fn killed_while_the_answer_to_the_outcome_is_lost_the_agent_reports_it_again() {
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    setup.proxy.set(|request| {
        if reports_finished(request) {
            Action::LoseAnswer
        } else {
            Action::Forward
        }
    });
    let daemon = setup.agent.daemon();
    setup
        .server
        .wait_for_job(deployment, |job| job["state"] == "succeeded");
    wait_for("the agent to notice", || {
        setup
            .agent
            .log()
            .contains("outcome is reported again soon")
            .then_some(())
    });
    daemon.kill();
    assert_eq!(setup.journalled().len(), 1);
    setup.proxy.set(|_| Action::Forward);
    let before = setup.proxy.count(reports_finished);
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.proxy.count(reports_finished), before + 1);
    assert_eq!(setup.runs(), 1);
}

#[test]
fn a_server_that_never_accepts_the_outcome_does_not_see_the_job_run_again() {
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    setup.proxy.set(|request| {
        if reports_finished(request) {
            Action::Refuse("Unknown method")
        } else {
            Action::Forward
        }
    });
    let daemon = setup.agent.daemon();
    wait_for("some refusals", || {
        (setup.proxy.count(reports_finished) >= 4).then_some(())
    });
    daemon.kill();
    // Nor does it after the agent was started again.
    let daemon = setup.agent.daemon();
    let before = setup.proxy.count(reports_finished);
    wait_for("more refusals", || {
        (setup.proxy.count(reports_finished) >= before + 4).then_some(())
    });
    assert_eq!(setup.runs(), 1);
    assert_eq!(daemon.terminate(), Some(0));
    setup.proxy.set(|_| Action::Forward);
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

/// What a server of one generation of the protocol says.
struct Generation {
    /// The configuration of an agent that is registered at this URL.
    config: fn(&str) -> String,
    /// The answer to a hello that orders these jobs.
    order: fn(&Value) -> Vec<u8>,
    /// Whether a request reports that a job has ended.
    reports_outcome: fn(&Captured) -> bool,
    /// How it refuses that.
    refusal: fn() -> Vec<u8>,
    /// The answer to everything else.
    accept: fn() -> Vec<u8>,
}

const SIGNED: Generation = Generation {
    config: |url| {
        format!("[agent]\nagent-key = {AGENT_KEY}\n[server]\napi-url = {url}\nserver-key = {SERVER_KEY}\n")
    },
    order: |jobs| {
        let mut params = hello(None, None);
        params["software-jobs"] = jobs.clone();
        signed(&params, SERVER_KEY)
    },
    reports_outcome: reports_finished,
    refusal: || response("400 Bad Request", "Content-Type: text/html\r\n", "Unknown method"),
    accept: || signed(&json!({"job-succeeded": false}), SERVER_KEY),
};

/// However often the agent is started, the server orders the job again and refuses its outcome.
fn never_sees_the_job_run_again(generation: &'static Generation) {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let jobs = json!([{"id": 4, "container-id": 3, "package-id": 4, "download": false, "sequence-mode": 0,
        "procedure": format!("echo ran >> {}", witness.display())}]);
    let server = ScriptedServer::answering(move |request| match request {
        hello if hello.method().ends_with("hello") => (generation.order)(&jobs),
        report if (generation.reports_outcome)(report) => (generation.refusal)(),
        _ => (generation.accept)(),
    });
    let agent = Agent::with_config(&(generation.config)(&server.url));
    let reports = || {
        server
            .requests()
            .iter()
            .filter(|request| (generation.reports_outcome)(request))
            .count()
    };
    for _ in 0..4 {
        let before = reports();
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(reports() > before, "the outcome is reported at each check-in");
        assert_eq!(std::fs::read_to_string(&witness).unwrap(), "ran\n");
    }
}

#[test]
fn a_signed_server_that_never_accepts_the_outcome_never_sees_the_job_run_again() {
    never_sees_the_job_run_again(&SIGNED);
}

#[test]
fn once_a_report_is_lost_the_others_wait_for_the_next_check_in() {
    let (ordering, phase) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let refusing = phase.clone();
    let server = ScriptedServer::serving(move |request, stream| {
        let answer = match request.method().as_str() {
            "oco.agent.hello" => {
                let jobs = [1, 2, 3].map(|id| json!({"id": id, "procedure": ""}));
                let jobs = if ordering.swap(false, Ordering::SeqCst) {
                    json!(jobs)
                } else {
                    json!([])
                };
                (SIGNED.order)(&jobs)
            }
            _ if refusing.load(Ordering::SeqCst) => (SIGNED.refusal)(),
            // Nothing: the connection ends.
            _ => return,
        };
        stream.write_all(&answer).unwrap();
    });
    let agent = Agent::registered(&server.url, "");
    let reports = || {
        server
            .requests()
            .iter()
            .filter(|request| reports_finished(request))
            .count()
    };
    assert!(agent.check_in().status.success());
    assert_eq!(reports(), 3, "each of them is refused");
    assert!(agent.check_in().status.success());
    assert_eq!(reports(), 6, "a refusal of one says nothing of the others");
    phase.store(false, Ordering::SeqCst);
    let output = agent.check_in();
    assert_eq!(reports(), 7, "{}", stderr(&output));
}

#[test]
fn a_job_whose_journal_entry_is_damaged_is_not_run() {
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    let job = &setup.server.jobs(deployment)[0]["id"];
    let journal = setup.agent.folder().join("journal");
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::write(journal.join(format!("job-{job}.json")), [0; 64]).unwrap();
    assert_interrupted(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 0);
}

#[test]
fn a_job_that_the_server_orders_anew_after_its_outcome_runs_anew() {
    let witness = tempfile::NamedTempFile::new().unwrap();
    let procedure = format!("echo ran >> {}", witness.path().display());
    let order = |server_key, agent_key| {
        let mut params = hello(server_key, agent_key);
        params["software-jobs"] = json!([{"id": 4, "procedure": procedure}]);
        raw_now(params)
    };
    let accepted = || raw_now(json!({"job-succeeded": true}));
    let server = ScriptedServer::start(vec![
        order(Some(SERVER_KEY), Some(AGENT_KEY)),
        raw_now(json!({"job-succeeded": false})),
        accepted(),
        order(Some(SERVER_KEY), None),
        raw_now(json!({"job-succeeded": false})),
        accepted(),
    ]);
    let agent = Agent::new(&server.url);
    for runs in 1..=2 {
        let output = agent.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = std::fs::read_to_string(witness.path()).unwrap();
        assert_eq!(text.lines().count(), runs);
    }
}

/// A script's step whose answer has the time at which it is given.
fn raw_now(params: Value) -> Answer {
    Box::new(move |_| signed(&params, SERVER_KEY))
}
