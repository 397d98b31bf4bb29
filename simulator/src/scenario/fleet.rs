//! Which machines there are.

use super::values::{FleetSize, MachineTime, NonEmpty, Popularity, Share};
use crate::duration::Span;
use crate::generate::hardware::Form;
use crate::shard::Shard;
use oco_agent::host::Os;
use serde::Deserialize;
use toml::Spanned;

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
    /// Which hardware they run on; none: what each system is found on.
    pub hardware: Option<Spanned<Hardware>>,
    /// Which software they have beside their system.
    pub software: Software,
    /// Share of the installed software that has another version at an agent's next check-in. By themselves machines
    /// change one piece every 4 to 48 hours.
    pub changes: Share,
    /// Generations of the protocol.
    pub generations: Spanned<Generations>,
    /// Whether the server knows them before the run, those aside that join late: registered all at once through a mock
    /// server's REST API, with their last inventories spread over its update interval.
    pub registered: bool,
    /// Whether the embedded server speaks HTTPS. Elsewhere the server's URL says it.
    pub tls: bool,
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
            hardware: None,
            software: Software::default(),
            changes: Share(0.0),
            generations: Spanned::new(0..0, Generations::default()),
            registered: false,
            tls: false,
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

impl OsMix {
    /// The weight of a system.
    pub fn weight(&self, os: Os) -> u32 {
        match os {
            Os::Linux => self.linux,
            Os::MacOs => self.macos,
            Os::Windows => self.windows,
        }
    }
}

/// `[fleet.hardware]`: weights of the kinds of machines, in any unit. What a system does not run on does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hardware {
    /// Portable ones.
    pub laptop: u32,
    /// Those under a desk.
    pub desktop: u32,
    /// Those in a rack; no Macs.
    pub server: u32,
    /// Virtual machines; no Macs.
    #[serde(rename = "virtual")]
    pub virtual_machine: u32,
    /// Single-board computers; Linux only.
    pub board: u32,
}

impl Hardware {
    /// The kinds that a system runs on, with their weights.
    pub fn kinds(&self, os: Os) -> Vec<(Form, u32)> {
        let all = [
            (Form::Laptop, self.laptop),
            (Form::Desktop, self.desktop),
            (Form::Server, self.server),
            (Form::Virtual, self.virtual_machine),
            (Form::Board, self.board),
        ];
        let runs_on = |form: Form| match os {
            Os::Linux => true,
            Os::MacOs => matches!(form, Form::Laptop | Form::Desktop),
            Os::Windows => form != Form::Board,
        };
        all.into_iter().filter(|(form, _)| runs_on(*form)).collect()
    }
}

/// `[fleet.software]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Software {
    /// How much more or less common the programs of the built-in catalogue are.
    pub popularity: Popularity,
    /// Programs beside those.
    #[serde(rename = "package")]
    pub packages: Vec<OwnSoftware>,
}

/// `[[fleet.software.package]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnSoftware {
    /// Name, unique in the scenario.
    pub name: Spanned<String>,
    /// Version.
    #[serde(default = "super::default_version")]
    pub version: String,
    /// Who makes it: the description on systems that have one.
    #[serde(default)]
    pub publisher: String,
    /// On which share of the machines it is.
    pub share: Share,
    /// On which systems.
    #[serde(default = "all_systems")]
    pub os: NonEmpty<System>,
}

/// A system, as scenarios name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum System {
    Linux,
    Macos,
    Windows,
}

impl From<System> for Os {
    fn from(system: System) -> Self {
        match system {
            System::Linux => Self::Linux,
            System::Macos => Self::MacOs,
            System::Windows => Self::Windows,
        }
    }
}

fn all_systems() -> NonEmpty<System> {
    NonEmpty(vec![System::Linux, System::Macos, System::Windows])
}

/// `[fleet.generations]`: weights, in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generations {
    /// Weight of agents that sign.
    #[serde(default)]
    pub signed: u32,
    /// Weight of agents that send their keys along.
    #[serde(default)]
    pub keyed: u32,
}

impl Default for Generations {
    fn default() -> Self {
        Self { signed: 1, keyed: 0 }
    }
}

impl Generations {
    /// Share of the agents that send their keys along.
    pub fn keyed_share(self) -> f64 {
        f64::from(self.keyed) / (f64::from(self.signed) + f64::from(self.keyed)).max(1.0)
    }
}

/// `[churn]`: machines that come, go, change their name, or are copies of others. Each is a share of the fleet, drawn
/// from the seed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Churn {
    /// They join then instead of in the ramp.
    pub join: Option<Wave>,
    /// They check in no more from then on.
    pub leave: Option<Wave>,
    /// They have another name from then on, and no server knows them by it: it has to refuse them.
    pub rename: Option<Wave>,
    /// They join then as copies of other machines: with the same UID under another name, which a server has to refuse.
    pub clone: Option<Wave>,
}

/// A share of the fleet, and when it happens to them.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Share of the fleet.
    pub share: Share,
    /// The first of them at this time after the start,
    pub from: Span,
    /// the others within this time after it.
    #[serde(default)]
    pub over: Span,
}
