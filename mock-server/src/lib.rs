//! A mock OCO server: real enough that an agent works with it unchanged, with what a test needs and no production
//! server has.
//!
//! [`Server::start`] serves a listener until a shutdown signal; [`router()`] is the same without a socket. Requests flow
//! one way: `router -> agent_api | rest -> decision (pure) -> store`. All SQL is in `store`.

mod access_log;
mod agent_api;
mod archives;
mod client_api;
pub mod clock;
mod conditions;
pub mod config;
mod error;
mod generation;
mod jobs;
mod keys;
mod package_files;
mod php;
mod policies;
mod rest;
mod router;
mod rules;
mod server;
mod state;
mod store;
mod users;

pub use config::{Config, FileConfig, FileConfigError, Limits};
pub use generation::{PhpQuirks, ServerGeneration, UnknownChoice};
pub use router::router;
pub use server::{Server, ServerHandle};
pub use state::{NewAdmin, ServerState, StartError};
pub use store::{InvalidDatabaseUrl, OpenError};
