//! The programs that take part: the agent as it is shipped, and servers.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Key that computers register with.
pub const AGENT_KEY: &str = "key-of-the-benchmarks";
/// What the lines of a server's greeting begin with, the last one at the end.
const AGENT_URL: &str = "agent API URL:";
const REST_URL: &str = "REST base URL:";
const API_KEY: &str = "REST API key:";
const END: &str = "database:";

/// Builds a program of the workspace, whose package is named like it.
pub fn build(profile: &str, package: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What `cargo run` tells of its package would have the build script of `ring` run anew, and much be built once more.
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (name, _) in std::env::vars_os() {
        if told.iter().any(|told| name.to_string_lossy().starts_with(told)) {
            build.env_remove(name);
        }
    }
    let status = build
        .args(["build", "--profile", profile])
        .args(["--package", package, "--bin", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cannot build {package}");
    }
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target_folder()?.join(folder).join(package))
}

/// Where cargo has put this program, in a folder of its profile, it puts the others.
pub fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let folder = program.ancestors().nth(2);
    folder
        .map(Path::to_owned)
        .with_context(|| format!("{} is not in cargo's target folder", program.display()))
}

/// A process that ends with the value.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, and there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server in a process of its own.
#[derive(Debug)]
pub struct Server {
    process: Running,
    /// Where agents reach it.
    pub url: String,
    /// Where its REST surface is, and the key of it; empty where it has none.
    pub rest: (String, String),
}

impl Server {
    /// Starts a mock server on a free port, with that database.
    pub fn start_mock(program: &Path, database: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["--listen", "127.0.0.1:0", "--agent-key", AGENT_KEY])
            .args(["--database", database])
            .env("RUST_LOG", "off");
        Self::start(command)
    }

    /// Starts a server that greets like the mock server, see [`greeting`].
    pub fn start(mut command: Command) -> Result<Self> {
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .map(Running)
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let output = process.0.stdout.take().context("the server has no output")?;
        let (mut url, mut rest) = (String::new(), (String::new(), String::new()));
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what the server prints")?;
            for (name, value) in [
                (AGENT_URL, &mut url),
                (REST_URL, &mut rest.0),
                (API_KEY, &mut rest.1),
            ] {
                if let Some(found) = line.strip_prefix(name) {
                    found.trim().clone_into(value);
                }
            }
            if line.starts_with(END) {
                return Ok(Self { process, url, rest });
            }
        }
        bail!("the server ended before it had greeted")
    }

    /// The process, as `/proc` names it.
    pub fn pid(&self) -> String {
        self.process.0.id().to_string()
    }
}

/// What a server prints that has nothing but an agent API.
pub fn greeting(url: &str) -> String {
    format!("{AGENT_URL} {url}\n{END} none")
}
