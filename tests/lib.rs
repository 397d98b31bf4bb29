//! Home of the end-to-end tests; see `suite/`.
