//! Agents that are killed by `strace` at one exact system call: just before or just after the journal has changed.

use super::{Setup, assert_interrupted, assert_succeeded};
use crate::support::{stderr, wait_for};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The system calls that a file comes into being with, and goes away with, whatever the architecture calls them.
const RENAME: &str = "?rename,?renameat,?renameat2";
const REMOVE: &str = "?unlink,?unlinkat";
/// After a rename, the folder is synchronised: the change is there, and nothing else has happened.
const SYNC: &str = "fsync";

/// `strace` that kills a process at its first call of these on that path.
fn killing_at(calls: &str, path: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(path);
    command.args([
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={calls}:signal=KILL:when=1"),
    ]);
    command
}

#[allow(clippy::print_stderr)] // says why a test proves nothing
fn can_trace() -> bool {
    let can = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    // The agent lets nobody look into its memory, where the paths of its calls are, but root.
    let can = can.is_ok_and(|status| status.success()) && nix::unistd::geteuid().is_root();
    if !can {
        eprintln!("skipped: this needs strace, and root, who may trace the agent");
    }
    can
}

impl Setup {
    /// Checks in once and is killed at that call.
    fn check_in_until(&self, calls: &str, path: &Path) {
        let agent = self.agent.command();
        let output = killing_at(calls, path)
            .arg(agent.get_program())
            .args(agent.get_args())
            .output()
            .unwrap();
        assert!(!output.status.success(), "it was not killed: {}", stderr(&output));
    }

    /// Runs the agent until its job waits at a gate, and lets that go on once the agent is sure to be killed at that call.
    fn run_until(&self, calls: &str, path: &Path, gate: &Path) {
        let mut daemon = self.agent.daemon();
        wait_for("the procedure", || (self.runs() == 1).then_some(()));
        let mut strace = killing_at(calls, path)
            .args(["-p", &daemon.id().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("strace", || is_traced(daemon.id(), &mut strace).then_some(()));
        std::fs::write(gate, "").unwrap();
        assert_eq!(daemon.wait(), None, "killed by a signal");
        strace.wait().unwrap();
    }

    fn journal(&self) -> std::path::PathBuf {
        self.agent.folder().join("journal")
    }
}

/// Whether each thread of a process is traced.
fn is_traced(process: u32, strace: &mut Child) -> bool {
    assert!(strace.try_wait().unwrap().is_none(), "strace has ended");
    let mut threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.all(|thread| {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status"));
        // A thread that has ended since needs no tracing.
        status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
    })
}

#[test]
fn before_the_start_is_on_record_the_job_starts_again() {
    if !can_trace() {
        return;
    }
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    let record = setup.record_of(deployment);
    setup.check_in_until(RENAME, &record);
    assert_eq!((setup.runs(), record.exists()), (0, false));
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

#[test]
fn once_the_start_is_on_record_the_job_counts_as_interrupted() {
    if !can_trace() {
        return;
    }
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    // The folder has to be there for its synchronisation to be the one after the rename.
    std::fs::create_dir(setup.journal()).unwrap();
    setup.check_in_until(SYNC, &setup.journal());
    assert_eq!((setup.runs(), setup.journalled().len()), (0, 1));
    assert_interrupted(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 0);
}

#[test]
fn before_the_outcome_is_on_record_the_job_counts_as_interrupted() {
    if !can_trace() {
        return;
    }
    let setup = Setup::new();
    let gate = setup.agent.folder().join("gate");
    let deployment = setup.deploy_gated(&gate);
    setup.run_until(RENAME, &setup.record_of(deployment), &gate);
    assert_interrupted(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

#[test]
fn once_the_outcome_is_on_record_it_is_reported() {
    if !can_trace() {
        return;
    }
    let setup = Setup::new();
    let gate = setup.agent.folder().join("gate");
    let deployment = setup.deploy_gated(&gate);
    setup.run_until(SYNC, &setup.journal(), &gate);
    assert_eq!(setup.proxy.count(super::reports_finished), 0);
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.runs(), 1);
}

#[test]
fn before_an_accepted_outcome_is_forgotten_it_is_reported_again() {
    if !can_trace() {
        return;
    }
    let setup = Setup::new();
    let deployment = setup.deploy("", &[]);
    let record = setup.record_of(deployment);
    setup.check_in_until(REMOVE, &record);
    assert!(record.exists());
    assert_eq!(setup.proxy.count(super::reports_finished), 1);
    assert_succeeded(&setup.end_of(deployment));
    assert_eq!(setup.proxy.count(super::reports_finished), 2);
    assert_eq!(setup.runs(), 1);
}
