//! A whole run: server, fleet, administrator and collector, from the start to the report.
//!
//! No two parts wait for each other in a circle: workers wait for the driver and the collector, the driver waits for the
//! collector, and the collector waits for nobody.

use crate::admin::AdminError;
use crate::adversary::{self, Target};
use crate::connections::Connections;
use crate::event;
use crate::fleet::Fleet;
use crate::http::ClientError;
use crate::metrics::{Identity, MetricsServer};
use crate::pace::{Pacer, Plan};
use crate::presence::Presence;
use crate::process::{self, ProcessFigures};
use crate::progress::Progress;
use crate::report::{Circumstances, RunReport};
use crate::scenario::{self, AdversaryKind, Scenario};
use crate::simulated_host::{InvalidSetting, VirtualClock};
use crate::state_file::{StateFile, StateFileError};
use crate::stats::{Snapshot, Stats};
use crate::virtual_agent::{Ends, Site};
use oco_agent::server_client::HttpError;
use reqwest::Url;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;

mod administrator;
mod collector;
mod driver;
mod faults;
mod installed;
mod registration;
mod server;

pub use server::{External, InvalidServer, ServerChoice};

use administrator::Administrator;
use driver::Driver;
use installed::Installed;
use server::RunningServer;

/// What to run.
#[derive(Debug)]
pub struct Options {
    /// The scenario, with its size, seed and duration as they are to be.
    pub scenario: Scenario,
    /// Against which server.
    pub server: ServerChoice,
    /// How to run the same again, for the report. Holds no keys.
    pub command: String,
    /// What time it is: agents take their time from there.
    pub now: SystemTime,
    /// When the fleet starts, once everything is prepared: shards on different machines start together.
    pub start_at: Option<SystemTime>,
    /// Where the agents come from and are kept; none: they are newly installed, and gone at the end.
    pub state: Option<StateFile>,
    /// Where live figures are served.
    pub metrics: Option<SocketAddr>,
}

impl Options {
    /// To run it at once, with newly installed agents that are gone at the end, and without live figures.
    pub fn new(scenario: Scenario, server: ServerChoice, now: SystemTime) -> Self {
        Self {
            scenario,
            server,
            command: String::new(),
            now,
            start_at: None,
            state: None,
            metrics: None,
        }
    }
}

/// A run that could not begin, or lost its administrator.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No embedded server.
    #[error("cannot start the embedded server: {operation}")]
    Embedded {
        /// What did not work.
        operation: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answers.
    #[error("no server answers at {url}; start it, or leave out --server to use the embedded one")]
    Unreachable {
        /// Where.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// The scenario has an administrator, who has no access.
    #[error(
        "scenario {scenario:?} has packages or deployments: give access to the server's client API with --client-api, or \
         to a mock server's REST API with --api-key, or choose a scenario without [[admin.package]] and \
         [[admin.deployment]]"
    )]
    NoAdministrator {
        /// Which scenario.
        scenario: String,
    },
    /// The scenario wants what only a mock server has.
    #[error(
        "scenario {scenario:?} has sections that only a mock server has something for: {sections}; give its API key with \
         --api-key, leave out --server to use the embedded one, or leave out these sections"
    )]
    NeedsMockServer {
        /// Which scenario.
        scenario: String,
        /// Which sections.
        sections: String,
    },
    /// An adversary needs a bare connection.
    #[error(
        "adversary {name:?} is a slow-reader, which works on bare TCP only: leave it out, or give an http URL and no \
         fleet.tls"
    )]
    SlowReaderOverTls {
        /// Its name.
        name: String,
    },
    /// The administrator's action failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No HTTP client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No HTTP client for anybody else.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server's URL cannot stand in an agent's configuration.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The agents of an earlier run.
    #[error(transparent)]
    State(#[from] StateFileError),
    /// Nobody could scrape anything.
    #[error("cannot serve metrics at {address}; name another address with --metrics")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The other shards are under way already.
    #[error("the start was to be {} s ago, by now; choose a later --start-at", .0.as_secs())]
    TooLate(Duration),
    /// Somebody ended it before it began.
    #[error("interrupted before the start")]
    InterruptedBeforeStart,
    /// A task panicked, which is a defect.
    #[error("the {0} panicked; please report this defect with the message above")]
    Lost(&'static str),
}

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// Its outcome.
    pub report: RunReport,
    /// Whether its agents are kept, if they were to be.
    pub saved: Result<(), StateFileError>,
}

