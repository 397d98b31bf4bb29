//! Home of the benchmarks; see `benches/`.
