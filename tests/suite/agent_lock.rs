//! Two agents on one computer: which one yields, and that nobody else can make either of them yield.

use crate::support::scripted::{AGENT_KEY, ScriptedServer, registration};
use crate::support::{Agent, REGISTRATION_KEY, program, stderr, wait_for};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output};

#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = Agent::new(&server.url);
    let precious = agent.folder().join("precious");
    std::fs::write(&precious, "content").unwrap();
    std::os::unix::fs::symlink(&precious, agent.folder().join("oco-agent.lock")).unwrap();
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot lock"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "content");
    assert!(server.requests().is_empty());
}

#[test]
fn a_folder_that_everybody_can_write_to_is_refused() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = Agent::new(&server.url);
    std::fs::set_permissions(agent.folder(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("other users can write into its folder (mode 777)"),
        "{}",
        stderr(&output)
    );
    assert!(server.requests().is_empty());
}

#[test]
fn the_lock_names_its_holder_to_root_only() {
    let answer = registration();
    let server = ScriptedServer::answering(move |request| answer(request));
    let agent = Agent::new(&server.url);
    let daemon = agent.daemon();
    wait_for("a check-in", || agent.log().contains("checked in").then_some(()));
    let lock = agent.folder().join("oco-agent.lock");
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let pid = std::fs::read_to_string(&lock).unwrap().trim().to_owned();
    assert!(stderr(&agent.check_in()).contains(&format!("is locked by process {pid}")));
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn an_installed_agent_does_not_start_beside_the_one_it_replaces() {
    let server = ScriptedServer::start(vec![registration()]);
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("oco-agent.lock");
    let other = Other(
        Command::new("sleep")
            .arg0("/opt/oco-agent/oco-agent")
            .arg("600")
            .spawn()
            .unwrap(),
    );
    std::fs::write(&lock, other.0.id().to_string()).unwrap();
    let Some(output) = installed(&server, folder.path()) else {
        eprintln!("skipped: this needs the right to make a mount namespace");
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = format!("another agent is running already: process {}", other.0.id());
    assert!(stderr(&output).contains(&message), "{}", stderr(&output));
    assert!(server.requests().is_empty());
    // Once it is gone, its lock is an orphan.
    drop(other);
    let output = installed(&server, folder.path()).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("orphaned lock"), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains(AGENT_KEY));
    assert!(lock.exists(), "it is the other agent's");
}

/// A process; ended on drop.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent with the installed paths, empty but for its configuration, which is printed at the end.
fn installed(server: &ScriptedServer, temporary: &Path) -> Option<Output> {
    let script = "mount -t tmpfs none /etc && mount -t tmpfs none /var/lib || exit 99; umask 077; \
                  printf '%s' \"$1\" > /etc/oco-agent.ini; \"$0\"; code=$?; cat /etc/oco-agent.ini; exit $code";
    let config = format!(
        "[agent]\nagent-key = {REGISTRATION_KEY}\n[server]\napi-url = {}\n",
        server.url
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(program("oco-agent"))
        .arg(config)
        .env("TMPDIR", temporary)
        .env_remove("OCO_AGENT_LOG")
        .output()
        .ok()?;
    let possible = output.status.code() != Some(99) && !stderr(&output).contains("unshare");
    possible.then_some(output)
}
