//! The command line: what can be asked for, and what it means.

use crate::admin::Credentials;
use crate::duration::Span;
use crate::generate::Machine;
use crate::progress::Progress;
use crate::redact::redacted;
use crate::report::baseline::{self, DEFAULT_REGRESSION, Incomparable};
use crate::report::merge::MergeError;
use crate::report::text::Summary;
use crate::report::{ReportError, ReportFile, RunReport, html, json};
use crate::run::{self, External, Finished, Options, RunError, ServerChoice};
use crate::scenario::{self, Compression, FleetSize, MachineTime, Scenario, ScenarioError, Share};
use crate::shard::Shard;
use crate::simulated_host::recording::{self, ShowError};
use crate::state_file::{StateFile, StateFileError};
use crate::verdict::Verdict;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Parser, Subcommand};
use oco_agent::host::Os;
use oco_protocol::Key;
use reqwest::Url;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

mod merge;
mod secret;

use merge::MergeArgs;

/// Runs a fleet of virtual OCO agents against a server and says pass or fail.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario (also without this word; without any argument: the scenario demo on an embedded server)
    Run(Box<RunArgs>),
    /// Merge the results of all shards of a fleet into one report
    Merge(MergeArgs),
    /// List the built-in scenarios
    Scenarios,
    /// Show one virtual machine: the inventory that an agent makes of it, as JSON
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Built-in scenario or TOML file
    #[arg(default_value = scenario::DEFAULT)]
    scenario: String,
    /// Number of agents instead of the scenario's
    #[arg(long, value_name = "N", value_parser = FleetSize::from_argument)]
    agents: Option<FleetSize>,
    /// URL of a running server instead of the embedded one
    #[arg(long, value_name = "URL", value_parser = ServerUrl, requires = "agent_key")]
    server: Option<Url>,
    /// Key that computers register with at that server, or @FILE for the first line of a file
    #[arg(long, value_name = "KEY", value_parser = secret::key, env = "OCO_AGENT_KEY", hide_env_values = true)]
    agent_key: Option<Key>,
    /// Key of that server's REST API (a mock server's), for policies, rules, settings and faults, or @FILE
    #[arg(long, value_name = "KEY", value_parser = secret::key, env = "OCO_API_KEY", hide_env_values = true)]
    api_key: Option<Key>,
    /// Who administers that server through its client API (packages and deployments), or @FILE
    #[arg(
        long,
        value_name = "USER:PASSWORD:KEY",
        value_parser = secret::credentials,
        env = "OCO_CLIENT_API",
        hide_env_values = true
    )]
    client_api: Option<Credentials>,
    /// Certificates (PEM) to trust beside the system's, for an https server
    #[arg(long, value_name = "FILE", requires = "server")]
    ca_file: Option<PathBuf>,
    /// Longest duration instead of the scenario's: 90, 90s, 5m, 1h
    #[arg(long, value_name = "T")]
    duration: Option<Span>,
    /// All times of the scenario but limits are N times shorter: for trying out a long one with few agents
    #[arg(long, value_name = "N", value_parser = Compression::from_argument)]
    compress: Option<Compression>,
    /// Seed instead of the scenario's: the same seed makes the same fleet
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Run only part I (from 0) of N of the fleet; `merge` makes one report of all
    #[arg(long, value_name = "I/N", requires = "server")]
    shard: Option<Shard>,
    /// Where the agents' keys and timestamps are kept: the next run with it goes on with the same registered computers
    #[arg(long, value_name = "FILE", requires = "server")]
    state: Option<PathBuf>,
    /// When the fleet starts, such as 2026-10-05T08:00:00Z: shards on several machines start together
    #[arg(long, value_name = "TIME")]
    start_at: Option<MachineTime>,
    /// Serve live figures for Prometheus at http://ADDR/metrics, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Earlier result (of --json) to compare with: a run that is slower than the limit fails
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much slower than the baseline a 99th percentile may be, as a share [default: the scenario's, else 0.2]
    #[arg(long, value_name = "SHARE", value_parser = Share::from_argument, requires = "baseline")]
    regression: Option<Share>,
    /// Where the report for people goes
    #[arg(long, value_name = "FILE", default_value = "oco-simulator-report.html")]
    report: PathBuf,
    /// Where the machine-readable result goes
    #[arg(long, value_name = "FILE", default_value = "oco-simulator-report.json")]
    json: PathBuf,
}

