//! Programs for Windows on this computer, under wine.

use super::stderr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
pub(crate) fn wine(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("wine");
    command.arg(program.as_ref()).env("NO_PROXY", "127.0.0.1");
    for scheme in ["http", "https", "all"] {
        let name = format!("{scheme}_proxy");
        command.env_remove(name.to_uppercase()).env_remove(name);
    }
    command
}

/// What a path of this computer is called there.
pub(crate) fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display().to_string().replace('/', "\\"))
}

/// Runs the registry tool of Windows.
pub(crate) fn registry(arguments: &[&str]) -> Output {
    wine("reg").args(arguments).output().unwrap()
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
