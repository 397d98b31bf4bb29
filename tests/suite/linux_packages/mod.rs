//! The .deb and the .rpm: installed, upgraded and removed on machines that boot with systemd, with a mock server to talk to.
//! `ci/packages-test` builds what these tests need and runs them.

mod deb;
mod lab;
mod rpm;

use crate::support::REGISTRATION_KEY;
use crate::support::mock::MockServer;
use lab::{Lab, Machine, SERVER_NAME};
use serde_json::Value;

const DEB: &str = "/packages/oco-agent_*.deb";
const LATER_DEB: &str = "/packages/later/oco-agent_*.deb";
const RPM: &str = "/packages/oco-agent-*.rpm";
const LATER_RPM: &str = "/packages/later/oco-agent-*.rpm";

/// Makes a machine's agent check in every second. It reads its configuration anew without being stopped.
fn hasten(machine: &Machine) {
    let pid = machine.service("MainPID");
    machine.run(
        "sed -i 's/^\\[agent\\]$/&\\nquery-interval = 1/' /etc/oco-agent.ini; systemctl reload oco-agent",
    );
    wait_for_renewal(machine, &pid);
}

/// Orders a job that runs until the file `/gate` is made, and waits until it runs; its deployment.
fn start_long_job(lab: &Lab) -> i64 {
    let procedure = "echo started; until [ -e /gate ]; do sleep 0.1; done; echo ended";
    let package = lab.server.package("long", procedure, "0", &[]);
    let deployment = lab.server.deploy(&[package], 0);
    lab.server
        .wait_for_job(deployment, |job| job["output"] == "started\n");
    deployment
}

/// Waits for the end of the job that [`start_long_job`] began; it must have run once and to its end.
fn end_long_job(machine: &Machine, server: &MockServer, deployment: i64) {
    machine.run("touch /gate");
    let job = wait_for_end(server, deployment);
    assert_eq!(
        (job["state"].as_str(), job["output"].as_str()),
        (Some("succeeded"), Some("started\nended\n"))
    );
}

/// Orders a job and waits for its success; its output.
fn run_job(server: &MockServer, name: &str, procedure: &str) -> String {
    let package = server.package(name, procedure, "0", &[]);
    let job = wait_for_end(server, server.deploy(&[package], 0));
    assert_eq!(job["state"], "succeeded", "{job}");
    job["output"].as_str().unwrap().to_owned()
}

fn wait_for_end(server: &MockServer, deployment: i64) -> Value {
    server.wait_for_job(deployment, |job| {
        job["state"] == "succeeded" || job["state"] == "failed"
    })
}

/// Waits until the service runs as another process than `before`. The agent hides which file it was started from.
fn wait_for_renewal(machine: &Machine, before: &str) {
    machine.wait_until(&format!(
        "pid=$(systemctl show --property MainPID oco-agent); pid=${{pid#MainPID=}}
         [ \"$pid\" != 0 ] && [ \"$pid\" != {before} ] && grep -qz '^/usr/bin/oco-agent$' /proc/$pid/cmdline"
    ));
}
