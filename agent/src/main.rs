//! The OCO agent: parses the command line, wires the library to this machine, and exits.

mod log;

use anyhow::{Context, Result, bail};
use clap::Parser;
#[cfg(windows)]
use oco_agent::cli::ServiceAction;
use oco_agent::cli::{Cli, Task};
use oco_agent::config::{self, Config, Document, Paths};
use oco_agent::daemon::{self, Ending};
use oco_agent::host::Host;
use oco_agent::host::system::{self, SystemHost};
use oco_agent::lock::{Lock, LockError};
use oco_agent::observer::Unobserved;
use oco_agent::server_client::{HttpClient, HttpError, HttpOptions, TlsRoots};
#[cfg(windows)]
use oco_agent::service::{answers, windows as service};
use oco_agent::{Agent, check, discovery, inventory, signals};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    system::save_memory();
    system::seal_memory();
    let cli = Cli::parse().validated().unwrap_or_else(|error| error.exit());
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to be done if even that cannot be written.
            let _ = writeln!(io::stderr(), "oco-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let paths = paths(cli)?;
    let host = Arc::new(SystemHost::new(&paths.staging));
    match cli.command {
        Some(Task::Inventory { pretty }) => {
            print_inventory(&(host as Arc<dyn Host>), &paths, cli.config.is_some(), pretty)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Task::Check { json }) => print_check(host.as_ref(), &paths, json),
        #[cfg(windows)]
        Some(Task::Service { ref action }) => control_service(cli, action, &paths, host.as_ref()),
        None => check_in(cli, &paths, host).map(|_| ExitCode::SUCCESS),
    }
}

