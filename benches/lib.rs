//! Home of the benchmarks; see `benches/`, and `footprint/` for what the shipped agent takes.
