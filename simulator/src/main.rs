//! `oco-simulator`: parses, wires and exits.

use anyhow::Context;
use clap::Parser;
use oco_simulator::cli::{Cli, UNUSABLE};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;
use tracing_subscriber::EnvFilter;

/// What virtual agents find wrong is in the figures, so only the simulator itself and the server speak up.
const DEFAULT_LOG: &str = "off,oco_simulator=warn,oco_mock_server=error";

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where standard error is gone, the exit code says it.
            let _ = writeln!(std::io::stderr(), "oco-simulator: {error:#}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<u8> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let outcome = runtime.block_on(async {
        let signals = Signals::register().context("cannot wait for signals")?;
        let outcome = cli.execute(now(), interrupted(signals)).await;
        outcome.map_err(anyhow::Error::from)
    })?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(outcome.text.as_bytes())
        .and_then(|()| output.flush())
        .context("cannot write to standard output")?;
    for problem in outcome.problems {
        let _ = writeln!(std::io::stderr(), "oco-simulator: {problem}");
    }
    Ok(outcome.code)
}

/// The one place that asks the system for the time: virtual machines start from there.
#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Completes on Ctrl-C or an order to end; a second one then ends the program at once.
async fn interrupted(mut signals: Signals) {
    signals.next().await;
    tokio::spawn(async move {
        let code = signals.next().await;
        std::process::exit(code);
    });
}

/// What asks the program to end. From its registration on, none is lost.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn register() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one; the exit code of a program that it ends.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn register() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> i32 {
        let _ = self.0.recv().await;
        130
    }
}
