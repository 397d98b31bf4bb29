//! Scenario files: what fleet there is, how it paces itself, what the administrator does to it, and when the run passes.
//!
//! A scenario is TOML; every key has a default but the ones that name things. Commented examples are the built-in
//! scenarios in `simulator/scenarios/`. Unknown keys are errors, and every error names the file, the line, the key and
//! what would be accepted.

use crate::draw::{Purpose, generator};
use oco_agent::host::Os;
use rand::RngExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::Path;

mod admin;
mod adversary;
mod behaviour;
mod built_in;
mod check;
mod compress;
mod course;
mod fault;
mod fleet;
mod values;
mod verdict;

pub use admin::{
    Admin, Deployment, EventRule, Package, PasswordRule, PolicySet, PostAction, Sequence, Settings,
};
pub use adversary::{Adversary, AdversaryKind};
pub use behaviour::{Clock, Jobs, Offline, PackageJobs};
pub use course::{Connections, Pacing, Run, Until};
pub use fault::ServerFault;
pub use fleet::{Churn, Fleet, Generations, Hardware, OsMix, OwnSoftware, Software, System, Wave};
pub use values::{
    Attackers, Compression, FleetSize, InFlight, Interval, MachineTime, Moment, NonEmpty, Output,
    PackageSize, PasswordLength, Percentile, Popularity, Rate, Share, SourceAddresses,
};
pub use verdict::{Convergence, Goal, Thresholds};

use built_in::BUILT_IN;

/// Largest scenario file that is read, bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The scenario that a run without arguments plays.
pub const DEFAULT: &str = "demo";

/// A scenario could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a built-in scenario nor a file.
    #[error(
        "no scenario {name:?}: expected a file, or one of the built-in ones ({})",
        built_in::names()
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
    /// When some of them do not check in.
    #[serde(default)]
    pub offline: Vec<Offline>,
    /// Which of them have a wrong clock.
    #[serde(default)]
    pub clock: Vec<Clock>,
    /// Which of them come, go, change their name, or are copies.
    #[serde(default)]
    pub churn: Churn,
    /// Who attacks the server.
    #[serde(default)]
    pub adversary: Vec<Adversary>,
    /// What goes wrong on the server's side.
    #[serde(default)]
    pub fault: Vec<ServerFault>,
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

    /// The sections that only a mock server has something for.
    pub fn mock_only(&self) -> Vec<&'static str> {
        let mut sections = self.admin.mock_only();
        if !self.fault.is_empty() {
            sections.push("[[fault]]");
        }
        if self.fleet.registered {
            sections.push("fleet.registered");
        }
        sections
    }

    /// Which system the agent of that index runs.
    pub fn os_of(&self, index: u32) -> Os {
        let weights = Os::ALL.map(|os| (os, self.fleet.os.weight(os)));
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

fn default_version() -> String {
    "1.0".to_owned()
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
