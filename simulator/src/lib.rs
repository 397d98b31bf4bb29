//! A fleet of virtual OCO agents: each is the production agent's own code over a simulated host.
//!
//! The way of the data: `scenario -> fleet -> run -> event -> stats -> progress | report`.

pub mod admin;
pub mod adversary;
pub mod cli;
pub mod connections;
pub mod draw;
pub mod duration;
pub mod event;
pub mod fleet;
pub mod generate;
mod http;
pub mod lot;
pub mod metrics;
pub mod pace;
pub mod presence;
pub mod process;
pub mod progress;
mod redact;
pub mod report;
pub mod run;
pub mod scenario;
pub mod shard;
pub mod simulated_host;
pub mod state_file;
pub mod stats;
pub mod verdict;
pub mod virtual_agent;
