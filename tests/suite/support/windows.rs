//! Programs for Windows: on Windows itself, and on Linux under wine.

use super::stderr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// Programs for Windows share one registry, and one service manager.
pub(crate) type Turn = MutexGuard<'static, ()>;

/// Waits until no other test uses them.
pub(crate) fn turn() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program that a variable names; none where it was not built, which is said.
#[allow(clippy::print_stderr)] // says why a test proves nothing
pub(crate) fn named(variable: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable);
    if program.is_none() {
        eprintln!("skipped: {variable} names no program for Windows (ci/cross/windows-e2e builds it)");
    }
    program.map(Into::into)
}

/// The command that runs a program for Windows.
pub(crate) fn run(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = if cfg!(windows) {
        Command::new(program)
    } else {
        let mut wine = Command::new("wine");
        wine.arg(program);
        wine
    };
    command.env("NO_PROXY", "127.0.0.1");
    for scheme in ["http", "https", "all"] {
        let name = format!("{scheme}_proxy");
        command.env_remove(name.to_uppercase()).env_remove(name);
    }
    command
}

/// What a path of this computer is called there.
pub(crate) fn path(path: &Path) -> String {
    let path = path.display();
    if cfg!(windows) {
        path.to_string()
    } else {
        format!("Z:{}", path.to_string().replace('/', "\\"))
    }
}

/// Where something is on this computer that programs for Windows have in a folder of drive C.
pub(crate) fn on_drive_c(path: &str) -> PathBuf {
    if cfg!(windows) {
        return Path::new(r"C:\").join(path);
    }
    let prefix = std::env::var_os("WINEPREFIX").expect("ci/cross/windows-e2e sets it");
    Path::new(&prefix).join("drive_c").join(path)
}

/// Whether people who are no administrators can read a file.
#[cfg(unix)] // wine keeps access control lists as modes, as far as they go
pub(crate) fn others_can_read(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().unwrap().permissions().mode() & 0o007 != 0
}

/// Whether people who are no administrators can read a file.
#[cfg(windows)]
pub(crate) fn others_can_read(file: &Path) -> bool {
    let list = format!("(Get-Acl -LiteralPath '{}').Sddl", file.display());
    let mut powershell = run("powershell");
    // That of a newer one is not for this one.
    powershell.env_remove("PSModulePath");
    let output = powershell
        .args(["-NoProfile", "-Command", &list])
        .output()
        .unwrap();
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(list.contains("D:"), "{list} {}", stderr(&output));
    // Users, everybody, whoever has logged on, whoever is at the computer, guests.
    let groups = ["BU", "WD", "AU", "IU", "BG"];
    groups.iter().any(|group| list.contains(&format!(";;;{group})")))
}

/// Whether a process of this computer has that in its command line.
pub(crate) fn is_running(part: &str) -> bool {
    let mut system = System::new().unwrap();
    let command_lines = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, command_lines);
    let mut lines = system.processes().values().map(|process| {
        let words = process.cmd().iter().map(|word| word.to_string_lossy());
        words.collect::<Vec<_>>().join(" ")
    });
    lines.any(|line| line.contains(part))
}

/// Runs the registry tool of Windows.
pub(crate) fn registry(arguments: &[&str]) -> Output {
    run("reg").args(arguments).output().unwrap()
}

/// A key that is removed with all that is in it, before and after.
pub(crate) struct Key(&'static str);

impl Key {
    pub(crate) fn new(path: &'static str) -> Self {
        registry(&["delete", path, "/f"]);
        Self(path)
    }

    /// Sets a value.
    pub(crate) fn add(&self, name: &str, kind: &str, value: &str) {
        let output = registry(&["add", self.0, "/v", name, "/t", kind, "/d", value, "/f"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// What the tool says of the key and those below it; empty where there is none.
    pub(crate) fn content(&self) -> String {
        let output = registry(&["query", self.0, "/s"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        registry(&["delete", self.0, "/f"]);
    }
}
