//! The server from outside: everything goes over real sockets, with a clock and keys that the tests decide.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tests that cannot run say so.
#![allow(clippy::print_stderr)]
// `json!` values read better handed over as they are.
#![allow(clippy::needless_pass_by_value)]

mod support;

mod binary;
mod client_api;
mod client_transcripts;
mod concurrency;
mod conditions;
mod conformance;
mod conformance_keyed;
mod containers;
mod databases;
mod durability;
mod fault_selectors;
mod faults;
mod filters;
mod groups;
mod jobs;
mod keyed;
mod limits;
mod metrics;
mod model;
mod openapi;
mod php;
mod readme;
mod refusals;
mod registration;
mod rest;
mod retention;
mod schema;
mod sharing;
mod transcripts;
mod updates;
mod upgrades;