/// Runs a scenario until it is over or `interrupt` completes.
pub async fn run(
    options: Options,
    mut progress: Progress,
    interrupt: impl Future<Output = ()>,
) -> Result<Finished, RunError> {
    let entered = Instant::now();
    let mut interrupt = pin!(interrupt);
    process::raise_open_file_limit();
    // Fails only where the program has installed a provider already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scenario = Arc::new(options.scenario);
    let server = RunningServer::start(options.server, &scenario.fleet).await?;
    check_adversaries(&scenario, server.agent_url())?;
    let (events, receiver) = event::channel();
    let ends = Ends::default();
    let connections = Connections::new(server.agent_url(), &scenario.connections, server.ca())?;
    let administrator = Administrator::prepare(&scenario, &server).await?;
    let mut fleet = fleet(&scenario, &server, options.state.as_ref())?;
    if let Some(mock) = administrator.mock().filter(|_| scenario.fleet.registered) {
        tokio::select! {
            registered = registration::register(&scenario, mock, &mut fleet) => registered?,
            () = &mut interrupt => return Err(RunError::InterruptedBeforeStart),
        }
        // From now on only their keys open these computers again, whatever becomes of the run.
        if let Some(file) = &options.state {
            file.save(&scenario.fleet, &fleet)?;
        }
    }
    let (publish, snapshots) = watch::channel(Snapshot::default());
    let metrics = metrics(&scenario, options.metrics, &snapshots).await?;
    let time = |instant: Instant| options.now + instant.saturating_duration_since(entered);
    if let Some(start_at) = options.start_at {
        tokio::select! {
            waited = wait_until(start_at, time(Instant::now())) => waited?,
            () = &mut interrupt => return Err(RunError::InterruptedBeforeStart),
        }
    }
    let cpu_before_s = ProcessFigures::read().cpu_s;
    let start = Instant::now();
    let clock = VirtualClock::running(time(start), start).with_machine_at(scenario.fleet.start.0);
    let site = Arc::new(Site::new(
        scenario.clone(),
        connections,
        clock,
        start,
        events.clone(),
        ends.clone(),
    ));
    let presence = Presence::new(scenario.clone(), start);
    let pacer = Pacer::new(Plan::new(&scenario), scenario.fleet.shard, start);
    let collector = tokio::spawn(collector::collect(
        Stats::new(&scenario, start),
        receiver,
        publish,
    ));
    let faults = administrator.faults();
    let target = Target::new(server.agent_url(), server.agent_key(), server.ca(), clock)?;
    let attackers = adversary::start(&scenario, &target, start, &events, &ends);
    let administrator = administrator.act(
        site.clone(),
        server.is_embedded(),
        start,
        snapshots.clone(),
        events.clone(),
    );
    let driver = Driver::new(scenario.clone(), fleet, presence, pacer, site.clone(), events);
    let (over, fleet) = driver
        .drive(start, snapshots, administrator, &mut progress, interrupt, &ends)
        .await;
    progress.finish();
    drop((site, attackers, metrics));
    let saved = options
        .state
        .map_or(Ok(()), |file| file.save(&scenario.fleet, &fleet));
    let over = over?;
    let stats = collector.await.map_err(|_| RunError::Lost("collector"))?;
    let circumstances = Circumstances {
        started: time(start),
        duration: over.duration,
        interrupted: over.interrupted,
        server: server.name(),
        server_embedded: server.is_embedded(),
        agents_started: over.agents_started,
        bytes_per_idle_agent: over.bytes_per_idle_agent,
        process: ProcessFigures::read(),
        cpu_before_s,
        faults: faults.finish().await?,
        command: options.command,
    };
    server.stop().await;
    Ok(Finished {
        report: RunReport::new(&scenario, &stats, circumstances),
        saved,
    })
}

/// Reading slowly takes a connection that nothing else reads from.
fn check_adversaries(scenario: &Scenario, url: &Url) -> Result<(), RunError> {
    let slow = |adversary: &&scenario::Adversary| adversary.kind == AdversaryKind::SlowReader;
    match scenario.adversary.iter().find(slow) {
        Some(adversary) if url.scheme() == "https" => Err(RunError::SlowReaderOverTls {
            name: adversary.name.get_ref().clone(),
        }),
        _ => Ok(()),
    }
}

/// The agents: those of the state file, newly installed ones else.
fn fleet(scenario: &Scenario, server: &RunningServer, file: Option<&StateFile>) -> Result<Fleet, RunError> {
    let installed = Installed::new(server)?;
    let installed = |agent| installed.of(scenario, agent);
    let fleet = &scenario.fleet;
    match file {
        Some(file) => Ok(file.load(fleet, installed)?),
        None => Ok(Fleet::new(fleet.shard, fleet.size.0, installed)),
    }
}

async fn metrics(
    scenario: &Scenario,
    address: Option<SocketAddr>,
    snapshots: &watch::Receiver<Snapshot>,
) -> Result<Option<MetricsServer>, RunError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let identity = Identity {
        scenario: scenario.name.clone(),
        seed: scenario.fleet.seed,
        shard: scenario.fleet.shard,
    };
    let server = MetricsServer::start(address, identity, snapshots.clone()).await;
    server
        .map(Some)
        .map_err(|source| RunError::Metrics { address, source })
}

async fn wait_until(start: SystemTime, now: SystemTime) -> Result<(), RunError> {
    match start.duration_since(now) {
        Ok(left) => {
            tokio::time::sleep(left).await;
            Ok(())
        }
        Err(past) => Err(RunError::TooLate(past.duration())),
    }
}
