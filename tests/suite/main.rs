//! End-to-end tests: real processes, real sockets, real files. One binary, a module for each behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tests whose procedures are shell scripts, or that look into /proc, are for other systems, and what only they need stays unused.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

mod agent_bad_input;
mod agent_clock;
mod agent_defects;
#[cfg(unix)]
mod agent_keyed;
#[cfg(target_os = "linux")]
mod agent_killed;
#[cfg(target_os = "linux")]
mod agent_lock;
mod agent_registration;
#[cfg(unix)]
mod agent_secrets;
mod agent_tls;
mod agent_trust;
mod agent_wire;
#[cfg(unix)]
mod check;
#[cfg(unix)]
mod conformance;
#[cfg(unix)]
mod daily_duties;
#[cfg(target_os = "linux")]
mod discovery;
mod fault_cases;
mod job_follow_up;
mod job_journal;
#[cfg(target_os = "linux")]
mod linux_packages;
mod logons;
mod mock_server_process;
#[cfg(unix)]
mod policies;
#[cfg(unix)]
mod server_faults;
mod server_tls;
mod simulator_fleet;
mod simulator_process;
mod software_jobs;
mod support;
#[cfg(any(target_os = "linux", windows))]
mod windows_agent;
#[cfg(any(target_os = "linux", windows))]
mod windows_installer;
mod withdrawn_jobs;