#[cfg(windows)]
fn control_service(cli: &Cli, action: &ServiceAction, paths: &Paths, host: &SystemHost) -> Result<ExitCode> {
    match action {
        ServiceAction::Configure { answers } => {
            if let Some(folder) = paths.config.parent() {
                host.protect_folder(folder)?;
            }
            answers::configure(host, &paths.config, answers.as_deref())?;
        }
        ServiceAction::Renew => service::renew(host, paths.timestamp.parent().unwrap_or(Path::new(".")))?,
        ServiceAction::Install => {
            let program = std::env::current_exe().context("cannot tell where this program lies")?;
            let config = cli.config.as_deref().map(std::path::absolute).transpose();
            let config = config.context("cannot tell where the configuration lies")?;
            for refused in service::install(&program, config.as_deref())? {
                writeln!(io::stderr(), "oco-agent: {refused}").context("cannot print a warning")?;
            }
        }
        ServiceAction::Start => service::start()?,
        ServiceAction::Stop => service::stop()?,
        ServiceAction::Delete => service::delete()?,
        ServiceAction::Run => {
            let (mut cli, paths) = (cli.clone(), paths.clone());
            (cli.command, cli.daemon) = (None, true);
            service::run(&paths.config.clone(), move || {
                let host = Arc::new(SystemHost::new(&paths.staging));
                let result = check_in(&cli, &paths, host);
                if let Err(error) = &result {
                    // The log may not have been started.
                    let line = format!("oco-agent: {error:#}\n");
                    let _ = service::log_file().map(|mut log| log.write_all(line.as_bytes()));
                }
                result.unwrap_or(true)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn paths(cli: &Cli) -> Result<Paths> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let installed = Paths::installed(system::OS, program.parent().unwrap_or(Path::new(".")));
    Ok(match &cli.config {
        Some(config) if *config != installed.config => Paths::beside(config),
        _ => installed,
    })
}

fn print_inventory(host: &Arc<dyn Host>, paths: &Paths, config_named: bool, pretty: bool) -> Result<()> {
    log::start(LevelFilter::WARN);
    let config = match config::load(host.as_ref(), &paths.config) {
        Ok((config, _)) => config,
        Err(error) if config_named => return Err(error.into()),
        // The inventory needs no server: without an installed configuration the defaults hold.
        Err(_) => Config::from_document(&Document::default(), host.os(), &paths.config)?,
    };
    let options = oco_agent::agent::collection(&config, None);
    let inventory = inventory::collect_within(
        inventory::PART_TIME_LIMIT,
        host,
        &options,
        &inventory::UnderWay::default(),
    );
    let json = if pretty {
        serde_json::to_string_pretty(&inventory)
    } else {
        serde_json::to_string(&inventory)
    };
    writeln!(
        io::stdout(),
        "{}",
        json.context("cannot write the inventory as JSON")?
    )
    .context("cannot print the inventory")
}

fn print_check(host: &dyn Host, paths: &Paths, json: bool) -> Result<ExitCode> {
    log::start(LevelFilter::OFF);
    let report = check::run(host, paths, http_client).context("cannot start the asynchronous runtime")?;
    let text = if json {
        serde_json::to_string_pretty(&report).context("cannot write the report as JSON")? + "\n"
    } else {
        report.to_string()
    };
    write!(io::stdout(), "{text}").context("cannot print the report")?;
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether a job wants the agent to be started again.
fn check_in(cli: &Cli, paths: &Paths, host: Arc<SystemHost>) -> Result<bool> {
    let (config, _) = config::load(host.as_ref(), &paths.config)?;
    log::start(if config.debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    });
    if cli.config.is_none() {
        refuse_beside_other_agent()?;
    }
    let _lock = Lock::acquire(&paths.lock)?;
    clean_up_after_service(&host);
    if let Err(error) = host.note_leftovers() {
        tracing::warn!(error = %error, reason = %error.source, "packages of an earlier start are left behind");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Collecting facts needs them for a moment in a minute.
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(async {
        let ending = Ending::default();
        tokio::select! {
            result = work(cli, paths, host, config.query_interval, &ending) => result,
            result = stop_on_signals(&ending.stop) => result.map(|()| false),
            // A single check-in from a terminal ends with it, as programs do.
            result = leave_on_signal(&ending.leave), if cli.daemon => result.map(|()| false),
        }
    });
    // A question to the hardware that never returns must not keep the process.
    runtime.shutdown_background();
    result
}

/// The agent that this one replaces keeps its lock in the folder for temporary files, which may be another one by the
/// environment. Two installed agents would fight over one configuration; one with a configuration of its own is no
/// concern of theirs.
fn refuse_beside_other_agent() -> Result<(), LockError> {
    match system::other_agents_locks()
        .into_iter()
        .find_map(|path| Some((system::running_agent(&path)?, path)))
    {
        Some((pid, path)) => Err(LockError::OtherAgent { path, pid }),
        None => Ok(()),
    }
}

async fn work(
    cli: &Cli,
    paths: &Paths,
    host: Arc<SystemHost>,
    interval: Duration,
    ending: &Ending,
) -> Result<bool> {
    // To be asked to leave is to be started again.
    let again = |agent: &Agent| agent.is_leaving() || ending.leave.is_cancelled();
    let (asking, config) = (host.clone() as Arc<dyn Host>, paths.config.clone());
    let (leftovers, daemon) = (host.clone(), cli.daemon);
    // Beside the first hello: packages may be large, and jobs that still run may take hours.
    let clearing = tokio::task::spawn_blocking(move || {
        if daemon {
            leftovers.remove_all_leftovers();
        } else {
            leftovers.remove_ended_leftovers();
        }
    });
    if cli.daemon {
        if !daemon::find_server(&asking, &config, interval, ending).await {
            return Ok(false);
        }
    } else {
        tokio::task::spawn_blocking(move || discovery::find_server(asking.as_ref(), &config)).await??;
    }
    let agent = Agent::load(host.clone(), paths, http_client, Arc::new(Unobserved))?;
    if cli.daemon {
        let agent = Arc::new(agent);
        Box::pin(daemon::run(
            agent.clone(),
            host.clone(),
            cli.force,
            ending.clone(),
        ))
        .await;
        if again(&agent) {
            start_again_later(&host, paths);
        }
        return Ok(again(&agent));
    }
    let summary = daemon::run_once(&agent, cli.force, &ending.stop).await?;
    if summary.failed > 0 {
        tracing::warn!(failed = summary.failed, "not every job succeeded");
    }
    clearing.await.context("removing earlier packages ended early")?;
    Ok(agent.is_leaving())
}

/// What only Windows' service leaves behind when it is started again or killed.
#[cfg(not(windows))]
fn clean_up_after_service(_host: &SystemHost) {}

#[cfg(windows)]
fn clean_up_after_service(host: &SystemHost) {
    if service::is_running() {
        service::forget_restart(host);
        host.unload_left_registries();
    }
}

/// Service managers elsewhere do that by themselves.
#[cfg(not(windows))]
fn start_again_later(_host: &SystemHost, _paths: &Paths) {}

#[cfg(windows)]
fn start_again_later(host: &SystemHost, paths: &Paths) {
    let Some(folder) = paths.timestamp.parent().filter(|_| service::is_running()) else {
        return;
    };
    if let Err(error) = service::restart_later(host, folder) {
        tracing::warn!(error = %format!("{:#}", anyhow::Error::from(error)), "only the service manager's recovery starts the agent again");
    }
}

/// The first signal lets a running job finish, the second one does not wait for it.
async fn stop_on_signals(stop: &CancellationToken) -> Result<()> {
    signals::stop_requested()
        .await
        .context("cannot listen for signals")?;
    tracing::info!("signal received");
    stop.cancel();
    signals::stop_requested()
        .await
        .context("cannot listen for signals")?;
    bail!("stopped by a second signal, whatever was running");
}

/// The signal ends the daemon once no job runs, so that the service manager starts what is installed then.
async fn leave_on_signal(leave: &CancellationToken) -> Result<()> {
    signals::leave_requested()
        .await
        .context("cannot listen for signals")?;
    tracing::info!("signal received: leaving once no job runs");
    leave.cancel();
    std::future::pending().await
}

fn http_client(config: &Config) -> Result<HttpClient, HttpError> {
    let url = config.api_url.as_deref().unwrap_or_default();
    let https = url
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    HttpClient::new(&HttpOptions {
        connect_timeout: config.connection_timeout,
        read_timeout: config.read_timeout,
        tls: https.then(|| TlsRoots {
            additional: config.ca_file.clone(),
        }),
        local_address: None,
        keep_alive: false,
        proxies: true,
    })
}
