//! The agent for Windows, there or under wine, against a mock server of this computer: only where a program was built for it,
//! which the variable `OCO_WINDOWS_AGENT` names (`ci/cross/windows-e2e`).

use crate::support::mock::MockServer;
use crate::support::windows::{self, Key, is_running, named, turn};
use crate::support::{Agent, stderr, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};

/// A computer with the agent.
struct Computer {
    program: PathBuf,
    agent: Agent,
    server: MockServer,
    _turn: windows::Turn,
}

impl Computer {
    /// None where no program was built.
    fn start() -> Option<Self> {
        let program = named("OCO_WINDOWS_AGENT")?;
        let turn = turn();
        let server = MockServer::start();
        Some(Self {
            program,
            agent: Agent::new(&server.agent_url),
            server,
            _turn: turn,
        })
    }

    /// The agent with its configuration and these arguments.
    fn agent(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = windows::run(&self.program);
        command.args(["--config", &windows::path(&self.agent.config_path())]);
        command
    }

    /// Deploys a procedure that says that it runs, and ends once `gate` is there with a copy of its package's file.
    fn deploy_gated(&self, name: &str) -> i64 {
        let path = |name: &str| windows::path(&self.agent.folder().join(name));
        // A file of commands: the shell of wine 8 takes no block within a loop.
        let script = format!(
            "@echo off\r\necho {name}>> \"{}\"\r\n:wait\r\nif not exist \"{}\" goto wait\r\n\
             copy /y file \"{}\" >nul\r\nexit /b 0\r\n",
            path("begun"),
            path("gate"),
            path(name)
        );
        let files = [("file", b"content".as_slice()), ("gated.cmd", script.as_bytes())];
        let package = self.server.package(name, "gated.cmd", "0", &files);
        self.server.deploy(&[package], 0)
    }

