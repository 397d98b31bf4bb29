//! What comes after a job that succeeded. No agent of these tests can reach the real `shutdown`: their search path is one
//! folder with a stand-in that writes down how it was called.

#![cfg(unix)]

use crate::support::mock::MockServer;
use crate::support::{Agent, Daemon, shell_program, stderr, wait_for};
use std::path::PathBuf;
use std::process::{Command, Output};

const RESTART: i64 = 1;
const SHUTDOWN: i64 = 2;
const EXIT: i64 = 3;

/// A server with one registered agent that has only these programs.
struct Setup {
    server: MockServer,
    agent: Agent,
}

impl Setup {
    /// `who` is what the stand-in of the program of that name prints.
    fn new(who: &str) -> Self {
        let server = MockServer::start();
        let setup = Self {
            agent: Agent::new(&server.agent_url),
            server,
        };
        let log = |name: &str| format!("echo \"{name} $*\" >> {}", setup.calls_file().display());
        setup.install("shutdown", &log("shutdown"));
        setup.install("wall", &log("wall"));
        setup.install("loginctl", "exit 1");
        setup.install("who", &format!("printf '{who}'"));
        let output = setup.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        setup
    }

    fn install(&self, name: &str, script: &str) {
        shell_program(&self.programs(), name, script);
    }

    fn programs(&self) -> PathBuf {
        self.agent.folder().join("programs")
    }

    fn calls_file(&self) -> PathBuf {
        self.agent.folder().join("calls")
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.calls_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn check_in(&self) -> Output {
        self.command().output().unwrap()
    }

    fn daemon(&self) -> Daemon {
        self.agent.daemon_by(self.command())
    }

    fn command(&self) -> Command {
        let mut command = self.agent.command();
        command.env("PATH", self.programs());
        command
    }

    /// Deploys a job that succeeds and wants something then.
    fn deploy(&self, procedure: &str, post_action: i64) -> i64 {
        let package =
            self.server
                .package_with_post_action(&format!("package {post_action}"), procedure, post_action);
        self.server.deploy(&[package], 0)
    }

    fn state(&self, deployment: i64) -> String {
        self.server.jobs(deployment)[0]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[cfg(target_os = "linux")] // `wall` takes the message as arguments
#[test]
fn users_are_told_of_the_restart_and_no_further_job_runs_before_it() {
    let setup = Setup::new("ada tty1 2026-11-22 06:00\\n");
    let first = setup.deploy("true", RESTART);
    let second = setup.deploy("true", 0);
    for _ in 0..2 {
        let output = setup.check_in();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(
            (setup.state(first).as_str(), setup.state(second).as_str()),
            ("succeeded", "pending")
        );
    }
    let calls = setup.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(
        calls[0].starts_with("wall ") && calls[0].contains("restarted in 5 minutes"),
        "{calls:?}"
    );
    assert_eq!(calls[1], "shutdown -r +5");
}

#[test]
fn a_computer_without_users_is_shut_down_at_once() {
    let setup = Setup::new("");
    let deployment = setup.deploy("true", SHUTDOWN);
    assert!(setup.check_in().status.success());
    assert_eq!(setup.state(deployment), "succeeded");
    assert_eq!(setup.calls(), ["shutdown -h +0"]);
}

#[test]
fn a_job_that_fails_restarts_nothing() {
    let setup = Setup::new("");
    let deployment = setup.deploy("exit 1", RESTART);
    assert!(setup.check_in().status.success());
    assert_eq!(setup.state(deployment), "failed");
    assert_eq!(setup.calls(), Vec::<String>::new());
}

#[test]
fn the_daemon_ends_by_itself_for_its_new_version_and_leaves_the_other_jobs_to_it() {
    let setup = Setup::new("");
    let first = setup.deploy("true", EXIT);
    let second = setup.deploy("true", 0);
    assert_eq!(setup.daemon().wait(), Some(0));
    assert_eq!(
        (setup.state(first).as_str(), setup.state(second).as_str()),
        ("succeeded", "pending")
    );
    let daemon = setup.daemon();
    setup
        .server
        .wait_for_job(second, |job| job["state"] == "succeeded");
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(setup.calls(), Vec::<String>::new());
}

#[test]
fn a_hangup_ends_the_idle_daemon_for_its_new_version() {
    let setup = Setup::new("");
    let mut daemon = setup.daemon();
    wait_for("the first check-in", || {
        setup.agent.log().contains("checked in").then_some(())
    });
    daemon.signal("HUP");
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_hangup_from_a_job_waits_for_that_job_however_long_and_leaves_the_others() {
    let setup = Setup::new("");
    setup.agent.set("query-interval = 1");
    let gate = setup.agent.folder().join("gate");
    let upgrade = format!(
        "read agent < {}; kill -HUP $agent; echo upgraded; until [ -e {} ]; do /bin/sleep 0.1; done; echo done",
        setup.agent.folder().join("oco-agent.lock").display(),
        gate.display()
    );
    let packages = [
        setup.server.package("upgrade", &upgrade, "0", &[]),
        setup.server.package("other", "true", "0", &[]),
    ];
    let deployment = setup.server.deploy(&packages, 0);
    let mut daemon = setup.daemon();
    setup.server.wait_for_job(deployment, |job| {
        job["state"] == "executing" && job["output"] == "upgraded\n"
    });
    let check_ins = || setup.agent.log().matches("checked in").count();
    let before = check_ins();
    wait_for("the signal", || {
        setup
            .agent
            .log()
            .contains("leaving once no job runs")
            .then_some(())
    });
    wait_for("check-ins while it leaves", || {
        (check_ins() > before + 1).then_some(())
    });
    std::fs::write(&gate, "").unwrap();
    assert_eq!(daemon.wait(), Some(0));
    let jobs = setup.server.jobs(deployment);
    assert_eq!(
        (jobs[0]["state"].as_str(), jobs[0]["output"].as_str()),
        (Some("succeeded"), Some("upgraded\ndone\n"))
    );
    assert_eq!(jobs[1]["state"], "pending");
}

#[test]
fn killed_while_it_orders_the_restart_the_agent_orders_it_again() {
    let setup = Setup::new("");
    let gate = setup.agent.folder().join("gate");
    let calls = setup.calls_file();
    let blocks = format!(
        "echo \"shutdown $*\" >> {}; read line < {}",
        calls.display(),
        gate.display()
    );
    let made = Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    setup.install("shutdown", &blocks);
    let deployment = setup.deploy("true", RESTART);
    let daemon = setup.daemon();
    wait_for("the order", || (setup.calls().len() == 1).then_some(()));
    daemon.kill();
    // Lets the first one end.
    std::fs::write(&gate, "go\n").unwrap();
    setup.install(
        "shutdown",
        &format!("echo \"shutdown $*\" >> {}", calls.display()),
    );
    assert!(setup.check_in().status.success());
    assert_eq!(setup.state(deployment), "succeeded");
    assert_eq!(setup.calls(), ["shutdown -r +0", "shutdown -r +0"]);
    assert!(setup.check_in().status.success());
    assert_eq!(
        setup.calls().len(),
        2,
        "once it was ordered, it is not ordered again"
    );
}
