//! Runs agents and measures them.

use crate::figures::{Cost, Figures};
use anyhow::{Context, Result, bail};
use oco_benches::process::{field, status};
use oco_benches::programs::{AGENT_KEY, Running};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wait4::Wait4;

/// A daemon that has not come to rest after that time never will.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a check-in consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckIn {
    /// The first one: the server gives out keys and asks for the inventory.
    Registration,
    /// A hello that the server wants nothing more after.
    Hello,
    /// A hello and the inventory.
    Full,
}

/// A computer to the server: a configuration with state beside it.
pub(crate) struct Computer<'a> {
    agent: &'a Path,
    folder: TempDir,
}

impl<'a> Computer<'a> {
    /// A computer that the server does not know yet.
    pub(crate) fn new(agent: &'a Path, url: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a folder for temporary files")?;
        let config =
            format!("[agent]\nagent-key = {AGENT_KEY}\nquery-interval = 3600\n\n[server]\napi-url = {url}\n");
        let path = folder.path().join("oco-agent.ini");
        std::fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { agent, folder })
    }

    /// One check-in in a process of its own.
    pub(crate) fn check_in(&self, kind: CheckIn) -> Result<Cost> {
        let mut command = self.command()?;
        if kind == CheckIn::Full {
            command.arg("--force");
        }
        let ended = command.spawn().context("cannot start the agent")?.wait4();
        let ended = ended.context("cannot wait for the agent")?;
        let log = self.log()?;
        let sent = format!("inventory_sent={}", kind != CheckIn::Hello);
        if !ended.status.success() || !log.contains(&sent) {
            bail!(
                "a check-in ({kind:?}) did not go as it should, {}:\n{log}",
                ended.status
            );
        }
        Ok(Cost {
            cpu: ended.rusage.utime + ended.rusage.stime,
            peak: ended.rusage.maxrss,
        })
    }

    /// Resident memory, bytes, of a daemon that has sent an inventory and waits for its next check-in.
    pub(crate) fn idle_daemon(&self) -> Result<u64> {
        let daemon = self.command()?.args(["--daemon", "--force"]).spawn().map(Running);
        let daemon = daemon.context("cannot start the agent")?;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let log = self.log()?;
            let status = status(&daemon.0.id().to_string())?;
            // The helpers of a check-in end a while after it: then what is left is what stays.
            if log.contains("inventory_sent=true") && field(&status, "Threads")? == 1 {
                return Ok(field(&status, "VmRSS")? * 1024);
            }
            pause();
        }
        bail!(
            "the daemon has not come to rest after {} s:\n{}",
            PATIENCE.as_secs(),
            self.log()?
        )
    }

    fn command(&self) -> Result<Command> {
        let log = self.folder.path().join("log");
        let log = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(self.agent);
        command
            .arg("--config")
            .arg(self.folder.path().join("oco-agent.ini"))
            .env_remove("OCO_AGENT_LOG")
            .stdin(Stdio::null())
            .stderr(log);
        Ok(command)
    }

    fn log(&self) -> Result<String> {
        let path = self.folder.path().join("log");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Refuses peaks that may be this program's own: a new process shares its parent's memory until it becomes another
/// program, and the kernel counts that.
pub(crate) fn check_floor(figures: &Figures) -> Result<()> {
    let own = field(&status("self")?, "VmHWM")? * 1024;
    let costs = figures.hello.iter().chain(&figures.full);
    match costs.map(|cost| cost.peak).min() {
        Some(lowest) if lowest > own => Ok(()),
        _ => bail!("this program takes {own} bytes itself, so it cannot measure a process that takes less"),
    }
}

#[allow(clippy::disallowed_methods)] // another process is waited for, which cannot tell
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_below_this_programs_own_are_refused() {
        let cost = |peak| Cost {
            cpu: Duration::ZERO,
            peak,
        };
        let hello = |peak| Figures {
            hello: vec![cost(peak)],
            ..Figures::default()
        };
        assert!(check_floor(&hello(1 << 40)).is_ok());
        assert!(check_floor(&hello(4096)).is_err());
        assert!(check_floor(&Figures::default()).is_err());
    }
}
