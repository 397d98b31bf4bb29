//! The agent that this one replaces: whether it still runs, by its lock in the folder for temporary files.

use super::{acl, text};
use std::fs::File;
use std::io::{self, Read};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use windows::Win32::Foundation::{ERROR_INVALID_PARAMETER, HANDLE, STILL_ACTIVE};
use windows::Win32::System::Threading::{
    GetExitCodeProcess, OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION,
    QueryFullProcessImageNameW,
};
use windows::core::PWSTR;

/// Longest process id with what is around it, bytes.
const MAX_LOCK: u64 = 32;

/// Where the other agent may keep its lock: in the folder for temporary files, by this environment and by the service's.
pub fn other_agents_locks() -> Vec<PathBuf> {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let folders = [std::env::temp_dir(), PathBuf::from(root).join("Temp")];
    let mut locks: Vec<_> = folders
        .iter()
        .map(|folder| folder.join("oco-agent.lock"))
        .collect();
    locks.dedup();
    locks
}

/// The process id in a lock file, if that is another agent's which is alive.
///
/// Everybody can write into the folder, so a file counts only if it is an administrator's or this user's own. An id may
/// have been given to another program since, so the process must be called like an agent, as far as that can be seen.
pub fn running_agent(lock_file: &Path) -> Option<u32> {
    let pid = read_lock(lock_file)
        .inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %lock_file.display(), "the lock of another agent is not heeded");
            }
        })
        .ok()??;
    if pid == 0 || pid == std::process::id() || !program_of(pid).is_some_and(|program| is_agent(&program)) {
        tracing::info!(process.id = pid, path = %lock_file.display(), "an orphaned lock of another agent is ignored");
        return None;
    }
    Some(pid)
}

fn read_lock(path: &Path) -> io::Result<Option<u32>> {
    if !path.symlink_metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if acl::access(path).map_err(|error| error.source)?.foreign_owner {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to some user",
        ));
    }
    let mut text = String::new();
    File::open(path)?.take(MAX_LOCK).read_to_string(&mut text)?;
    Ok(text.trim().parse().ok())
}

/// The program that a process runs, empty where nobody can tell; none if there is no such process.
fn program_of(pid: u32) -> Option<String> {
    // SAFETY: takes numbers; the handle is owned by nobody else.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, false, pid) };
    let process = match process {
        Err(error) if error.code() == ERROR_INVALID_PARAMETER.to_hresult() => return None,
        Err(_) => return Some(String::new()),
        // SAFETY: as above.
        Ok(process) => unsafe { OwnedHandle::from_raw_handle(process.0) },
    };
    let process = HANDLE(process.as_raw_handle());
    let mut code = 0;
    // SAFETY: the handle is open until the function's end, and the number lives until the call returns.
    if unsafe { GetExitCodeProcess(process, &raw mut code) }.is_ok() && code != STILL_ACTIVE.0.cast_unsigned()
    {
        // Somebody keeps a process that has ended.
        return None;
    }
    let mut name = [0; 1024];
    let mut length = u32::try_from(name.len()).unwrap_or_default();
    // SAFETY: the buffer is as long as is said.
    let named = unsafe {
        let buffer = PWSTR(name.as_mut_ptr());
        QueryFullProcessImageNameW(process, PROCESS_NAME_WIN32, buffer, &raw mut length)
    };
    Some(match named {
        Ok(()) => text::from_wide(&name).to_string_lossy().into_owned(),
        Err(_) => String::new(),
    })
}

/// Whether a program is an agent, or Python, which may run one. True also where nobody can tell.
fn is_agent(program: &str) -> bool {
    let name = program
        .rsplit('\\')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let name = name.trim_end_matches(".exe");
    name.is_empty() || matches!(name, "oco-agent" | "oco_agent") || name.starts_with("python")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_told_from_other_programs() {
        for agent in [
            "",
            r"C:\Program Files\OCO Agent\oco-agent.exe",
            r"C:\Python311\pythonw.exe",
        ] {
            assert!(is_agent(agent), "{agent:?}");
        }
        assert!(!is_agent(r"C:\Windows\System32\notepad.exe"));
    }

    #[test]
    fn the_own_process_has_a_program_and_an_unlikely_id_has_none() {
        let own = program_of(std::process::id()).unwrap();
        let exe = std::env::current_exe().unwrap();
        let name = exe.file_name().unwrap().to_str().unwrap();
        assert!(
            own.to_ascii_lowercase().ends_with(&name.to_ascii_lowercase()),
            "{own}"
        );
        assert_eq!(program_of(0x7fff_fff0), None);
    }

    #[test]
    fn strangers_and_rubbish_keep_nobody_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("oco-agent.lock");
        assert_eq!(running_agent(&lock), None);
        for content in [
            std::process::id().to_string(),
            String::new(),
            "-1".into(),
            "0".into(),
            "pid".into(),
        ] {
            std::fs::write(&lock, &content).unwrap();
            assert_eq!(running_agent(&lock), None, "{content}");
        }
    }
}