    /// Which gated procedures have begun.
    fn begun(&self) -> String {
        let begun = std::fs::read_to_string(self.agent.folder().join("begun")).unwrap_or_default();
        begun.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What the service has logged so far.
    fn service_log(&self) -> String {
        std::fs::read_to_string(self.agent.folder().join("oco-agent.log")).unwrap_or_default()
    }

    fn check_in(&self, arguments: &[&str]) {
        let output = self.agent(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn a_service_check_is_run_and_reported() {
    let Some(computer) = Computer::start() else { return };
    let checks = computer.agent.folder().join("service-checks");
    std::fs::create_dir(&checks).unwrap();
    let check = "@echo 0 \"Disk C\" usage=17;80;90 17 percent used\r\n";
    std::fs::write(checks.join("disk.cmd"), check).unwrap();
    computer.check_in(&[]);
    let services = computer.server.get("computers/1")["inventory"]["services"].clone();
    assert_eq!(services[0]["name"], "Disk C", "{services}");
    assert_eq!(services[0]["metrics"], "usage=17;80;90", "{services}");
    assert_eq!(services[0]["details"], "17 percent used", "{services}");
}

#[test]
fn it_registers_and_its_inventory_is_this_computers() {
    let Some(computer) = Computer::start() else { return };
    let installed = Key::new(r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\OcoTest");
    installed.add("DisplayName", "REG_SZ", "OCO test program");
    installed.add("DisplayVersion", "REG_SZ", "3.14");
    computer.check_in(&[]);
    assert_ne!(computer.agent.setting("server-key"), "");
    assert_ne!(
        computer.agent.setting("agent-key"),
        crate::support::REGISTRATION_KEY
    );
    let stored = computer.server.get("computers/1");
    let inventory = &stored["inventory"];
    let software = inventory["software"].as_array().unwrap();
    let found = software
        .iter()
        .find(|program| program["name"] == "OCO test program");
    assert_eq!(found.unwrap()["version"], "3.14", "{software:?}");
    assert!(
        inventory["os"].as_str().unwrap().contains("Windows"),
        "{inventory}"
    );
    assert_eq!(inventory["architecture"], "AMD64");
    assert_eq!(inventory["kernel_version"], "-");
    assert!(
        inventory["ram"]
            .to_string()
            .trim_matches('"')
            .parse::<u64>()
            .unwrap()
            > 1 << 20
    );
    assert_eq!(computer.server.findings(), Vec::<String>::new());
}

#[test]
fn a_package_is_unpacked_and_its_procedure_run_by_the_systems_shell() {
    let Some(computer) = Computer::start() else { return };
    computer.check_in(&[]);
    let script = b"@echo off\r\ntype data\\payload.txt\r\necho to stderr 1>&2\r\nexit /b 3\r\n".as_slice();
    let files = [
        ("setup.cmd", script),
        ("data/payload.txt", b"payload\r\n".as_slice()),
    ];
    let package = computer.server.package("tool", "setup.cmd", "0,3", &files);
    let deployment = computer.server.deploy(&[package], 0);
    computer.check_in(&[]);
    let jobs = computer.server.jobs(deployment);
    assert_eq!(jobs[0]["state"], "succeeded", "{jobs:?}");
    assert_eq!(jobs[0]["return_code"], 3);
    let output = jobs[0]["output"].as_str().unwrap();
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines, ["payload", "to stderr"]);
    assert!(computer.agent.staging_is_empty());
}

#[test]
fn a_job_that_exceeds_its_time_is_ended_with_all_its_processes() {
    let Some(computer) = Computer::start() else { return };
    computer.check_in(&[]);
    computer.agent.set("job-timeout = 3");
    let folder = computer.agent.folder().file_name().unwrap();
    let endless = format!("for /l %i in () do @rem {}", folder.display());
    let procedure = format!("echo begun& cmd /d /c \"{endless}\"");
    let package = computer.server.package("endless", &procedure, "0", &[]);
    let deployment = computer.server.deploy(&[package], 0);
    computer.check_in(&[]);
    let jobs = computer.server.jobs(deployment);
    assert_eq!(
        (&jobs[0]["state"], &jobs[0]["return_code"]),
        (&json!("failed"), &json!(-9999)),
        "{jobs:?}"
    );
    assert!(
        jobs[0]["output"].as_str().unwrap().contains("time limit"),
        "{jobs:?}"
    );
    wait_for("the processes' end", || (!is_running(&endless)).then_some(()));
}

#[test]
fn no_job_starts_beside_one_of_a_killed_agent_and_its_package_stays_until_it_has_ended() {
    let Some(computer) = Computer::start() else { return };
    computer.agent.set("query-interval = 1");
    computer.check_in(&[]);
    let first = computer.deploy_gated("first");
    let daemon = computer.agent.daemon_by(computer.command());
    wait_for("the procedure", || (computer.begun() == "first").then_some(()));
    daemon.kill();

    let second = computer.deploy_gated("second");
    let _daemon = computer.agent.daemon_by(computer.command());
    let job = computer
        .server
        .wait_for_job(first, |job| job["state"] == "failed");
    assert_eq!(job["return_code"], -9999, "{job}");
    wait_for("the second job to wait", || {
        let log = computer.agent.log();
        let said = log.contains("a job of an earlier agent still runs");
        (said && log.contains("wait until a job has ended")).then_some(())
    });
    assert_eq!(computer.begun(), "first");

    std::fs::write(computer.agent.folder().join("gate"), "").unwrap();
    let job = computer
        .server
        .wait_for_job(second, |job| job["state"] == "succeeded");
    assert_eq!(job["return_code"], 0);
    assert_eq!(computer.begun(), "first second");
    for copy in ["first", "second"] {
        let copy = std::fs::read_to_string(computer.agent.folder().join(copy)).unwrap();
        assert_eq!(copy, "content");
    }
    wait_for("the packages to be removed", || {
        computer.agent.staging_is_empty().then_some(())
    });
}

#[test]
fn the_time_limit_of_a_job_outlives_its_agent() {
    let Some(computer) = Computer::start() else { return };
    computer.agent.set("query-interval = 1");
    computer.check_in(&[]);
    computer.agent.set("job-timeout = 5");
    let folder = computer.agent.folder().file_name().unwrap();
    let endless = format!("for /l %i in () do @rem {}", folder.display());
    // Until then the shell may have been started, and not have begun.
    let begun = computer.agent.folder().join("begun");
    let procedure = format!("echo x> \"{}\"& cmd /d /c \"{endless}\"", windows::path(&begun));
    let package = computer.server.package("endless", &procedure, "0", &[]);
    computer.server.deploy(&[package], 0);
    let daemon = computer.agent.daemon_by(computer.command());
    wait_for("the procedure", || {
        (begun.exists() && is_running(&endless)).then_some(())
    });
    daemon.kill();
    let _daemon = computer.agent.daemon_by(computer.command());
    wait_for("the processes' end", || (!is_running(&endless)).then_some(()));
    let log = computer.agent.log();
    assert!(
        log.contains("the time of an earlier agent's job is over"),
        "{log}"
    );
}

#[test]
fn policies_of_the_registry_come_and_go() {
    let Some(computer) = Computer::start() else { return };
    let key = Key::new(r"HKLM\Software\OcoTestPolicies");
    key.add("theirs", "REG_SZ", "kept");
    computer.server.put(
        "policies",
        &json!({"machine": {
            r"REGISTRY:Software\OcoTestPolicies\Browser:Homepage": "https://example.org",
            r"REGISTRY:Software\OcoTestPolicies\Browser:Blocked": ["a", "b"],
            r"REGISTRY:Software\OcoTestPolicies:Level": 7,
        }}),
    );
    // The first answer to a new computer has none.
    computer.check_in(&[]);
    computer.check_in(&["--force"]);
    let content = key.content();
    for expected in [
        "Homepage    REG_SZ    https://example.org",
        "Level    REG_DWORD    0x7",
        "2    REG_SZ    b",
    ] {
        assert!(content.contains(expected), "{expected}: {content}");
    }
    computer.server.put("policies", &json!({"machine": {}}));
    computer.check_in(&["--force"]);
    let content = key.content();
    assert!(content.contains("theirs    REG_SZ    kept"), "{content}");
    for gone in ["Browser", "Blocked", "Level"] {
        assert!(!content.contains(gone), "{content}");
    }
}

/// The service, deleted when the test is over.
struct Service<'a>(&'a Computer);

impl Drop for Service<'_> {
    fn drop(&mut self) {
        self.0.agent(&["service", "delete"]);
    }
}

#[test]
fn it_is_a_service_that_finishes_its_job_before_it_stops() {
    let Some(computer) = Computer::start() else { return };
    computer.agent.set("query-interval = 1");
    let must = |arguments: &[&str]| {
        let output = computer.agent(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    };
    // The service is another user than this test, and wants a folder that is nobody's but administrators'.
    must(&["service", "configure"]);
    must(&["service", "install"]);
    let _service = Service(&computer);
    must(&["service", "start"]);
    let registered = || {
        computer.server.get("computers")["total"]
            .as_u64()
            .filter(|total| *total > 0)
    };
    wait_for("the service's registration", registered);
    let witness = computer.agent.folder().join("begun");
    let gate = computer.agent.folder().join("gate");
    let procedure = format!(
        "echo x> \"{}\"& for /l %i in (1,0,2) do @if exist \"{}\" exit 0",
        windows::path(&witness),
        windows::path(&gate)
    );
    let package = computer.server.package("slow", &procedure, "0", &[]);
    let deployment = computer.server.deploy(&[package], 0);
    wait_for("the job's begin", || witness.exists().then_some(()));
    std::thread::scope(|threads| {
        let stop = threads.spawn(|| must(&["service", "stop"]));
        let stopping = || {
            computer
                .service_log()
                .contains("a running job is let finish")
                .then_some(())
        };
        wait_for("the service to know of it", stopping);
        assert!(!stop.is_finished(), "the job is not over");
        std::fs::write(&gate, "").unwrap();
    });
    let job = computer
        .server
        .wait_for_job(deployment, |job: &Value| job["state"] == "succeeded");
    assert_eq!(job["return_code"], 0);
}
