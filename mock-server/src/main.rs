//! `oco-mock-server`: parses the command line, wires the library and exits.

use anyhow::Context;
use clap::Parser;
use oco_mock_server::{
    FileConfig, OpenError, PhpQuirks, Server, ServerGeneration, StartError, without_password,
};
use oco_protocol::Key;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// A mock OCO server for tests: agent API, REST API, SQL storage.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long)]
    listen: Option<String>,
    /// sqlite:PATH, sqlite::memory:, postgres://... or mariadb://... [default: oco-mock-server/oco.db in the user's data folder]
    #[arg(long)]
    database: Option<String>,
    /// Key that computers register with [default: the one in the database, generated at the first start]
    #[arg(long, env = "OCO_AGENT_KEY", hide_env_values = true, value_parser = key)]
    agent_key: Option<Key>,
    /// Key of the REST API [default: the one in the database, generated at the first start]
    #[arg(long, env = "OCO_API_KEY", hide_env_values = true, value_parser = key)]
    api_key: Option<Key>,
    /// Which real server to behave like: current, or 2022 (that of September 2022) [default: current]
    #[arg(long)]
    server_generation: Option<ServerGeneration>,
    /// Shapes of answers: 8 (PHP 8.1 and later), 7 (older PHP), or off (clean JSON) [default: 8]
    #[arg(long)]
    php_quirks: Option<PhpQuirks>,
    /// Serve HTTPS with a certificate of an own, throw-away authority
    #[arg(long)]
    tls: bool,
    /// Name or address of that certificate, beside localhost, 127.0.0.1 and ::1; may be repeated
    #[arg(long = "tls-name", value_name = "NAME")]
    tls_names: Vec<String>,
    /// Serve HTTPS with this certificate (PEM); needs --tls-key
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Refuse requests that are against the protocol
    #[arg(long)]
    strict: bool,
    /// Configuration file (TOML); the command line takes precedence
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the OpenAPI description of the REST API, which a running server has at /mock/v1/openapi.json
    Openapi,
}

fn key(text: &str) -> Result<Key, std::convert::Infallible> {
    Ok(Key::new(text))
}

/// Errors of the command line and the configuration, as opposed to those of the machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => {
            return if error.print().is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        Err(error) => {
            let text = error.to_string();
            return fail(
                2,
                text.lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: "),
            );
        }
    };
    let outcome = match arguments.command {
        Some(Command::Openapi) => print(&oco_mock_server::openapi()),
        None => run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let usage = error.is::<UsageError>()
                || matches!(
                    error.downcast_ref::<StartError>(),
                    Some(
                        StartError::Open(OpenError::Url(_))
                            | StartError::EmptyKey(_)
                            | StartError::Fault(_)
                            | StartError::Tls(_)
                    )
                );
            fail(if usage { 2 } else { 1 }, &chain(&error))
        }
    }
}

/// An error with its causes, each said once: some messages repeat their cause.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn fail(code: u8, message: &str) -> ExitCode {
    let line = message.replace(['\n', '\r'], " ");
    drop(writeln!(std::io::stderr(), "oco-mock-server: {line}"));
    ExitCode::from(code)
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to the standard output")
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let mut file = match &arguments.config {
        Some(path) => FileConfig::read(path).map_err(|error| UsageError(chain(&error.into())))?,
        None => FileConfig::default(),
    };
    file.tls |= arguments.tls;
    file.strict |= arguments.strict;
    file.tls_names.extend(arguments.tls_names);
    file.tls_cert = arguments.tls_cert.or(file.tls_cert);
    file.tls_key = arguments.tls_key.or(file.tls_key);
    file.database = arguments.database.or(file.database);
    let listen = arguments
        .listen
        .or_else(|| file.listen.clone())
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listen: SocketAddr = listen.parse().map_err(|_| {
        UsageError(format!(
            "{listen:?} is no address to listen on: expected IP:PORT such as 127.0.0.1:8080"
        ))
    })?;
    let tls_of = file.clone();
    let mut config = file.into_config();
    config.tls = tls_of
        .tls(&config.database)
        .map_err(|error| UsageError(error.into()))?;
    config.agent_key = arguments.agent_key.or(config.agent_key);
    config.api_key = arguments.api_key.or(config.api_key);
    config.server_generation = arguments.server_generation.unwrap_or(config.server_generation);
    config.php_quirks = arguments.php_quirks.unwrap_or(config.php_quirks);
    let database = without_password(&config.database);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(async move {
            let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            let server = Server::start(config, listener, stop_signal()?).await?;
            let admin = server.new_admin.as_ref().map_or_else(String::new, |admin| {
                let password = admin.generated_password.as_ref().map_or_else(
                    || "with the configured password".to_owned(),
                    |password| format!("password {} (not shown again)", password.expose()),
                );
                format!("client API user:        {}, {password}\n", admin.name)
            });
            let greeting = format!(
                "oco-mock-server {} listening on {}\nagent API URL:          {}\nagent registration key: {}\n\
                 client API URL:         {}\n{admin}\
                 REST base URL:          {}\nREST API key:           {}\n{}database:               {database}\n",
                env!("CARGO_PKG_VERSION"),
                server.addr,
                server.agent_url(),
                server.agent_key.expose(),
                server.client_url(),
                server.rest_url(),
                server.api_key.expose(),
                server.ca_certificate.as_ref().map_or_else(String::new, |path| {
                    format!("CA certificate:         {}\n", path.display())
                }),
            );
            // Nobody may be reading; the server runs all the same.
            let mut stdout = std::io::stdout();
            drop(stdout.write_all(greeting.as_bytes()).and_then(|()| stdout.flush()));
            server.join().await.context("the server failed")
        })
}

/// Completes at SIGINT or SIGTERM (Ctrl-C on Windows).
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
