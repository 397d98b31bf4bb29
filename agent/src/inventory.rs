//! The inventory: which collector answers which field, on which system.

pub mod linux;
pub mod macos;
pub mod windows;
