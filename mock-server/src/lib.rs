//! A mock OCO server: real enough that an agent works with it unchanged, with what a test needs and no production
//! server has.
//!
//! [`Server::start`] serves a listener until a shutdown signal; [`router()`] is the same without a socket. Requests flow
//! one way: `router -> agent_api | rest -> decision (pure) -> store`. All SQL is in `store`.
//! Beside that way, and never on it, are [`hooks`]: checks of what agents send, and [`faults`] on purpose.

mod accept;
mod access_log;
mod agent_api;
mod archives;
mod caller;
mod client_api;
pub mod clock;
mod conditions;
pub mod config;
mod conformance;
pub mod connection;
mod error;
mod exchange;
pub mod faults;
mod generation;
pub mod hooks;
mod instruments;
mod jobs;
mod keys;
mod metrics;
mod package_files;
mod php;
mod policies;
mod rest;
mod retention;
mod router;
mod rules;
mod server;
mod state;
mod store;
mod users;

pub use generation::{PhpQuirks, ServerGeneration, UnknownChoice};
mod tls;

pub use config::{Config, FileConfig, FileConfigError, Limits, Tls};
pub use retention::{FileRetention, Retention};
pub use router::{openapi, router};
pub use server::{Server, ServerHandle};
pub use state::{NewAdmin, ServerState, StartError};
pub use store::url::without_password;
pub use store::{InvalidDatabaseUrl, OpenError};
pub use tls::TlsError;
