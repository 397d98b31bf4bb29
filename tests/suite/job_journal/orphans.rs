//! Jobs whose agent is killed while they run: they go on undisturbed, and no other job starts beside them.

use super::{Setup, assert_interrupted, assert_succeeded};
use crate::support::wait_for;
use std::path::{Path, PathBuf};

/// A procedure that reads its package and writes much more than fits into a pipe, once `gate` is there.
fn much_to_say(gate: &Path, finished: &Path) -> String {
    format!(
        "pwd; while [ ! -e {} ]; do sleep 0.1; done; seq 100000 && cat file > {}",
        gate.display(),
        finished.display()
    )
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().filter(|text| !text.is_empty())
}

impl Setup {
    fn path(&self, name: &str) -> PathBuf {
        self.agent.folder().join(name)
    }

    fn hellos(&self) -> usize {
        self.proxy.count(|request| super::is(request, "oco.agent.hello"))
    }
}

#[test]
fn a_job_whose_agent_is_killed_runs_to_its_end() {
    let setup = Setup::new();
    let (gate, finished) = (setup.path("gate"), setup.path("finished"));
    setup.deploy(&much_to_say(&gate, &finished), &[("file", b"content")]);
    let daemon = setup.agent.daemon();
    wait_for("the procedure", || (setup.runs() == 1).then_some(()));
    daemon.kill();
    std::fs::write(&gate, "").unwrap();
    let text = wait_for("the end of the job", || read(&finished));
    assert_eq!(text, "content");
}

#[test]
fn no_job_starts_beside_one_of_a_killed_agent_and_hellos_go_on() {
    let setup = Setup::new();
    let (gate, finished) = (setup.path("gate"), setup.path("finished"));
    let first = setup.deploy(&much_to_say(&gate, &finished), &[("file", b"content")]);
    let daemon = setup.agent.daemon();
    wait_for("the procedure", || (setup.runs() == 1).then_some(()));
    daemon.kill();

    let second = setup.deploy_as("second", "", &[]);
    let daemon = setup.agent.daemon();
    let job = setup.server.wait_for_job(first, |job| job["state"] == "failed");
    assert_interrupted(&job);
    let before = setup.hellos();
    wait_for("hellos meanwhile", || {
        (setup.hellos() >= before + 3).then_some(())
    });
    let log = setup.agent.log();
    assert!(
        log.contains("a job of an earlier agent still runs") && log.contains("wait until a job has ended"),
        "{log}"
    );
    assert_eq!(setup.runs(), 1, "the second job waits");

    std::fs::write(&gate, "").unwrap();
    assert_eq!(
        wait_for("the end of the job", || read(&finished)),
        "content",
        "its package was left alone"
    );
    assert_succeeded(
        &setup
            .server
            .wait_for_job(second, |job| job["state"] == "succeeded"),
    );
    assert_eq!(setup.runs(), 2);
    wait_for("the packages to be removed", || {
        setup.agent.staging_is_empty().then_some(())
    });
    assert_eq!(daemon.terminate(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_time_limit_of_a_job_outlives_its_agent_and_reaches_every_process() {
    let setup = Setup::new();
    setup.agent.set("job-timeout = 3");
    let ids = setup.path("ids");
    let process = format!("sh -c 'echo $$ >> {}; sleep 1000; :'", ids.display());
    setup.deploy(
        &format!("setsid {process} & (setsid {process} &); {process}"),
        &[],
    );
    let daemon = setup.agent.daemon();
    let started = || {
        let ids: Vec<String> = read(&ids)?.lines().map(str::to_owned).collect();
        (ids.len() == 3).then_some(ids)
    };
    let ids = wait_for("the processes of the job", started);
    daemon.kill();
    for id in ids {
        let process = PathBuf::from(format!("/proc/{id}"));
        wait_for("a process of the job to end", || {
            (!process.exists()).then_some(())
        });
    }
}
