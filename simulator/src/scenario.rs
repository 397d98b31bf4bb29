//! Scenario files: what fleet there is, how it paces itself, what the administrator does to it, and when the run passes.
//!
//! A scenario is TOML; every key has a default but the ones that name things. Commented examples are the built-in
//! scenarios in `simulator/scenarios/`. Unknown keys are errors, and every error names the file, the line, the key and
//! what would be accepted.

use crate::draw::{Purpose, generator};
use crate::duration::Span;
use crate::shard::Shard;
use oco_agent::host::Os;
use oco_protocol::rpc::Method;
use rand::RngExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use toml::Spanned;

mod check;
mod values;

pub use values::{
    FleetSize, InFlight, MachineTime, Moment, NonEmpty, PackageSize, Percentile, Share, SourceAddresses,
};

/// Largest scenario file that is read, bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The scenario that a run without arguments plays.
pub const DEFAULT: &str = "demo";

/// The built-in scenarios: name and file.
const BUILT_IN: [(&str, &str); 1] = [("demo", include_str!("../scenarios/demo.toml"))];

/// A scenario could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a built-in scenario nor a file.
    #[error(
        "no scenario {name:?}: expected a file, or one of the built-in ones ({})",
        built_in_names()
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read scenario {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no valid scenario.
    #[error("scenario {origin} is not valid, line {line}{quote}: {message}")]
    Invalid {
        /// Which file or built-in scenario.
        origin: String,
        /// Line in it, from 1.
        line: usize,
        /// The line itself, which has the key, in brackets.
        quote: String,
        /// What is wrong, and what would be accepted.
        message: String,
    },
}

/// A whole scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name of the built-in scenario, or the file's.
    #[serde(skip)]
    pub name: String,
    /// SHA-256 of its text, hexadecimal: tells apart what only has the same name.
    #[serde(skip)]
    pub sha256: String,
    /// One line about it.
    pub description: String,
    /// How long it runs.
    #[serde(default)]
    pub run: Run,
    /// Which machines there are.
    #[serde(default)]
    pub fleet: Fleet,
    /// When they check in.
    #[serde(default)]
    pub pacing: Pacing,
    /// How they connect.
    #[serde(default)]
    pub connections: Connections,
    /// How software jobs behave on them.
    #[serde(default)]
    pub jobs: Jobs,
    /// What the administrator does.
    #[serde(default)]
    pub admin: Admin,
    /// What is waited for, timed, and part of the verdict.
    #[serde(default)]
    pub convergence: Vec<Convergence>,
    /// Limits that are part of the verdict.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// `[run]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// The run ends at the latest after this.
    pub duration: Span,
    /// What ends it before.
    pub until: Until,
    /// What was due before the end gets this long after it; then it is a failure.
    pub drain: Span,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            duration: Span::from_secs(120),
            until: Until::Converged,
            drain: Span::from_secs(10),
        }
    }
}

/// What ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Every convergence is reached (a scenario without one runs for its whole duration).
    Converged,
    /// Only the duration.
    Duration,
}

/// `[fleet]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// How many agents.
    pub size: FleetSize,
    /// Where every random choice comes from.
    pub seed: u64,
    /// When the run starts by the machines' own history: uptime, logins, updates, addresses. Fixed, so that the same
    /// seed makes the same fleet on any day; the protocol has the real time.
    pub start: MachineTime,
    /// Shares of the operating systems.
    pub os: OsMix,
    /// Which of the agents this process runs (`--shard`).
    #[serde(skip)]
    pub shard: Shard,
}

impl Fleet {
    /// How many agents this process runs.
    pub fn own_size(&self) -> u32 {
        self.shard.size(self.size.0)
    }

    /// The agents that this process runs.
    pub fn own_agents(&self) -> impl Iterator<Item = u32> + use<> {
        self.shard.agents(self.size.0)
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            size: FleetSize(1000),
            seed: 1,
            start: MachineTime::default(),
            os: OsMix::default(),
            shard: Shard::WHOLE,
        }
    }
}

/// `[fleet.os]`: weights, in any unit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsMix {
    /// Weight of Linux.
    #[serde(default)]
    pub linux: u32,
    /// Weight of macOS.
    #[serde(default)]
    pub macos: u32,
    /// Weight of Windows.
    #[serde(default)]
    pub windows: u32,
}

impl Default for OsMix {
    fn default() -> Self {
        Self {
            linux: 20,
            macos: 20,
            windows: 60,
        }
    }
}

/// `[pacing]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pacing {
    /// The agents' first check-ins are spread over this.
    pub ramp: Span,
    /// Time between two check-ins of an agent.
    pub interval: Interval,
    /// How far a check-in may be off its regular time, as a share of the interval.
    pub jitter: Share,
    /// What happens before this is not part of the figures.
    pub warm_up: Span,
    /// How many check-ins run at once at most.
    pub in_flight: InFlight,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            ramp: Span::from_secs(10),
            interval: Interval(Span::from_secs(60)),
            jitter: Share(0.1),
            warm_up: Span::default(),
            in_flight: InFlight(64),
        }
    }
}

pub use values::Interval;

/// `[connections]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connections {
    /// How many loopback addresses the agents connect from, if the server is on loopback and the system has them all
    /// (Linux).
    pub source_addresses: SourceAddresses,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            source_addresses: SourceAddresses(16),
        }
    }
}

