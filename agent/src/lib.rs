//! The OCO agent as a library: `main` parses arguments and wires it to the real machine, the simulator wires the same
//! code to simulated ones.

pub mod host;
pub mod inventory;
