//! Home of the benchmarks (see `benches/`), of `footprint/` for what the shipped agent takes and of `server-load/` for what
//! the mock server bears; here is what they share.

pub mod bare;
pub mod process;
pub mod programs;
pub mod stats;
