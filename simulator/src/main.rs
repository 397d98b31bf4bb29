//! `oco-simulator`: parses, wires and exits.

use anyhow::Context;
use clap::Parser;
use oco_simulator::cli::Cli;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;
use tracing_subscriber::EnvFilter;

/// What virtual agents find wrong is in the figures, so only the simulator itself and the server speak up.
const DEFAULT_LOG: &str = "off,oco_simulator=warn,oco_mock_server=error";
/// Exit code for wrong usage, a wrong scenario, no server.
const UNUSABLE: u8 = 2;

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
    let outcome = runtime.block_on(cli.execute(now(), interrupted()))?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(outcome.text.as_bytes())
        .and_then(|()| output.flush())
        .context("cannot write to standard output")?;
    Ok(outcome.code)
}

/// The one place that asks the system for the time: virtual machines start from there.
#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Completes on Ctrl-C; a second one then ends the program at once.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}
