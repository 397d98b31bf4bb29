//! Collectors for linux.
