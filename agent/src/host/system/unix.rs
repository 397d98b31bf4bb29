//! What Linux and macOS have in common.

pub(super) mod command;
#[cfg(any(target_os = "macos", test))]
pub(super) mod defaults;
pub(super) mod files;
pub(super) mod guarded;
pub(super) mod host;
pub(super) mod interfaces;
mod keeper;
pub(super) mod leftovers;
pub(super) mod lock_file;
pub(super) mod other_agent;
pub(super) mod power;
pub(super) mod private;
pub(super) mod procedure;
pub(super) mod process_group;
pub(super) mod process_tree;
pub(super) mod temporary;
