//! The OCO agent as a library: `main` parses arguments and wires it to the real machine, the simulator wires the same
//! code to simulated ones.
//!
//! Data flows one way: host -> collectors -> inventory -> protocol -> server client, and back: server client ->
//! protocol -> decision -> host.

pub mod agent;
pub mod check;
pub mod cli;
pub mod config;
pub mod daemon;
mod defects;
pub mod discovery;
mod errors;
pub mod events;
pub mod host;
pub mod inventory;
pub mod jobs;
pub mod lock;
pub mod observer;
pub mod pacing;
pub mod passwords;
pub mod policies;
pub mod server_client;
pub mod service;
pub mod service_checks;
pub mod signals;
pub mod state;

pub use agent::Agent;

/// What the targets in `fuzz/` cannot reach otherwise. They run everything else as the agent does: a recorded machine
/// answers, and what is made of its answers is looked at.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use crate::host::Staging;
    use crate::jobs::{self, Limits, UnpackError};

    /// Unpacks the archive in `staging`.
    pub fn unpack(staging: &mut dyn Staging, limits: Limits) -> Result<(), UnpackError> {
        jobs::unpack_archive(staging, limits)
    }
}
