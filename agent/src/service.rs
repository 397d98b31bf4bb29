//! The agent as a service of Windows. Elsewhere the service manager needs nothing from the program.

pub mod answers;
pub mod restart;
#[cfg(windows)]
pub mod windows;

/// The service's name, as the existing agent's installer registers it.
pub const NAME: &str = "oco-agent";
/// Its name for people.
pub const DISPLAY_NAME: &str = "OCO Agent";
