//! The agent that this one replaces: whether it still runs, by its lock in the folder for temporary files.

use crate::host::system::native;
use rustix::fs::OFlags;
use rustix::process::{Pid, geteuid, test_kill_process};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest process id with what is around it, bytes.
const MAX_LOCK: u64 = 32;

/// Where the other agent may keep its lock: in the folder for temporary files, by this environment and by default.
pub fn other_agents_locks() -> Vec<PathBuf> {
    let folders = [
        std::env::temp_dir(),
        PathBuf::from("/tmp"),
        PathBuf::from("/var/tmp"),
    ];
    let mut locks: Vec<_> = folders
        .iter()
        .map(|folder| folder.join("oco-agent.lock"))
        .collect();
    locks.dedup();
    locks
}

/// The process id in a lock file, if that is another agent's which is alive.
///
/// Everybody can write into the folder, so a file counts only if it is root's or this user's own. An id may have been
/// given to another program since, so the process must be called like an agent, as far as that can be seen.
pub fn running_agent(lock_file: &Path) -> Option<u32> {
    let pid = read_lock(lock_file)
        .inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %lock_file.display(), "the lock of another agent is not heeded");
            }
        })
        .ok()??;
    let process = Pid::from_raw(pid.try_into().ok()?)?;
    let gone = test_kill_process(process) == Err(rustix::io::Errno::SRCH);
    if pid == std::process::id() || gone || !is_called_agent(pid) {
        tracing::info!(process.id = pid, path = %lock_file.display(), "an orphaned lock of another agent is ignored");
        return None;
    }
    Some(pid)
}

fn read_lock(path: &Path) -> io::Result<Option<u32>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to some user",
        ));
    }
    let mut text = String::new();
    file.take(MAX_LOCK).read_to_string(&mut text)?;
    Ok(text.trim().parse().ok())
}

/// True also where nobody can tell.
fn is_called_agent(pid: u32) -> bool {
    let command_line = native::command_line(pid).unwrap_or_default();
    is_agents_command_line(&String::from_utf8_lossy(&command_line))
}

/// A process's arguments, each ended by a NUL byte, in what the kernel of macOS tells of it: their number, the program's path
/// filled up with NUL bytes, the arguments, the environment.
#[cfg(any(target_os = "macos", test))]
pub(crate) fn arguments(told: &[u8]) -> Option<Vec<u8>> {
    let (count, rest) = told.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path = rest.iter().position(|byte| *byte == 0)?;
    let start = path + rest[path..].iter().position(|byte| *byte != 0)?;
    let mut ends = rest[start..].iter().enumerate().filter(|(_, byte)| **byte == 0);
    let length = match count.checked_sub(1) {
        Some(last) => ends.nth(last)?.0 + 1,
        None => 0,
    };
    Some(rest[start..start + length].to_vec())
}

/// Whether a process's arguments, each ended by a NUL byte, start an agent: a program of that name, or one that Python
/// runs. An editor with the agent's configuration is none.
fn is_agents_command_line(arguments: &str) -> bool {
    let mut names = arguments
        .split('\0')
        .map(|argument| argument.rsplit('/').next().unwrap_or_default());
    let agent = |name: &str| matches!(name.trim_end_matches(".py"), "oco-agent" | "oco_agent");
    match names.next().unwrap_or_default() {
        "" => true,
        program if program.starts_with("python") => names.any(agent),
        program => agent(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    /// A process that is called so; ended on drop.
    struct Process(Child);

    impl Process {
        fn start(name: &str) -> Self {
            let mut command = Command::new("sleep");
            command
                .arg0(name)
                .arg("600")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let process = Self(command.spawn().unwrap());
            // For a moment after its start, a process has no name that could be read.
            while native::command_line(process.id()).unwrap().is_empty() {
                std::thread::yield_now();
            }
            process
        }

        fn id(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_living_agent_is_found_and_an_orphaned_lock_is_not_heeded() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("oco-agent.lock");
        assert_eq!(running_agent(&lock), None);
        let agent = Process::start("/opt/oco-agent/oco-agent");
        let pid = agent.id();
        std::fs::write(&lock, format!("{pid}\n")).unwrap();
        assert_eq!(running_agent(&lock), Some(pid));
        drop(agent);
        assert_eq!(running_agent(&lock), None);
    }

    #[test]
    fn an_agent_is_told_from_programs_that_have_to_do_with_it() {
        for agent in [
            "",
            "/opt/oco-agent/oco-agent\0--daemon\0",
            "oco_agent",
            "python3\0/usr/bin/oco-agent\0--daemon\0",
            "/usr/bin/python3.11\0-u\0-m\0oco_agent\0",
            "python\0/usr/share/oco-agent/oco-agent.py\0",
        ] {
            assert!(is_agents_command_line(agent), "{agent:?}");
        }
        for stranger in [
            "vim\0/etc/oco-agent.ini\0",
            "journalctl\0-u\0oco-agent\0",
            "python3\0-m\0http.server\0",
            "/opt/oco-agent/other\0",
        ] {
            assert!(!is_agents_command_line(stranger), "{stranger:?}");
        }
    }

    #[test]
    fn arguments_are_told_from_path_and_environment() {
        let told = |count: i32, text: &str| [&count.to_ne_bytes()[..], text.as_bytes()].concat();
        let text = "/opt/oco-agent/oco-agent\0\0\0\0oco-agent\0--daemon\0HOME=/var/root\0";
        assert_eq!(arguments(&told(2, text)).unwrap(), b"oco-agent\0--daemon\0");
        assert_eq!(arguments(&told(0, text)).unwrap(), b"");
        assert_eq!(arguments(&told(9, text)), None, "fewer than it says");
        assert_eq!(arguments(&told(-1, text)), None);
        assert_eq!(arguments(b"\x01\0"), None);
        assert_eq!(arguments(&told(1, "/bin/sh\0\0")), None);
    }

    #[test]
    fn strangers_and_rubbish_keep_nobody_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("oco-agent.lock");
        let stranger = Process::start("editor");
        for content in [
            stranger.id().to_string(),
            std::process::id().to_string(),
            String::new(),
            "-1".to_owned(),
            "0".to_owned(),
            "99999999999999999999".to_owned(),
            "pid".to_owned(),
        ] {
            std::fs::write(&lock, &content).unwrap();
            assert_eq!(running_agent(&lock), None, "{content}");
        }
        let agent = Process::start("oco-agent");
        std::fs::remove_file(&lock).unwrap();
        std::fs::write(folder.path().join("target"), agent.id().to_string()).unwrap();
        std::os::unix::fs::symlink("target", &lock).unwrap();
        assert_eq!(running_agent(&lock), None, "a link leads anywhere");
    }
}
