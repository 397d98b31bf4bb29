//! Collectors for macos.