#[derive(Debug, Args)]
struct GenerateArgs {
    /// Its system: linux, macos or windows
    #[arg(long, value_name = "OS")]
    os: Os,
    /// Its place in the fleet, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u64,
    /// Seed of the fleet
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// What time it is for the machine: updates, logins and more depend on it
    #[arg(long, value_name = "TIME", default_value = "2026-10-05T08:00:00Z")]
    now: MachineTime,
    /// Also write what the agent reads for it (files, command outputs, registry, WMI) into this new folder
    #[arg(long, value_name = "DIR")]
    artefacts: Option<PathBuf>,
}

/// Exit code for wrong usage, a wrong scenario, no server, no place for the report.
pub const UNUSABLE: u8 = 2;

/// Wrong usage, a wrong scenario, no server, no place for the report.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Both reports would be one file.
    #[error("--report and --json both name {}; name two files", .0.display())]
    SameFile(PathBuf),
    /// A shard without agents.
    #[error("shard {shard} of a fleet of {agents} has no agents; use fewer shards")]
    EmptyShard {
        /// Which.
        shard: Shard,
        /// Agents of the fleet.
        agents: u32,
    },
    /// Results that do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// An earlier result of something else.
    #[error(transparent)]
    Baseline(#[from] Incomparable),
    /// The agents of an earlier run.
    #[error(transparent)]
    State(#[from] StateFileError),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The machine to show.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// Its inventory.
    #[error("cannot write the inventory as JSON")]
    Json(#[from] serde_json::Error),
}

/// What the program is to print at its end, and what it exits with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Exit code: 0 passed, 1 failed, 2 a report could not be written.
    pub code: u8,
    /// For standard error: what went wrong after the run.
    pub problems: Vec<String>,
}

impl Cli {
    /// Does what was asked for. `now` is the time; a run ends early when `interrupt` completes.
    pub async fn execute(
        self,
        now: SystemTime,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Outcome, CliError> {
        match self.command {
            None => self.run.execute(now, interrupt).await,
            Some(Command::Run(run)) => run.execute(now, interrupt).await,
            Some(Command::Merge(merge)) => merge.execute(),
            Some(Command::Scenarios) => scenarios(),
            Some(Command::Generate(machine)) => machine.execute(),
        }
    }
}

impl GenerateArgs {
    fn execute(self) -> Result<Outcome, CliError> {
        let Self {
            os,
            index,
            seed,
            now,
            artefacts,
        } = self;
        let inventory = recording::show(Machine { seed, index, os }, now.0, artefacts.as_deref())?;
        Ok(Outcome {
            text: serde_json::to_string_pretty(&inventory)? + "\n",
            code: 0,
            problems: Vec::new(),
        })
    }
}

impl RunArgs {
    async fn execute(
        self,
        now: SystemTime,
        interrupt: impl Future<Output = ()>,
    ) -> Result<Outcome, CliError> {
        let scenario = self.scenario()?;
        let before = self.baseline(&scenario)?;
        let html_file = ReportFile::prepare(&self.report)?;
        let json_file = ReportFile::prepare(&self.json)?;
        if html_file.is_same(&json_file) {
            return Err(CliError::SameFile(self.report));
        }
        let state = self.state.as_deref().map(StateFile::prepare).transpose()?;
        let progress = Progress::new(scenario.run.duration.0);
        let (server, command) = (self.server_choice(), self.again(&scenario));
        let limit = self.regression.or(scenario.thresholds.regression);
        let Finished { mut report, saved } = run::run(
            Options {
                scenario,
                server,
                command,
                now,
                start_at: self.start_at.map(|time| time.0),
                state,
                metrics: self.metrics,
            },
            progress,
            interrupt,
        )
        .await?;
        if let Some((file, before)) = &before {
            let limit = limit.unwrap_or(DEFAULT_REGRESSION);
            baseline::compare(&mut report, file, before, limit);
        }
        let mut outcome = outcome(
            &report,
            &[
                ("Report", &html_file, html::render(&report)),
                ("Result", &json_file, json::render(&report)),
            ],
        );
        if let Err(error) = saved {
            outcome.problems.push(describe(&error));
            outcome.code = UNUSABLE;
        }
        Ok(outcome)
    }

    /// The result to compare with: read before the run, so that a wrong one does not cost it.
    fn baseline(&self, scenario: &Scenario) -> Result<Option<(String, RunReport)>, CliError> {
        let Some(path) = &self.baseline else {
            return Ok(None);
        };
        let file = path.display().to_string();
        let before = json::read(path)?;
        baseline::comparable(&file, &before, &scenario.name, scenario.fleet.own_size())?;
        Ok(Some((file, before)))
    }

    fn scenario(&self) -> Result<Scenario, CliError> {
        let mut scenario = Scenario::load(&self.scenario)?;
        if let Some(agents) = self.agents {
            scenario.fleet.size = agents;
        }
        if let Some(seed) = self.seed {
            scenario.fleet.seed = seed;
        }
        if let Some(factor) = self.compress {
            scenario.compress(factor);
        }
        if let Some(duration) = self.duration {
            scenario.run.duration = duration;
        }
        if let Some(shard) = self.shard {
            scenario.fleet.shard = shard;
            let agents = scenario.fleet.size.0;
            if shard.size(agents) == 0 {
                return Err(CliError::EmptyShard { shard, agents });
            }
        }
        Ok(scenario)
    }

    fn server_choice(&self) -> ServerChoice {
        match (&self.server, &self.agent_key) {
            (Some(url), Some(agent_key)) => ServerChoice::External(External {
                url: url.clone(),
                agent_key: agent_key.clone(),
                api_key: self.api_key.clone(),
                client_api: self.client_api.clone(),
                ca: self.ca_file.clone(),
            }),
            _ => ServerChoice::Embedded,
        }
    }

    /// The command that runs the same again; keys are left out.
    fn again(&self, scenario: &Scenario) -> String {
        let mut text = format!("oco-simulator run {}", quoted(&self.scenario));
        let _ = write!(
            text,
            " --agents {} --seed {}",
            scenario.fleet.size.0, scenario.fleet.seed
        );
        if let Some(duration) = self.duration {
            let _ = write!(text, " --duration {duration}");
        }
        if let Some(factor) = self.compress {
            let _ = write!(text, " --compress {factor}");
        }
        if let Some(shard) = self.shard {
            let _ = write!(text, " --shard {shard}");
        }
        if let Some(server) = &self.server {
            let _ = write!(
                text,
                " --server {} --agent-key KEY",
                quoted(redacted(server).as_str())
            );
            if self.api_key.is_some() {
                text.push_str(" --api-key KEY");
            }
            if self.client_api.is_some() {
                text.push_str(" --client-api USER:PASSWORD:KEY");
            }
            if let Some(file) = &self.ca_file {
                let _ = write!(text, " --ca-file {}", quoted(&file.to_string_lossy()));
            }
        }
        if let Some(state) = &self.state {
            let _ = write!(text, " --state {}", quoted(&state.display().to_string()));
        }
        text
    }
}

/// Writes the files. One that cannot be written costs neither the others nor the verdict.
fn outcome(report: &RunReport, files: &[(&str, &ReportFile, Result<String, ReportError>)]) -> Outcome {
    let mut outcome = Outcome {
        text: format!("{}\n", Summary(report)),
        code: u8::from(report.verdict == Verdict::Fail),
        problems: Vec::new(),
    };
    for (name, file, content) in files {
        let written = match content {
            Ok(content) => file.write(content.as_bytes()).map_err(|error| describe(&error)),
            Err(error) => Err(describe(error)),
        };
        match written {
            Ok(()) => {
                let _ = writeln!(outcome.text, "{name}: {}", file.path().display());
            }
            Err(problem) => {
                outcome.problems.push(problem);
                outcome.code = UNUSABLE;
            }
        }
    }
    outcome
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn scenarios() -> Result<Outcome, CliError> {
    let mut text = String::new();
    for scenario in Scenario::built_in() {
        let scenario = scenario?;
        let _ = writeln!(text, "{:<20} {}", scenario.name, scenario.description);
    }
    Ok(Outcome {
        text,
        code: 0,
        problems: Vec::new(),
    })
}

/// Reads `--server`. A URL may hold a password, so wrong ones are not repeated in full, as they would be by default.
#[derive(Clone)]
struct ServerUrl;

impl TypedValueParser for ServerUrl {
    type Value = Url;

    fn parse_ref(&self, command: &clap::Command, _: Option<&Arg>, value: &OsStr) -> Result<Url, clap::Error> {
        External::parse_url(&value.to_string_lossy()).map_err(|error| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("--server: {error}\n")).with_cmd(command)
        })
    }
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
