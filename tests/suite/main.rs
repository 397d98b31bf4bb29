//! End-to-end tests: real processes, real sockets, real files. One binary, a module for each behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent_bad_input;
mod agent_clock;
#[cfg(unix)]
mod agent_keyed;
mod agent_registration;
#[cfg(unix)]
mod agent_secrets;
mod agent_trust;
mod agent_wire;
#[cfg(unix)]
mod daily_duties;
mod job_follow_up;
mod job_journal;
mod mock_server_process;
#[cfg(unix)]
mod policies;
mod simulator_process;
mod software_jobs;
mod support;
