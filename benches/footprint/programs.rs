//! The programs that take part: the agent as it is shipped, and a mock server.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Key that computers register with.
pub(crate) const AGENT_KEY: &str = "footprint";

/// Builds the agent as it is shipped.
pub(crate) fn build_agent() -> Result<PathBuf> {
    build("dist", "oco-agent")?;
    Ok(target_folder()?.join("dist/oco-agent"))
}

/// Builds the mock server; how fast it is does not matter here.
pub(crate) fn build_mock_server() -> Result<PathBuf> {
    build("dev", "oco-mock-server")?;
    Ok(target_folder()?.join("debug/oco-mock-server"))
}

fn build(profile: &str, package: &str) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--profile",
            profile,
            "--package",
            package,
            "--bin",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cannot build {package}");
    }
    Ok(())
}

/// Where cargo has put this program, in a folder of its profile, it puts the others.
fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let folder = program.ancestors().nth(2);
    folder
        .map(Path::to_owned)
        .with_context(|| format!("{} is not in cargo's target folder", program.display()))
}

/// A process that ends with the value.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, and there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mock server that keeps everything in memory.
pub(crate) struct MockServer {
    _process: Running,
    /// Where agents reach it.
    pub(crate) url: String,
}

impl MockServer {
    /// Starts one on a free port.
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--database",
                "sqlite::memory:",
                "--agent-key",
                AGENT_KEY,
            ])
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .map(Running)
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = process.0.stdout.take().context("the mock server has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read what the mock server prints")?;
            if let Some(url) = line.strip_prefix("agent API URL:") {
                return Ok(Self {
                    url: url.trim().to_owned(),
                    _process: process,
                });
            }
        }
        bail!("the mock server ended before it printed the URL for agents")
    }
}
