//! An agent that is killed at any moment around the write of its keys: its configuration is the old one or the new one.
//!
//! The test traces the agent and kills it at one system call after the other, so that no moment is missed by chance.

use crate::support::scripted::{AGENT_KEY, SERVER_KEY, ScriptedServer, registration};
use crate::support::{Agent, REGISTRATION_KEY};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

/// So many stops before a replacement of the file, and after it, are tried: a write takes about 20 system calls, each of
/// which stops twice.
const BEFORE: usize = 48;
const AFTER: usize = 14;

#[test]
fn a_kill_at_any_moment_leaves_the_old_configuration_or_the_new_one() {
    let (agent, _server) = agent();
    let Some(replacements) = traced(&agent, usize::MAX) else {
        eprintln!("skipped: this needs the right to trace a process");
        return;
    };
    // Before it registers, the agent proves that it can write; then come the keys.
    assert_eq!(replacements.len(), 2, "{replacements:?}");
    let (mut old, mut new, mut interrupted) = (0, 0, Vec::new());
    for replacement in replacements {
        for stop in replacement.saturating_sub(BEFORE)..replacement + AFTER {
            let (agent, _server) = self::agent();
            let before = agent.config();
            traced(&agent, stop).unwrap();
            let after = agent.config();
            if after == before {
                old += 1;
            } else {
                assert_eq!(after, with_keys(&before), "killed at stop {stop}");
                new += 1;
            }
            assert_eq!(agent.config_path().metadata().unwrap().mode() & 0o7777, 0o600);
            match temporary_files(&agent) {
                0 => {}
                1 => interrupted.push((stop, agent)),
                count => panic!("{count} temporary files after a kill at stop {stop}"),
            }
        }
    }
    assert!(
        old > 0 && new > 0 && interrupted.len() > 4,
        "{old} old, {new} new, {} within",
        interrupted.len()
    );
    temporary_files_do_not_pile_up(interrupted);
}

/// Kills agents again and again where they leave a file behind, then lets them work.
fn temporary_files_do_not_pile_up(interrupted: Vec<(usize, Agent)>) {
    for (stop, agent) in interrupted.into_iter().step_by(4) {
        for _ in 0..3 {
            let _server = serve(&agent);
            traced(&agent, stop).unwrap();
            assert!(temporary_files(&agent) <= 1);
        }
        std::fs::write(agent.config_path(), text("http://127.0.0.1:1/")).unwrap();
        let _server = serve(&agent);
        let output = agent.check_in();
        assert!(output.status.success(), "{}", crate::support::stderr(&output));
        assert_eq!(temporary_files(&agent), 0);
    }
}

fn text(url: &str) -> String {
    format!(
        "; mine\n[agent]\nagent-key = {REGISTRATION_KEY}\n\n[server]\napi-url = {url}\nserver-key =\n# end\n"
    )
}

fn with_keys(before: &str) -> String {
    before
        .replace(REGISTRATION_KEY, AGENT_KEY)
        .replace("server-key =", &format!("server-key = {SERVER_KEY}"))
}

/// An agent, and the server that it registers at.
fn agent() -> (Agent, ScriptedServer) {
    let agent = Agent::with_config(&text("http://127.0.0.1:1/"));
    let server = serve(&agent);
    (agent, server)
}

/// A server for an agent, whose configuration now names it and is private.
fn serve(agent: &Agent) -> ScriptedServer {
    let server = ScriptedServer::start(vec![registration()]);
    let config = agent.config();
    let line = config.lines().find(|line| line.starts_with("api-url")).unwrap();
    let config = config.replace(line, &format!("api-url = {}", server.url));
    std::fs::write(agent.config_path(), config).unwrap();
    std::fs::set_permissions(agent.config_path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    server
}

fn temporary_files(agent: &Agent) -> usize {
    let entries = std::fs::read_dir(agent.folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".oco-agent-")).count()
}

/// Runs an agent, and kills it when its main thread has entered or left a system call so many times. At which of these
/// moments its configuration had just been replaced; none if processes cannot be traced here.
fn traced(agent: &Agent, last: usize) -> Option<Vec<usize>> {
    let command = agent.command();
    // Waits until it is traced, so that every run is counted from its beginning.
    let mut stopped = Command::new("sh");
    stopped
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_remove("OCO_AGENT_LOG")
        .stderr(Stdio::null());
    let pid = Pid::from_raw(stopped.spawn().unwrap().id().try_into().unwrap());
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_TRACEEXEC;
    if ptrace::seize(pid, options).is_err() {
        kill(pid, Signal::SIGKILL).unwrap();
        waitpid(pid, None).unwrap();
        return None;
    }
    kill(pid, Signal::SIGCONT).unwrap();
    let inode = || agent.config_path().metadata().unwrap().ino();
    let (mut stops, mut started, mut current, mut replacements) = (0, false, inode(), Vec::new());
    loop {
        let signal = match waitpid(pid, None).unwrap() {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Some(replacements),
            WaitStatus::PtraceSyscall(_) if started => {
                stops += 1;
                if inode() != current {
                    current = inode();
                    replacements.push(stops);
                }
                None
            }
            WaitStatus::PtraceEvent(_, _, event) => {
                started |= event == ptrace::Event::PTRACE_EVENT_EXEC as i32;
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        if stops >= last {
            kill(pid, Signal::SIGKILL).unwrap();
        } else {
            // Fails if the process has just ended, which the next turn finds out.
            let _ = ptrace::syscall(pid, signal);
        }
    }
}
