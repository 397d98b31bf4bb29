//! Collectors for windows.
