//! The package for macOS, as far as it can be looked at anywhere: the service's description, and the scripts against a
//! launchd of the test's own.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use oco_agent::config;
use oco_agent::host::recorded::{RecordedHost, Recording};
use oco_agent::host::{Host, Visibility};
use plist::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const LABEL: &str = "systems.sieber.oco-agent";

/// A launchd that has a service while there is `loaded`, which is what it prints. A bootout ends before the service does
/// where there is `lingers`, and at the test's will where there is the pipe `wait`; a bootstrap fails for a loaded service,
/// and where there is `refuses`; nothing can be signalled that has no process.
const LAUNCHCTL: &str = r#"
[ "$1" = print ] || echo "$*" >> "$MAC/calls"
case $1 in
    print) [ -e "$MAC/loaded" ] || exit 113; echo 'system/x = {'; cat "$MAC/loaded" ;;
    bootout)
        [ ! -p "$MAC/wait" ] || read -r line < "$MAC/wait"
        [ ! -e "$MAC/lingers" ] || { echo 'Boot-out failed: 36: Operation now in progress' >&2; exit 36; }
        rm -f "$MAC/loaded" ;;
    bootstrap)
        [ ! -e "$MAC/refuses" ] && [ ! -e "$MAC/loaded" ] || { echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5; } ;;
    kill) grep -q 'pid = ' "$MAC/loaded" || { echo 'No process to signal.' >&2; exit 3; } ;;
esac
"#;

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/macos")
        .join(file)
}

/// A computer's files, and programs that take note of how they are called.
struct Mac {
    folder: TempDir,
}

impl Mac {
    fn new() -> Self {
        let mac = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(mac.path("var/log")).unwrap();
        mac.program("launchctl", LAUNCHCTL);
        mac.program("logger", "echo \"$*\" >> \"$MAC/syslog\"");
        mac.program("pkgutil", "echo \"pkgutil $*\" >> \"$MAC/calls\"");
        mac
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn program(&self, name: &str, script: &str) {
        self.file(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"), 0o755);
    }

    fn file(&self, path: &str, content: &str, mode: u32) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// The agent runs as this process.
    fn set_running(&self, pid: u32) {
        self.file(
            "loaded",
            &format!("\tstate = running\n\tpid = {pid}\n\tforks = 0\n"),
            0o644,
        );
    }

    fn command(&self, script: &Path, arguments: &[&str]) -> Command {
        let path = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("sh");
        command
            .arg(script)
            .args(arguments)
            .env("PATH", path)
            .env("MAC", self.folder.path())
            .env("OCO_ROOT", self.folder.path())
            .stdout(Stdio::null());
        command
    }

    fn run(&self, script: &Path, arguments: &[&str]) {
        let status = self.command(script, arguments).status().unwrap();
        assert!(status.success(), "{} {arguments:?}", script.display());
    }

    fn control(&self, action: &str) {
        self.run(&packaging("service-control"), &[action]);
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let content = std::fs::read_to_string(self.path(file)).unwrap_or_default();
        content.lines().map(str::to_owned).collect()
    }

    fn calls(&self) -> Vec<String> {
        self.lines("calls")
    }

    fn wait_for_lines(&self, file: &str, number: usize) {
        while self.lines(file).len() < number {
            std::thread::yield_now();
        }
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.path(file)).unwrap();
    }

    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// From now on the scripts' pauses last until the test lets them go on.
    fn hold_pauses(&self) -> Pauses<'_> {
        self.program(
            "sleep",
            "echo pause >> \"$MAC/pauses\"; read -r line < \"$MAC/pause\"",
        );
        Pauses {
            mac: self,
            pipe: self.pipe("pause"),
            ended: 0,
        }
    }
}

struct Pauses<'a> {
    mac: &'a Mac,
    pipe: PathBuf,
    ended: usize,
}

impl Pauses<'_> {
    fn wait_for_next(&self) {
        self.mac.wait_for_lines("pauses", self.ended + 1);
    }

    fn end(&mut self) {
        std::fs::write(&self.pipe, "\n").unwrap();
        self.ended += 1;
    }
}

/// A process that the test has nothing else to do with.
struct Stranger(Child);

