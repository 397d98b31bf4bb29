//! Software jobs from deployment to outcome, run by a real agent process.

#![cfg(unix)] // the procedures are shell scripts

use crate::support::mock::{MockServer, archive};
use crate::support::{Agent, stderr, wait_for};
use serde_json::Value;
use std::io::Write;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A server with one registered agent.
fn registered() -> (MockServer, Agent) {
    let server = MockServer::start();
    let agent = Agent::new(&server.agent_url);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    (server, agent)
}

fn states(jobs: &[Value]) -> Vec<&str> {
    jobs.iter().map(|job| job["state"].as_str().unwrap()).collect()
}

#[test]
fn a_package_is_downloaded_run_and_reported_with_its_output_and_code() {
    let (server, agent) = registered();
    let script = "#!/bin/sh\ncat data/payload.txt\necho to stderr >&2\nexit 3\n".as_bytes();
    let files = [("run.sh", script), ("data/payload.txt", "päckchen\n".as_bytes())];
    let package = server.package("tool", "./run.sh", "0,3", &files);
    let deployment = server.deploy(&[package], 0);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let jobs = server.jobs(deployment);
    assert_eq!(states(&jobs), ["succeeded"]);
    assert_eq!(jobs[0]["return_code"], 3);
    assert_eq!(jobs[0]["output"], "päckchen\nto stderr\n");
    assert!(agent.staging_is_empty());
    assert!(agent.check_in().status.success());
    assert_eq!(server.jobs(deployment), jobs, "nothing was run again");
}

#[test]
fn a_large_package_arrives_whole() {
    let (server, agent) = registered();
    let noise: Vec<u8> = (0..4u32 << 20)
        .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2])
        .collect();
    let package = server.package("large", "wc -c < noise", "0", &[("noise", &noise)]);
    let deployment = server.deploy(&[package], 0);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let jobs = server.jobs(deployment);
    assert_eq!(states(&jobs), ["succeeded"]);
    assert_eq!(
        jobs[0]["output"].as_str().unwrap().trim(),
        noise.len().to_string()
    );
}

#[test]
fn after_a_failure_in_sequence_mode_the_rest_of_the_container_is_not_run() {
    let (server, agent) = registered();
    let witness = agent.folder().join("ran");
    let first = server.package("first", "echo no; exit 7", "0", &[]);
    let second = server.package("second", &format!("touch {}", witness.display()), "0", &[]);
    let deployment = server.deploy(&[first, second], 1);
    assert!(agent.check_in().status.success());
    let jobs = server.jobs(deployment);
    assert_eq!(states(&jobs), ["failed", "failed"]);
    assert_eq!(
        (&jobs[0]["return_code"], &jobs[1]["return_code"]),
        (&7.into(), &(-8888).into())
    );
    assert!(!witness.exists());
}

#[test]
fn without_sequence_mode_the_jobs_after_a_failure_run() {
    let (server, agent) = registered();
    let first = server.package("first", "exit 7", "0", &[]);
    let second = server.package("second", "echo ran", "0", &[]);
    let deployment = server.deploy(&[first, second], 0);
    assert!(agent.check_in().status.success());
    assert_eq!(states(&server.jobs(deployment)), ["failed", "succeeded"]);
}

#[test]
fn hostile_and_damaged_packages_are_refused_and_nothing_is_run() {
    let (server, agent) = registered();
    let witness = agent.folder().join("ran");
    let procedure = format!("touch {}", witness.display());
    let escaping = archive(&[("../../escaped", b"x")]);
    let mut link = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    link.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    let link = link.finish().unwrap().into_inner();
    let mut bomb = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    bomb.start_file("zeros", SimpleFileOptions::default()).unwrap();
    bomb.write_all(&vec![0; 65 << 20]).unwrap();
    let bomb = bomb.finish().unwrap().into_inner();
    let mut truncated = archive(&[("file", &[7; 9999])]);
    truncated.truncate(truncated.len() - 20);
    for (name, archive, reason) in [
        ("escaping", escaping, "leads out of its folder"),
        ("link", link, "is a link"),
        ("bomb", bomb, "unpacks to more than"),
        ("truncated", truncated, "not a complete ZIP archive"),
    ] {
        let package = server.package_of_archive(name, &procedure, "", Some(&archive));
        let deployment = server.deploy(&[package], 0);
        assert!(agent.check_in().status.success());
        let job = &server.jobs(deployment)[0];
        assert_eq!(
            (&job["state"], &job["return_code"]),
            (&"failed".into(), &(-9999).into()),
            "{name}"
        );
        assert!(job["output"].as_str().unwrap().contains(reason), "{name}: {job}");
        assert!(agent.staging_is_empty(), "{name}");
    }
    assert!(!witness.exists());
    assert!(!agent.folder().join("escaped").exists());
}

