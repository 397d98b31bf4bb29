//! Recorded.
/// Placeholder.
pub struct RecordedHost;