impl Stranger {
    fn start(script: &str) -> Self {
        Self(Command::new("sh").args(["-c", script]).spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started() -> [String; 2] {
    [
        format!("enable system/{LABEL}"),
        format!("bootstrap system /Library/LaunchDaemons/{LABEL}.plist"),
    ]
}

#[test]
fn launchd_keeps_the_agent_running_and_lets_jobs_finish() {
    let description: Value = plist::from_file(packaging(&format!("{LABEL}.plist"))).unwrap();
    let description = description.as_dictionary().unwrap();
    let text = |key: &str| description.get(key).and_then(Value::as_string);
    let flag = |key: &str| description.get(key).and_then(Value::as_boolean);
    assert_eq!(text("Label"), Some(LABEL));
    let arguments = description
        .get("ProgramArguments")
        .and_then(Value::as_array)
        .unwrap();
    let arguments: Vec<_> = arguments.iter().filter_map(Value::as_string).collect();
    assert_eq!(arguments, ["/opt/oco-agent/oco-agent", "--daemon"]);
    for key in ["RunAtLoad", "KeepAlive", "AbandonProcessGroup"] {
        assert_eq!(flag(key), Some(true), "{key}");
    }
    let number = |key: &str| description.get(key).and_then(Value::as_signed_integer);
    assert_eq!((number("ExitTimeOut"), number("Umask")), (Some(320), Some(0o022)));
    let environment = description
        .get("EnvironmentVariables")
        .and_then(Value::as_dictionary);
    let path = environment.and_then(|environment| environment.get("PATH")?.as_string());
    assert!(
        path.unwrap().ends_with(":/usr/local/bin"),
        "others may write into it"
    );
    let rotation = std::fs::read_to_string(packaging("newsyslog.conf")).unwrap();
    assert!(rotation.contains(text("StandardErrorPath").unwrap()));
}

#[test]
fn the_first_installation_makes_a_private_configuration_and_the_next_keeps_it() {
    let mac = Mac::new();
    mac.file("opt/oco-agent/oco-agent.ini.example", "[agent]\n", 0o600);
    let volume = mac.folder.path().to_str().unwrap();
    let install = || mac.run(&packaging("scripts/postinstall"), &["package", "/", volume]);
    install();
    let ini = mac.path("opt/oco-agent/oco-agent.ini");
    assert_eq!(std::fs::read_to_string(&ini).unwrap(), "[agent]\n");
    assert_eq!(ini.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&ini, "[agent]\nagent-key = own\n").unwrap();
    install();
    assert!(std::fs::read_to_string(&ini).unwrap().contains("own"));
    assert_eq!(std::fs::read_dir(mac.path("opt/oco-agent")).unwrap().count(), 2);
    assert!(mac.calls().is_empty(), "nothing on another volume runs");
}

#[test]
fn an_older_agent_is_told_from_an_empty_folder_and_from_this_one() {
    let mac = Mac::new();
    let volume = mac.folder.path().to_str().unwrap();
    let is_older = || {
        mac.run(&packaging("scripts/preinstall"), &["package", "/", volume]);
        mac.path("opt/oco-agent/.replaces-older").exists()
    };
    assert!(!is_older());
    mac.file("opt/oco-agent/oco-agent", "", 0o755);
    assert!(is_older());
    mac.file("opt/oco-agent/service-control", "", 0o755);
    assert!(!is_older());
}

#[test]
fn a_running_agent_is_asked_to_make_way_and_one_that_does_not_run_is_started() {
    let mac = Mac::new();
    mac.control("renew");
    assert_eq!(mac.calls(), started());
    mac.set_running(std::process::id());
    mac.control("renew");
    assert_eq!(mac.calls().pop().unwrap(), format!("kill SIGHUP system/{LABEL}"));
}

#[test]
fn an_agent_that_launchd_is_about_to_start_again_is_started_at_once() {
    let mac = Mac::new();
    mac.file("loaded", "\tstate = spawn scheduled\n", 0o644);
    mac.control("renew");
    let expected = ["kill SIGHUP", "kickstart"].map(|call| format!("{call} system/{LABEL}"));
    assert_eq!(mac.calls(), expected);
    assert_eq!(mac.lines("syslog"), [""; 0]);
}

#[test]
fn an_older_agent_is_replaced_once_its_job_has_ended() {
    let mac = Mac::new();
    let job = Stranger::start("exec sleep 600");
    mac.set_running(job.0.id());
    let mut pauses = mac.hold_pauses();
    mac.program("pgrep", "[ ! -e \"$MAC/ended\" ]");
    mac.control("replace-older");
    pauses.wait_for_next();
    assert!(mac.calls().is_empty(), "its job still runs");
    mac.file("ended", "", 0o644);
    pauses.end();
    mac.wait_for_lines("calls", 3);
    let mut expected = vec![format!("bootout system/{LABEL}")];
    expected.extend(started());
    assert_eq!(mac.calls(), expected);
}

#[test]
fn an_older_agent_is_replaced_only_when_launchd_has_let_go_of_it() {
    let mac = Mac::new();
    let agent = Stranger::start("exec sleep 600");
    mac.set_running(agent.0.id());
    mac.program("pgrep", "exit 1");
    mac.file("lingers", "", 0o644);
    mac.file("refuses", "", 0o644);
    let mut pauses = mac.hold_pauses();
    mac.control("replace-older");
    pauses.wait_for_next();
    let mut expected = vec![format!("bootout system/{LABEL}")];
    assert_eq!(mac.calls(), expected, "it has not ended yet");
    mac.remove("loaded");
    pauses.end();
    pauses.wait_for_next();
    expected.extend(started());
    assert_eq!(mac.calls(), expected, "it is gone, but not for launchd");
    mac.remove("refuses");
    pauses.end();
    mac.wait_for_lines("calls", 4);
    assert_eq!(mac.calls().last(), started().last());
    assert_eq!(mac.lines("syslog"), [""; 0]);
}

#[test]
fn what_launchd_refuses_for_good_is_told_to_the_administrator() {
    for (obstacle, reason) in [
        ("lingers", "36: Operation now in progress"),
        ("refuses", "5: Input/output error"),
    ] {
        let mac = Mac::new();
        let agent = Stranger::start("exec sleep 600");
        mac.set_running(agent.0.id());
        mac.program("pgrep", "exit 1");
        mac.program("sleep", "");
        mac.file(obstacle, "", 0o644);
        mac.control("replace-older");
        mac.wait_for_lines("syslog", 1);
        for file in ["syslog", "var/log/oco-agent.log"] {
            let told = mac.lines(file);
            assert_eq!(told.len(), 1, "{file}");
            assert!(told[0].contains(reason) && told[0].contains(LABEL), "{told:?}");
        }
    }
}

#[test]
fn a_job_that_removes_the_agent_is_not_waited_for_by_itself() {
    let mac = Mac::new();
    let wait = mac.pipe("wait");
    // The test is the agent, so the script is its job: it ends although the agent has not.
    mac.set_running(std::process::id());
    mac.control("stop");
    assert!(mac.path("loaded").exists());
    std::fs::write(&wait, "\n").unwrap();
    while mac.path("loaded").exists() {
        std::thread::yield_now();
    }
    std::fs::remove_file(&wait).unwrap();
    let agent = Stranger::start("exec sleep 600");
    mac.set_running(agent.0.id());
    mac.control("stop");
    assert!(!mac.path("loaded").exists(), "somebody else waits");
    mac.control("stop");
    assert_eq!(mac.calls().len(), 2, "one that is not there is not stopped");
}

#[test]
fn a_removal_waits_until_the_agent_has_ended() {
    let mac = Mac::new();
    let agent = Stranger::start("exec sleep 600");
    mac.set_running(agent.0.id());
    mac.file("lingers", "", 0o644);
    let mut pauses = mac.hold_pauses();
    let mut removal = mac
        .command(&packaging("service-control"), &["stop"])
        .spawn()
        .unwrap();
    pauses.wait_for_next();
    assert!(removal.try_wait().unwrap().is_none());
    mac.remove("loaded");
    pauses.end();
    assert!(
        removal.wait().unwrap().success(),
        "a bootout that goes on is no failure"
    );
}

#[test]
fn removal_leaves_configuration_and_checks_unless_it_is_to_leave_nothing() {
    for purge in [false, true] {
        let mac = Mac::new();
        let control = std::fs::read_to_string(packaging("service-control")).unwrap();
        mac.file("opt/oco-agent/service-control", &control, 0o755);
        for file in [
            "opt/oco-agent/oco-agent",
            "opt/oco-agent/oco-agent.ini",
            "opt/oco-agent/oco-agent.ini.example",
            "opt/oco-agent/service-checks/own",
            "var/lib/oco-agent/oco-agent.timestamp",
            "var/log/oco-agent.log",
            "etc/newsyslog.d/oco-agent.conf",
        ] {
            mac.file(file, "x", 0o644);
        }
        mac.file(&format!("Library/LaunchDaemons/{LABEL}.plist"), "x", 0o644);
        mac.run(&packaging("uninstall"), if purge { &["--purge"] } else { &[] });
        assert!(!mac.path(&format!("Library/LaunchDaemons/{LABEL}.plist")).exists());
        assert!(!mac.path("opt/oco-agent/oco-agent").exists());
        assert!(!mac.path("etc/newsyslog.d/oco-agent.conf").exists());
        for kept in [
            "opt/oco-agent/oco-agent.ini",
            "opt/oco-agent/service-checks/own",
            "var/lib/oco-agent",
        ] {
            assert_eq!(mac.path(kept).exists(), !purge, "{kept}");
        }
        assert_eq!(mac.calls(), [format!("pkgutil --forget {LABEL}")]);
    }
}

#[test]
fn a_new_configuration_reports_the_accounts_of_a_mac() {
    let stage = tempfile::tempdir().unwrap();
    let packing = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/package-macos");
    let output = Command::new(packing)
        .arg("--stage")
        .arg(stage.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let example = stage.path().join("opt/oco-agent/oco-agent.ini.example");
    assert_eq!(example.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let machine = serde_json::json!({
        "os": "macos", "hostname": "mac", "kernel": {"release": "24.1.0", "machine": "arm64"},
        "uptime_s": 1.0, "now": "2026-11-22T06:00:00Z",
    });
    let host = RecordedHost::new(Recording::new(serde_json::from_value(machine).unwrap()));
    let path = Path::new("/opt/oco-agent/oco-agent.ini");
    let content = std::fs::read(example).unwrap();
    host.write_file(path, &content, Visibility::Private).unwrap();
    let examination = config::examine(&host, path).unwrap();
    assert_eq!(*examination.config.local_users.start(), 500);
    assert_eq!(examination.warnings, Vec::<String>::new());
}
