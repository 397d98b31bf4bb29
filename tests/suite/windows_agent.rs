//! The agent for Windows, under wine, against a mock server of this computer: only where a program was built for it, which
//! the variable `OCO_WINDOWS_AGENT` names (`ci/cross/windows-e2e`).

#![cfg(target_os = "linux")]

use crate::support::mock::MockServer;
use crate::support::{Agent, stderr, wait_for};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// They share one registry, and one service manager.
static WINE: Mutex<()> = Mutex::new(());

/// A computer with the agent.
struct Computer {
    program: PathBuf,
    agent: Agent,
    server: MockServer,
    _turn: MutexGuard<'static, ()>,
}

impl Computer {
    /// None where no program was built.
    #[allow(clippy::print_stderr)] // says why a test proves nothing
    fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("OCO_WINDOWS_AGENT") else {
            eprintln!("skipped: OCO_WINDOWS_AGENT names no agent for Windows");
            return None;
        };
        let turn = WINE.lock().unwrap_or_else(PoisonError::into_inner);
        let server = MockServer::start();
        Some(Self {
            program: program.into(),
            agent: Agent::new(&server.agent_url),
            server,
            _turn: turn,
        })
    }

    /// The agent with its configuration and these arguments.
    fn agent(&self, arguments: &[&str]) -> Output {
        let mut command = wine(&self.program);
        command
            .args(["--config", &windows_path(&self.agent.config_path())])
            .args(arguments);
        command.output().unwrap()
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

fn wine(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("wine");
    command.arg(program.as_ref()).env("NO_PROXY", "127.0.0.1");
    for scheme in ["http", "https", "all"] {
        let name = format!("{scheme}_proxy");
        command.env_remove(name.to_uppercase()).env_remove(name);
    }
    command
}

/// What a path of this computer is called there.
fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display().to_string().replace('/', "\\"))
}

fn registry(arguments: &[&str]) -> Output {
    wine("reg").args(arguments).output().unwrap()
}

/// A key that is removed with all that is in it, before and after.
struct Key(&'static str);

impl Key {
    fn new(path: &'static str) -> Self {
        registry(&["delete", path, "/f"]);
        Self(path)
    }

    fn add(&self, name: &str, kind: &str, value: &str) {
        let output = registry(&["add", self.0, "/v", name, "/t", kind, "/d", value, "/f"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// What the tool says of the key and those below it; empty where there is none.
    fn content(&self) -> String {
        let output = registry(&["query", self.0, "/s"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        registry(&["delete", self.0, "/f"]);
    }
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

/// Whether a process of this computer has that in its command line.
fn is_running(part: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(part))
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
        windows_path(&witness),
        windows_path(&gate)
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
