//! What the tests share: the programs under test, folders to run them in, and peers to talk to.

pub(crate) mod scripted;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Registration key that the tests' servers accept.
pub(crate) const REGISTRATION_KEY: &str = "regkey-of-the-tests";

/// Path of a program of this workspace, built from the present sources once in each run.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--bins",
            "-p",
            "oco-agent",
            "-p",
            "oco-mock-server",
            "-p",
            "oco-simulator",
        ]);
        build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the programs cannot be built");
        profile
    });
    folder.join(name)
}

/// An agent with a configuration and state of its own, run as a process.
pub(crate) struct Agent {
    folder: TempDir,
}

impl Agent {
    /// An agent for the server at `api_url`, not registered yet.
    pub(crate) fn new(api_url: &str) -> Self {
        Self::with_config(&format!(
            "; written by a test\n[agent]\nagent-key = {REGISTRATION_KEY}\nread-timeout = 20\nreport-job-output = 1\n\n\
             [server]\napi-url = {api_url}\nserver-key =\n"
        ))
    }

    /// An agent with this configuration, to the letter.
    pub(crate) fn with_config(text: &str) -> Self {
        let agent = Self {
            folder: TempDir::new().unwrap(),
        };
        std::fs::write(agent.config_path(), text).unwrap();
        agent
    }

    /// Where its configuration is.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("oco-agent.ini")
    }

    /// The folder with its configuration and state.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its configuration as it is now.
    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.config_path()).unwrap()
    }

    /// Value of a key in its configuration.
    pub(crate) fn setting(&self, key: &str) -> String {
        let config = self.config();
        let value = config
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
        value.unwrap_or_default().trim().to_owned()
    }

    /// The command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program("oco-agent"));
        command
            .arg("--config")
            .arg(self.config_path())
            .env_remove("OCO_AGENT_LOG");
        command
    }

    /// Checks in once.
    pub(crate) fn check_in(&self) -> Output {
        self.command().output().unwrap()
    }
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
