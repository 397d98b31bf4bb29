//! What the tests share: the programs under test, folders to run them in, and peers to talk to.

#[cfg(target_os = "linux")]
pub(crate) mod dns;
pub(crate) mod mock;
pub(crate) mod proxy;
pub(crate) mod scripted;
pub(crate) mod tls;
#[cfg(any(target_os = "linux", windows))]
pub(crate) mod windows;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Registration key that the tests' servers accept.
pub(crate) const REGISTRATION_KEY: &str = "regkey-of-the-tests";

/// Path of a program of this workspace, built from the present sources once in each run, unless the variable
/// `OCO_TEST_PROGRAMS` names the folder in which they are.
pub(crate) fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("OCO_TEST_PROGRAMS") {
            return folder.into();
        }
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        // What cargo tells a test of its package would have the build script of `ring` run anew, and with it half of all
        // libraries be built once more.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&*name);
            }
        }
        // With a test among what is built, so that libraries have the features that they have in this one, and are built once.
        build.args(["build", "--quiet", "--workspace", "--bins", "--test", "suite"]);
        build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the programs cannot be built");
        profile
    });
    folder.join(name).with_extension(std::env::consts::EXE_EXTENSION)
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

    /// An agent that the scripted server at `api_url` knows, with these additional lines for the section `[agent]`.
    pub(crate) fn registered(api_url: &str, lines: &str) -> Self {
        let (agent_key, server_key) = (scripted::AGENT_KEY, scripted::SERVER_KEY);
        Self::with_config(&format!(
            "[agent]\nagent-key = {agent_key}\n{lines}\n[server]\napi-url = {api_url}\nserver-key = {server_key}\n"
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
        // The servers of the tests are on this machine, wherever its proxy is.
        for scheme in ["http", "https", "all"] {
            let name = format!("{scheme}_proxy");
            command.env_remove(name.to_uppercase()).env_remove(name);
        }
        command
    }

    /// Makes a shell script that the agent finds before the system's program of that name.
    #[cfg(unix)]
    pub(crate) fn stand_in(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.folder().join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The command that runs it with its stand-ins.
    #[cfg(unix)]
    pub(crate) fn command_with_stand_ins(&self) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = self.command();
        command.env("PATH", format!("{}:{path}", self.folder().join("bin").display()));
        command
    }

    /// Adds a line to the section `[agent]`.
    pub(crate) fn set(&self, line: &str) {
        let config = self
            .config()
            .replacen("[agent]\n", &format!("[agent]\n{line}\n"), 1);
        std::fs::write(self.config_path(), config).unwrap();
    }

    /// Starts it as a daemon, with its log in a file.
    pub(crate) fn daemon(&self) -> Daemon {
        self.daemon_by(self.command())
    }

    /// Starts it as a daemon by this command, with its log in a file.
    pub(crate) fn daemon_by(&self, mut command: Command) -> Daemon {
        let log = std::fs::File::create(self.folder().join("log")).unwrap();
        command.arg("--daemon").stderr(log).stdout(Stdio::null());
        Daemon(command.spawn().unwrap())
    }

    /// The log of its daemon so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap()
    }

    /// Whether its staging folder is gone or empty.
    pub(crate) fn staging_is_empty(&self) -> bool {
        std::fs::read_dir(self.folder().join("staging")).map_or(true, |mut entries| entries.next().is_none())
    }

    /// Checks in once.
    pub(crate) fn check_in(&self) -> Output {
        self.command().output().unwrap()
    }
}

/// Writes an executable shell script into a folder.
#[cfg(unix)]
pub(crate) fn shell_program(folder: &Path, name: &str, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running daemon; killed on drop.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Sends SIGTERM and waits; the exit code.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        signal(&self.0, "TERM");
        self.0.wait().unwrap().code()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal by its name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.0, name);
    }

    /// Kills it without warning (SIGKILL on Unix).
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal by its name.
#[cfg(unix)]
pub(crate) fn signal(process: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &process.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Asks again and again until there is an answer, for a minute at most.
pub(crate) fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_at_most(Duration::from_secs(60), what, condition)
}

/// As [`wait_for`], for what takes its time.
pub(crate) fn wait_at_most<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // Gives the processors to the programs under test; nothing depends on how long.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
