//! Has the crate built again when a migration is added: they are embedded.

#![allow(clippy::print_stdout)] // how a build script talks to cargo

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
