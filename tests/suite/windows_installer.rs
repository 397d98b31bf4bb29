//! The setup of the agent for Windows, there or under wine: only where it was built, which the variables `OCO_WINDOWS_SETUP` and,
//! for a later version of the same, `OCO_WINDOWS_SETUP_LATER` name (`ci/cross/windows-e2e`).

use crate::support::mock::MockServer;
use crate::support::windows::{self, named, registry, turn};
use crate::support::{REGISTRATION_KEY, stderr, wait_at_most, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

const FOLDER: &str = r"C:\Program Files\OCO Agent";
const PROGRAM: &str = "oco-agent.exe";
/// What is the service before a setup has replaced it.
const OLDER: &str = "older-agent.exe";
/// As long as a setup waits for a service that cannot stop, and then the scheduler.
const LONG: Duration = Duration::from_secs(180);
const UNINSTALL: &str = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\OCO Agent";
const SERVICE: &str = r"HKLM\System\CurrentControlSet\Services\oco-agent";

/// A computer without the agent, before and after.
struct Computer {
    setup: PathBuf,
    later: PathBuf,
    server: MockServer,
    folder: tempfile::TempDir,
    _turn: windows::Turn,
}

impl Computer {
    /// None where no setup was built.
    fn start() -> Option<Self> {
        let (setup, later) = (named("OCO_WINDOWS_SETUP")?, named("OCO_WINDOWS_SETUP_LATER")?);
        let turn = turn();
        let computer = Self {
            setup,
            later,
            server: MockServer::start(),
            folder: tempfile::tempdir().unwrap(),
            _turn: turn,
        };
        computer.clean();
        Some(computer)
    }

    /// Something that is installed.
    fn installed(&self, name: &str) -> PathBuf {
        windows::on_drive_c("Program Files/OCO Agent").join(name)
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.installed("oco-agent.ini")).unwrap()
    }

    /// Value of a key in the configuration.
    fn setting(&self, key: &str) -> String {
        let config = self.config();
        let value = config
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
        value.unwrap_or_default().trim().to_owned()
    }

    /// Has the service check in every second from now on: a setup asks for no interval, and a minute is as long as tests wait.
    fn check_in_often(&self) {
        let order = |action| {
            let output = self.agent(&["service", action]);
            assert!(output.status.success(), "{action}: {}", stderr(&output));
        };
        order("stop");
        // Read only now: while it runs, it writes keys.
        let config = self.config();
        let often = config.replacen("[agent]", "[agent]\r\nquery-interval = 1", 1);
        assert_ne!(often, config, "the configuration has no section for the agent");
        std::fs::write(self.installed("oco-agent.ini"), often).unwrap();
        order("start");
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.installed("")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A file of answers for this test's server.
    fn answers(&self, agent_key: &str) -> String {
        let file = self.folder.path().join("oco-agent setup.inf");
        let text = format!(
            "[Setup]\r\nLang=english\r\nServerName={}\r\nAgentKey={agent_key}\r\nServerKey=\r\n",
            self.server.agent_url
        );
        std::fs::write(&file, text).unwrap();
        windows::path(&file)
    }

    fn install(&self, answers: &str) -> Output {
        windows::run(&self.setup)
            .arg(format!("/LOADINF={answers}"))
            .arg("/SILENT")
            .output()
            .unwrap()
    }

    fn agent(&self, arguments: &[&str]) -> Output {
        self.run(PROGRAM, arguments)
    }

    /// Runs an installed program.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        windows::run(self.installed(program))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Makes it a computer whose service is another program, as before version 2, though that one does what this agent does.
    fn install_older(&self) {
        std::fs::create_dir_all(self.installed("")).unwrap();
        std::fs::copy(named("OCO_WINDOWS_AGENT").unwrap(), self.installed(OLDER)).unwrap();
        let config = format!(
            "[agent]\r\nquery-interval = 1\r\nagent-key = {REGISTRATION_KEY}\r\n\r\n\
             [server]\r\napi-url = {}\r\nserver-key =\r\n",
            self.server.agent_url
        );
        std::fs::write(self.installed("oco-agent.ini"), config).unwrap();
        for action in ["install", "start"] {
            let output = self.run(OLDER, &["service", action]);
            assert!(output.status.success(), "{action}: {}", stderr(&output));
        }
    }

    /// The end of a job that runs the setup.
    fn wait_for_setup(&self, deployment: i64) -> Value {
        let ended = |job: &Value| job["state"] == "succeeded" || job["state"] == "failed";
        let find = || self.server.jobs(deployment).into_iter().find(ended);
        wait_at_most(LONG, "the setup", find)
    }

    fn is_registered(&self) -> Option<()> {
        (self.server.get("computers")["total"].as_u64()? > 0).then_some(())
    }

    /// The process of the service, if it runs; wine's tool does not tell.
    #[cfg(windows)]
    fn service_process(&self) -> Option<String> {
        let state = windows::run("sc")
            .args(["queryex", "oco-agent"])
            .output()
            .unwrap();
        let state = String::from_utf8_lossy(&state.stdout).into_owned();
        let process = state.lines().find_map(|line| line.trim().strip_prefix("PID"))?;
        let process = process.trim_start_matches([' ', ':']).trim().to_owned();
        (state.contains("RUNNING") && process != "0").then_some(process)
    }

    #[cfg(unix)]
    fn service_process(&self) -> Option<String> {
        None
    }

    /// Waits until the service runs as another process than before. Wine has no scheduler, and its service manager does not start
    /// it again by itself.
    fn wait_for_service(&self, before: Option<&str>) {
        wait_at_most(LONG, "the service to start again", || {
            if cfg!(windows) {
                self.service_process().filter(|now| before != Some(now))?;
                return Some(());
            }
            let started = self.agent(&["service", "start"]);
            started.status.success().then_some(())
        });
    }

    /// Makes it a computer without the agent, whatever a test has left.
    fn clean(&self) {
        for program in [PROGRAM, OLDER] {
            if self.installed(program).exists() {
                self.run(program, &["service", "delete"]);
            }
        }
        let _ = std::fs::remove_dir_all(self.installed(""));
        registry(&["delete", UNINSTALL, "/f"]);
    }
}

impl Drop for Computer {
    fn drop(&mut self) {
        self.clean();
    }
}

/// A value of the registry; empty if there is none.
fn value(key: &str, name: &str) -> String {
    let output = registry(&["query", key, "/v", name]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
    let value = line.and_then(|line| line.split_once("REG_")?.1.split_once(char::is_whitespace));
    value.map_or(String::new(), |(_, value)| value.trim().to_owned())
}

/// What the service is started by.
fn command_line() -> String {
    format!("\"{FOLDER}\\{PROGRAM}\" service run")
}

#[test]
fn it_installs_silently_upgrades_itself_by_a_job_and_uninstalls_without_a_trace() {
    let Some(computer) = Computer::start() else { return };

    let output = computer.install(&computer.answers(REGISTRATION_KEY));
    assert!(output.status.success(), "{:?} {}", output.status, stderr(&output));
    for name in [
        "oco-agent.exe",
        "oco-agent.ini",
        "uninstall.exe",
        "service-checks",
    ] {
        assert!(
            computer.installed(name).exists(),
            "{name}: {:?}",
            computer.names()
        );
    }
    assert_eq!(computer.setting("api-url"), computer.server.agent_url);
    assert!(
        !windows::others_can_read(&computer.installed("oco-agent.ini")),
        "others can read the configuration"
    );
    assert_eq!(value(SERVICE, "ImagePath"), command_line());
    assert_eq!(value(SERVICE, "Start"), "0x2", "it starts with the computer");
    assert_eq!(value(UNINSTALL, "DisplayVersion"), env!("CARGO_PKG_VERSION"));
    wait_for("the service's registration", || computer.is_registered());
    wait_for("its keys", || {
        (!computer.setting("server-key").is_empty()).then_some(())
    });
    assert_ne!(computer.setting("agent-key"), REGISTRATION_KEY);

    computer.check_in_often();
    let before_upgrade = computer.service_process();
    // An upgrade that is ordered as a job, as computers without anybody at them get it.
    let before = computer.config();
    let setup = std::fs::read(&computer.later).unwrap();
    let procedure = "setup.exe /LOADINF=other.inf /SILENT";
    let files = [
        ("setup.exe", setup.as_slice()),
        (
            "other.inf",
            b"[Setup]\r\nServerName=elsewhere.example\r\nAgentKey=other\r\n".as_slice(),
        ),
    ];
    let package = computer.server.package("oco-agent", procedure, "0", &files);
    let deployment = computer.server.deploy(&[package], 0);
    let job = computer.wait_for_setup(deployment);
    assert_eq!(
        (&job["state"], &job["return_code"]),
        (&json!("succeeded"), &json!(0)),
        "{job}"
    );
    assert_eq!(value(UNINSTALL, "DisplayVersion"), "99.0.0");
    assert_eq!(computer.config(), before, "an upgrade keeps the configuration");
    wait_for("the service to leave for the new version", || {
        let log = std::fs::read_to_string(computer.installed("oco-agent.log")).unwrap_or_default();
        log.contains("leaving once no job runs").then_some(())
    });
    computer.wait_for_service(before_upgrade.as_deref());

    let uninstall = windows::run(computer.installed("uninstall.exe"))
        .arg("/S")
        .output()
        .unwrap();
    assert!(uninstall.status.success(), "{}", stderr(&uninstall));
    // It goes on as a copy of itself, which is not waited for.
    wait_for("the end of the removal", || {
        let gone = !computer.installed("").exists() && value(UNINSTALL, "DisplayVersion").is_empty();
        gone.then_some(())
    });
    assert_eq!(value(SERVICE, "ImagePath"), "", "the service is gone");
}

#[test]
fn a_job_of_an_older_agent_replaces_that_agent() {
    let Some(computer) = Computer::start() else { return };
    computer.install_older();
    let older = computer.service_process();
    wait_for("the older agent's registration", || computer.is_registered());
    let setup = std::fs::read(&computer.setup).unwrap();
    let files = [("setup.exe", setup.as_slice())];
    let package = computer
        .server
        .package("oco-agent", "setup.exe /SILENT", "0", &files);
    let job = computer.wait_for_setup(computer.server.deploy(&[package], 0));
    assert_eq!(
        (&job["state"], &job["return_code"]),
        (&json!("succeeded"), &json!(0)),
        "{job}"
    );
    assert_eq!(value(SERVICE, "ImagePath"), command_line());
    // The older one stops once it has told of its job.
    computer.wait_for_service(older.as_deref());
}

#[test]
fn what_is_the_administrators_own_survives_the_removal() {
    let Some(computer) = Computer::start() else { return };
    let output = computer.install(&computer.answers(REGISTRATION_KEY));
    assert!(output.status.success(), "{:?} {}", output.status, stderr(&output));
    std::fs::write(
        computer.installed("service-checks/own.cmd"),
        "@echo 0 own - fine\r\n",
    )
    .unwrap();
    windows::run(computer.installed("uninstall.exe"))
        .arg("/S")
        .output()
        .unwrap();
    wait_for("the end of the removal", || {
        value(UNINSTALL, "DisplayVersion").is_empty().then_some(())
    });
    assert_eq!(computer.names(), ["service-checks"]);
}

#[test]
fn a_setup_without_its_answers_installs_nothing() {
    let Some(computer) = Computer::start() else { return };
    let output = computer.install(r"Z:\missing\oco-agent-setup.inf");
    assert_eq!(output.status.code(), Some(2));
    assert!(!computer.installed("").exists());
    assert_eq!(value(UNINSTALL, "DisplayVersion"), "");
}
