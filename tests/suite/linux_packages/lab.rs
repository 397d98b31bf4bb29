//! Containers for tests of packages: a network with a mock server, and machines that boot with systemd. All of it is removed
//! when a test ends, however it ends.

use crate::support::mock::MockServer;
use crate::support::{REGISTRATION_KEY, program, wait_for};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// The server's image: the newest, so that it has the C library that this computer built the server with.
const SERVER_RELEASE: &str = "13";
/// What machines know the server as.
pub(super) const SERVER_NAME: &str = "oco.example.test";

/// A network of its own with a mock server.
pub(super) struct Lab {
    pub(super) server: MockServer,
    _server_container: Container,
    _server_config: TempDir,
    network: Network,
}

impl Lab {
    /// Makes the network and starts the server.
    pub(super) fn new() -> Self {
        let network = Network::new();
        let name = unique_name("server");
        let container = Container(name.clone());
        let config = TempDir::new().unwrap();
        let text = format!(
            "agent-key = \"{REGISTRATION_KEY}\"\napi-key = \"{}\"\n",
            MockServer::API_KEY
        );
        std::fs::write(config.path().join("server.toml"), text).unwrap();
        let mut run = Command::new("docker");
        run.args(["run", "--name", &name, "--network", &network.0])
            .args(["--network-alias", SERVER_NAME, "--entrypoint", "/oco-mock-server"])
            .arg("--volume")
            .arg(format!(
                "{}:/oco-mock-server:ro",
                program("oco-mock-server").display()
            ))
            .arg("--volume")
            .arg(format!("{}:/config:ro", config.path().display()))
            .arg(format!("oco-test-debian:{SERVER_RELEASE}"))
            .args([
                "--listen",
                "0.0.0.0:80",
                "--database",
                "sqlite::memory:",
                "--config",
                "/config/server.toml",
            ]);
        let address = || {
            docker(&[
                "inspect",
                "--format",
                "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                &name,
            ])
        };
        Self {
            server: MockServer::started_by(run, || format!("{}:80", address().trim())),
            _server_container: container,
            _server_config: config,
            network,
        }
    }

    /// Boots a machine with this release of Debian.
    pub(super) fn boot(&self, release: &str) -> Machine {
        let name = unique_name("machine");
        let machine = Machine(Container(name.clone()));
        let packages = std::env::var("OCO_PACKAGES").expect("run these tests by ci/packages-test");
        docker(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--hostname",
            "pc",
            "--network",
            &self.network.0,
            // What systemd needs as the first process.
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "apparmor=unconfined",
            "--cgroupns",
            "private",
            "--tmpfs",
            "/run",
            "--tmpfs",
            "/run/lock",
            "--volume",
            &format!("{packages}:/packages:ro"),
            &format!("oco-test-debian:{release}"),
        ]);
        wait_for("the machine to boot", || {
            let state = machine.attempt("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"].contains(&state.as_str()).then_some(())
        });
        machine
    }

    /// Waits until a computer has registered.
    pub(super) fn wait_for_registration(&self) {
        wait_for("the registration", || {
            let computers = self.server.get("computers")["computers"]
                .as_array()
                .unwrap()
                .len();
            (computers == 1).then_some(())
        });
    }
}

/// A machine under test.
pub(super) struct Machine(Container);

impl Machine {
    /// Runs a script that must succeed; its standard output.
    pub(super) fn run(&self, script: &str) -> String {
        let output = self.attempt(script);
        assert!(
            output.status.success(),
            "{script}\n{}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(
                &self
                    .attempt("journalctl --no-pager -u oco-agent | tail -n 40")
                    .stdout
            ),
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a script.
    pub(super) fn attempt(&self, script: &str) -> Output {
        Command::new("docker")
            .args([
                "exec",
                "--env",
                "DEBIAN_FRONTEND=noninteractive",
                &self.0.0,
                "/bin/sh",
                "-euc",
                script,
            ])
            .output()
            .unwrap()
    }

    /// Waits until a script succeeds.
    pub(super) fn wait_until(&self, script: &str) {
        wait_for(script, || self.attempt(script).status.success().then_some(()));
    }

    /// A property of the agent's service.
    pub(super) fn service(&self, property: &str) -> String {
        let text = self.run(&format!("systemctl show --property {property} oco-agent.service"));
        text.trim().split_once('=').unwrap().1.to_owned()
    }

    /// Names of all files, but for those that come and go with running and with logs.
    pub(super) fn files(&self) -> Vec<String> {
        let passing = [
            "/proc",
            "/sys",
            "/dev",
            "/run",
            "/tmp",
            "/var/tmp",
            "/packages",
            "/var/log",
            "/var/cache/debconf",
            "/var/lib/dpkg/triggers",
            "/var/lib/systemd/catalog",
        ];
        let pruned: Vec<String> = passing.iter().map(|path| format!("-path {path}")).collect();
        let script = format!(
            "find / \\( {} \\) -prune -o -print | grep -v -- '-old$' | sort",
            pruned.join(" -o ")
        );
        self.run(&script).lines().map(str::to_owned).collect()
    }
}

/// A container; removed on drop.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes", &self.0])
            .output();
    }
}

/// A network; removed on drop, after its containers.
struct Network(String);

impl Network {
    fn new() -> Self {
        let name = unique_name("network");
        docker(&["network", "create", &name]);
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["network", "rm", &self.0]).output();
    }
}

/// Begins as ci/packages-test says, which looks for what an interrupted run has left.
fn unique_name(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let run = std::env::var("OCO_TEST_RUN").expect("run these tests by ci/packages-test");
    format!("{run}-{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A command of docker's that must succeed; its standard output.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