#[test]
fn a_running_job_shows_its_output_and_check_ins_go_on_beside_it() {
    let (server, agent) = registered();
    agent.set("query-interval = 1");
    let gate = agent.folder().join("gate");
    let procedure = format!(
        "echo started; while [ ! -e {} ]; do sleep 0.1; done; echo ended",
        gate.display()
    );
    let package = server.package("slow", &procedure, "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let daemon = agent.daemon();
    server.wait_for_job(deployment, |job| {
        job["state"] == "executing" && job["output"] == "started\n"
    });
    let check_ins = || agent.log().matches("checked in").count();
    let before = check_ins();
    wait_for("three check-ins beside the job", || {
        (check_ins() >= before + 3).then_some(())
    });
    assert_eq!(states(&server.jobs(deployment)), ["executing"]);
    std::fs::write(&gate, "").unwrap();
    let job = server.wait_for_job(deployment, |job| job["state"] == "succeeded");
    assert_eq!(job["output"], "started\nended\n", "the job ran once");
    assert_eq!(daemon.terminate(), Some(0));
}

#[test]
fn a_signal_lets_the_running_job_finish() {
    let (server, agent) = registered();
    let gate = agent.folder().join("gate");
    let procedure = format!(
        "echo started; while [ ! -e {} ]; do sleep 0.1; done; echo ended",
        gate.display()
    );
    let package = server.package("slow", &procedure, "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let mut daemon = agent.daemon();
    server.wait_for_job(deployment, |job| {
        job["state"] == "executing" && job["output"] == "started\n"
    });
    daemon.signal("TERM");
    wait_for("the daemon to notice", || {
        agent.log().contains("a running job is let finish").then_some(())
    });
    std::fs::write(&gate, "").unwrap();
    assert_eq!(daemon.wait(), Some(0));
    let jobs = server.jobs(deployment);
    assert_eq!(states(&jobs), ["succeeded"]);
    assert_eq!(jobs[0]["output"], "started\nended\n");
}

#[test]
fn a_job_that_closes_its_output_is_still_bound_by_the_time_limit() {
    let (server, agent) = registered();
    agent.set("job-timeout = 1");
    let package = server.package("silent", "echo before; exec >/dev/null 2>&1; sleep 600", "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let jobs = server.jobs(deployment);
    assert_eq!(states(&jobs), ["failed"]);
    let message = jobs[0]["output"].as_str().unwrap();
    assert!(
        message.contains("time limit") && message.ends_with("before\n"),
        "{message}"
    );
}

#[cfg(target_os = "linux")] // `stat -c`
#[cfg(unix)]
#[test]
fn a_job_without_a_package_runs_in_a_private_folder() {
    let (server, agent) = registered();
    let package = server.package("where", "pwd; stat -c %a .", "0", &[]);
    let deployment = server.deploy(&[package], 0);
    assert!(agent.check_in().status.success());
    let job = &server.jobs(deployment)[0];
    let (folder, mode) = job["output"].as_str().unwrap().trim().split_once('\n').unwrap();
    assert!(
        std::path::Path::new(folder).starts_with(agent.folder().canonicalize().unwrap()),
        "{folder}"
    );
    assert_eq!(mode, "700");
    assert!(agent.staging_is_empty());
}

/// A process that a procedure started and whose id it wrote into a file; killed on drop.
struct Process(String);

impl Process {
    fn of(file: &std::path::Path) -> Self {
        let id = wait_for("the process's id", || {
            let id = std::fs::read_to_string(file).ok()?;
            id.ends_with('\n').then(|| id.trim().to_owned())
        });
        Self(id)
    }

    /// One that has ended but that nobody has asked about yet is not alive.
    fn is_alive(&self) -> bool {
        let state = std::process::Command::new("ps")
            .args(["-o", "stat=", "-p", &self.0])
            .output();
        let state = String::from_utf8(state.unwrap().stdout).unwrap();
        !state.trim().is_empty() && !state.trim().starts_with('Z')
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill")
            .args(["-KILL", &self.0])
            .output();
    }
}

#[cfg(target_os = "linux")] // setsid
#[test]
fn a_job_over_its_time_limit_is_killed_with_all_its_processes() {
    let (server, agent) = registered();
    agent.set("job-timeout = 1");
    // A child; one in a session of its own; one whose parent has ended.
    let file = |name: &str| agent.folder().join(name);
    let procedure = format!(
        "sh -c 'echo $$ > {}; exec sleep 600' & setsid sh -c 'echo $$ > {}; exec sleep 600' & \
         setsid sh -c 'sh -c \"echo \\$\\$ > {}; exec sleep 600\" & exit' & echo started; sleep 600",
        file("child").display(),
        file("session").display(),
        file("orphan").display()
    );
    let package = server.package("hangs", &procedure, "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let jobs = server.jobs(deployment);
    assert_eq!(states(&jobs), ["failed"]);
    let message = jobs[0]["output"].as_str().unwrap();
    assert!(
        message.contains("time limit of 1 s;") && message.ends_with("started\n"),
        "{message}"
    );
    for name in ["child", "session", "orphan"] {
        let process = Process::of(&file(name));
        assert!(!process.is_alive(), "{name}");
    }
    assert!(agent.staging_is_empty());
}

#[cfg(target_os = "linux")] // setsid
#[test]
fn what_a_successful_job_leaves_running_lives_on_and_does_not_hold_up_the_agent() {
    let (server, agent) = registered();
    // It holds the output open, too.
    let file = agent.folder().join("pid");
    let procedure = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 600' & echo started",
        file.display()
    );
    let package = server.package("starts a daemon", &procedure, "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let output = agent.check_in();
    assert!(output.status.success(), "{}", stderr(&output));
    let job = &server.jobs(deployment)[0];
    assert_eq!(
        (&job["state"], &job["output"]),
        (&"succeeded".into(), &"started\n".into())
    );
    let daemon = Process::of(&file);
    assert!(daemon.is_alive());
    assert!(agent.check_in().status.success());
    assert!(daemon.is_alive());
}

#[test]
fn output_is_kept_at_both_ends_and_read_whatever_its_encoding() {
    let (server, agent) = registered();
    agent.set("max-output = 20");
    let long = server.package(
        "long",
        "printf 1234567890; yes | head -c 1000; printf abcdefghij",
        "0",
        &[],
    );
    let western = server.package("western", r"printf 'gr\374n'", "0", &[]);
    let deployment = server.deploy(&[long, western], 0);
    assert!(agent.check_in().status.success());
    let jobs = server.jobs(deployment);
    assert_eq!(
        jobs[0]["output"],
        "1234567890\n[... 1000 bytes of output left out ...]\nabcdefghij"
    );
    assert_eq!(jobs[1]["output"], "grün");
}

#[test]
fn a_job_finds_its_input_closed_and_the_usual_mask_for_new_files() {
    let (server, agent) = registered();
    let package = server.package("asks", "read answer; echo \"$?\"; cat; umask", "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let agent_command = agent.command();
    let status = std::process::Command::new("sh")
        .args(["-c", "umask 077; exec \"$0\" \"$@\""])
        .arg(agent_command.get_program())
        .args(agent_command.get_args())
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", stderr(&status));
    assert_eq!(server.jobs(deployment)[0]["output"], "1\n0022\n");
}

#[cfg(target_os = "linux")] // setsid
#[test]
fn a_second_signal_ends_the_agent_and_the_job() {
    let (server, agent) = registered();
    let file = agent.folder().join("pid");
    let procedure = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 600'; true",
        file.display()
    );
    let package = server.package("endless", &procedure, "0", &[]);
    let deployment = server.deploy(&[package], 0);
    let mut daemon = agent.daemon();
    let process = Process::of(&file);
    daemon.signal("TERM");
    wait_for("the daemon to notice", || {
        agent.log().contains("a running job is let finish").then_some(())
    });
    assert!(process.is_alive());
    daemon.signal("INT");
    assert_eq!(daemon.wait(), Some(1));
    assert!(
        agent.log().contains("stopped by a second signal"),
        "{}",
        agent.log()
    );
    assert!(!process.is_alive());
    // What became of the job is told by the next start.
    assert!(agent.check_in().status.success());
    let job = &server.jobs(deployment)[0];
    assert_eq!(
        (&job["state"], &job["return_code"]),
        (&"failed".into(), &(-9999).into())
    );
}
