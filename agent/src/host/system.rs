//! System.
/// Placeholder.
pub struct SystemHost;