/// `[jobs]`: how procedures end on the virtual machines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// A procedure runs at least this long.
    pub shortest: Span,
    /// A procedure runs at most this long.
    pub longest: Spanned<Span>,
    /// Share of the procedures that fail.
    pub failure_share: Share,
    /// Exit codes of failing procedures, each as likely as the others.
    pub failure_codes: NonEmpty<i32>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            shortest: Span(std::time::Duration::from_millis(200)),
            longest: Spanned::new(0..0, Span::from_secs(2)),
            failure_share: Share(0.0),
            failure_codes: NonEmpty(vec![1]),
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Software packages, created before the first agent joins.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
    /// Deployments of them.
    #[serde(rename = "deployment")]
    pub deployments: Vec<Deployment>,
}

impl Admin {
    /// Whether the scenario asks anything of the server's administration.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.deployments.is_empty()
    }
}

/// `[[admin.package]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// Version.
    #[serde(default = "default_version")]
    pub version: String,
    /// Command line that installs it, run in the unpacked package.
    pub procedure: String,
    /// Size of the file in its ZIP, KiB; 0: the package has no file and nothing is downloaded.
    #[serde(default = "no_file")]
    pub size_kib: PackageSize,
}

fn no_file() -> PackageSize {
    PackageSize::NONE
}

fn default_version() -> String {
    "1.0".to_owned()
}

/// `[[admin.deployment]]`: packages to every computer that is registered at that time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// Which packages.
    pub packages: NonEmpty<Spanned<String>>,
    /// When.
    pub at: Moment,
}

/// `[[convergence]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convergence {
    /// Name in the report.
    pub name: String,
    /// What every agent has to reach.
    pub goal: Spanned<Goal>,
    /// The deployment it is about; not for `registered`.
    #[serde(default)]
    pub deployment: Option<Spanned<String>>,
    /// Time limit, from the start of the run or from the deployment.
    pub within: Span,
}

/// What a convergence waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Every agent is registered.
    Registered,
    /// Every job of the deployment has ended, with success or without.
    Finished,
    /// Every job of the deployment has succeeded.
    Succeeded,
}

/// `[thresholds]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Largest share of requests that may fail (0 if not given).
    pub error_share: Share,
    /// Largest number of agents that may be lost (0 if not given).
    pub agents_lost: u32,
    /// How much larger than the baseline's a 99th percentile may be, as a share of it; only with `--baseline`.
    pub regression: Option<Share>,
    /// Limits of the 99th percentile by method.
    pub p99: BTreeMap<Percentile, Span>,
}

impl Thresholds {
    /// The limits of the 99th percentile, by method.
    pub fn p99(&self) -> impl Iterator<Item = (Method, Span)> + '_ {
        self.p99.iter().map(|(method, limit)| (method.0, *limit))
    }
}

impl Scenario {
    /// A built-in scenario by its name, else a file by its path.
    pub fn load(name: &str) -> Result<Self, ScenarioError> {
        if let Some((name, text)) = BUILT_IN.into_iter().find(|(built_in, _)| *built_in == name) {
            return Self::parse(name, name, text);
        }
        let path = Path::new(name);
        if !path.exists() && !name.contains(['/', '\\', '.']) {
            return Err(ScenarioError::Unknown {
                name: name.to_owned(),
            });
        }
        let stem = path
            .file_stem()
            .map_or(name.into(), |stem| stem.to_string_lossy());
        Self::parse(&stem, name, &read(path)?)
    }

    /// Parses a scenario. `origin` is its file, for messages.
    pub fn parse(name: &str, origin: &str, text: &str) -> Result<Self, ScenarioError> {
        let invalid = |offset, message: &str| invalid(origin, text, offset, message);
        let mut scenario: Self = toml::from_str(text)
            .map_err(|error| invalid(error.span().map_or(0, |span| span.start), error.message()))?;
        name.clone_into(&mut scenario.name);
        scenario.sha256 = sha256(text);
        scenario
            .check()
            .map_err(|(offset, message)| invalid(offset, &message))?;
        Ok(scenario)
    }

    /// The built-in scenarios: name and description.
    pub fn built_in() -> impl Iterator<Item = Result<Self, ScenarioError>> {
        BUILT_IN
            .into_iter()
            .map(|(name, text)| Self::parse(name, name, text))
    }

    /// Which system the agent of that index runs.
    pub fn os_of(&self, index: u32) -> Os {
        let mix = &self.fleet.os;
        let weights = [
            (Os::Linux, mix.linux),
            (Os::MacOs, mix.macos),
            (Os::Windows, mix.windows),
        ];
        let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut rng = generator(self.fleet.seed, Purpose::OperatingSystem, index, 0);
        let mut drawn = rng.random_range(0..total.max(1));
        for (os, weight) in weights {
            match drawn.checked_sub(weight.into()) {
                Some(rest) => drawn = rest,
                None => return os,
            }
        }
        Os::Linux
    }
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn invalid(origin: &str, text: &str, offset: usize, message: &str) -> ScenarioError {
    let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let source = text.lines().nth(line - 1).unwrap_or_default().trim();
    let source: String = source.chars().take(80).collect();
    ScenarioError::Invalid {
        origin: origin.to_owned(),
        line,
        quote: if source.is_empty() {
            source
        } else {
            format!(" ({source})")
        },
        message: message.to_owned(),
    }
}

fn built_in_names() -> String {
    let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    let failed = |source| ScenarioError::Read {
        path: path.display().to_string(),
        source,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(failed(std::io::Error::other(format!(
            "{size} bytes are too many: at most {MAX_FILE}"
        ))));
    }
    std::fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests;
