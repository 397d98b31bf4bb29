//! Measures what the mock server bears, with its database in a file, beside a bare handler that only parses, verifies and
//! answers. Both run as processes of their own on the cores that the generator runs on too, and are measured in turn, so
//! that what else runs there troubles both. Exits with 1 where a request was refused or a target is missed.

mod client;
mod figures;
mod fleet;
mod lane;
mod message;
mod rounds;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use oco_benches::programs::{self, Server};
use oco_benches::{bare, process};
use oco_protocol::Key;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
#[command(about = "Measures what the mock server bears, beside a handler that keeps nothing")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serves as the bare handler, until it is killed
    #[command(hide = true)]
    Bare,
}

#[derive(Debug, Clone, Args)]
struct Options {
    /// Only see whether all of it works and nothing is refused: small, with unoptimised programs, and without figures
    #[arg(long)]
    quick: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Measure this often
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a round
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Computers that take turns
    #[arg(long, default_value_t = 512)]
    computers: usize,
    /// Connections that they share
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// First updates at a time
    #[arg(long, default_value_t = 48)]
    parallel: usize,
    /// Packages of a computer
    #[arg(long, default_value_t = 1800)]
    packages: usize,
    /// Computers with 1,000 packages each, for memory and search
    #[arg(long, default_value_t = 10_000)]
    fleet: usize,
    /// Searches
    #[arg(long, default_value_t = 200)]
    searches: usize,
    /// Measure this binary of the mock server instead of building one
    #[arg(long)]
    server: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Some(Role::Bare) => serve_bare().map(|()| true),
        None => measure(arguments.options),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to be done if even that cannot be written.
            let _ = writeln!(io::stderr(), "server-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all targets are met.
fn measure(options: Options) -> Result<bool> {
    let options = if options.quick { options.quick() } else { options };
    if options.rounds == 0 || options.connections == 0 || options.computers < options.connections {
        bail!("--rounds and --connections want at least 1, --computers as many as there are connections");
    }
    if cfg!(debug_assertions) && !options.quick {
        bail!(
            "an unoptimised generator measures itself: cargo run --release -p oco-benches --bin server-load"
        );
    }
    let profile = if options.quick { "dev" } else { "release" };
    let server = match &options.server {
        Some(server) => server.clone(),
        None => programs::build(profile, "oco-mock-server")?,
    };
    // Beside the build rather than in /tmp, which may be memory, where commits cost nothing.
    let folder =
        tempfile::tempdir_in(programs::target_folder()?).context("cannot create a folder for databases")?;
    let load = process::load()?;
    // One thread: the generator is to take no more than it must of the cores that it shares.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(async {
        let mock = start_mock(&server, folder.path(), "rounds")?;
        let mut figures = rounds::measure(&options, &mock, &start_bare()?).await?;
        drop(mock);
        fleet::measure(
            &options,
            &start_mock(&server, folder.path(), "fleet")?,
            &mut figures,
        )
        .await?;
        anyhow::Ok(figures)
    })?;
    let report = if options.json {
        serde_json::to_string_pretty(&figures)?
    } else {
        figures.table(&options, load)
    };
    writeln!(io::stdout(), "{report}").context("cannot print the figures")?;
    Ok(figures.hold(options.quick))
}

fn start_mock(program: &Path, folder: &Path, name: &str) -> Result<Server> {
    let database = format!("sqlite:{}", folder.join(name).with_extension("db").display());
    Server::start_mock(program, &database)
}

fn start_bare() -> Result<Server> {
    let mut command = Command::new(std::env::current_exe().context("cannot tell where this program lies")?);
    command.arg("bare");
    Server::start(command)
}

fn serve_bare() -> Result<()> {
    use axum::serve::ListenerExt;
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        writeln!(io::stdout(), "{}", programs::greeting(&url))?;
        let listener = listener.tap_io(|stream| {
            // What comes of it is slower answers, which the figures show.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, bare::router(Key::new(programs::AGENT_KEY))).await?;
        Ok(())
    })
}

impl Options {
    fn quick(self) -> Self {
        Self {
            rounds: 1,
            seconds: 0.5,
            computers: 16,
            connections: 4,
            parallel: 8,
            packages: 200,
            fleet: 32,
            searches: 8,
            ..self
        }
    }
}
