//! Virtual machines from a seed: what they are, the raw artefacts that show it, and the truth to compare with.
//!
//! Three layers, all functions of [`Machine`] (seed, index, system) and the time:
//! - **facts**: [`profile`] (hardware, release, defects), [`identity`] (serial number, firmware, UUID), [`names`], [`network`], [`volumes`],
//!   [`users`], [`directory`], [`logins`], [`peripherals`], [`service_checks`] and [`software`], drawn from tables in [`hardware`], [`release`] and the catalogues;
//! - **artefacts**: [`linux`], [`macos`] and [`windows`] write the facts as the files, command outputs, registry values
//!   and WMI rows that a real system shows;
//! - **truth**: [`truth`](mod@truth) writes the same facts as the inventory that a flawless agent would report.
//!
//! Each topic has a random stream of its own ([`Draw`]), so nothing depends on the order in which things are asked.
//! With the clock change: uptime (each machine restarts in a rhythm of 1 to 45 days), free space (hourly), a laptop's
//! address (weekly) and battery, logins, one piece of software every 4 to 48 hours ([`software::Updates`]), hotfixes (monthly).

pub mod directory;
pub mod draw;
pub mod hardware;
pub mod identity;
pub mod linux;
pub mod logins;
pub mod macos;
pub mod names;
pub mod network;
pub mod peripherals;
pub mod profile;
pub mod release;
pub mod service_checks;
pub mod software;
pub mod traits;
pub mod truth;
pub mod users;
pub mod volumes;
pub mod windows;

pub use draw::{Draw, Topic};
pub use profile::Profile;
pub use traits::Traits;

use oco_agent::host::Os;

/// One virtual machine of a fleet: all there is to know to generate the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Seed of the fleet.
    pub seed: u64,
    /// Place in the fleet.
    pub index: u64,
    /// Its system.
    pub os: Os,
}
