# One way to do each task. `just` lists them.

default:
    @just --list

# Everything CI checks
ci:
    .ci/run

# The demo fleet against an embedded mock server
demo *ARGS:
    ci/demo {{ARGS}}

# All tests
test *ARGS:
    ci/test {{ARGS}}

# Formatting and lints, as CI wants them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Which lines of the agent's collectors three hundred virtual machines run through
coverage *ARGS:
    ci/coverage {{ARGS}}

# A fleet in four containers against a server in another one
fleet-test *ARGS:
    ci/fleet-test {{ARGS}}

# What a virtual agent costs; with arguments, a large fleet against a server in a process of its own
scale *ARGS:
    ci/scale {{ARGS}}

# Benchmarks with their figures
bench *ARGS:
    cargo bench --workspace -- {{ARGS}}

# Size, memory and CPU time of the agent as it is shipped, beside their targets
footprint *ARGS:
    cargo run -p oco-benches --bin footprint -- {{ARGS}}

# What the mock server bears, beside a handler that keeps nothing, and the targets
server-load *ARGS:
    cargo run --release -p oco-benches --bin server-load -- {{ARGS}}

# The agent for every x86_64 Linux with glibc from 2.17 on
portable *ARGS:
    ci/build-portable {{ARGS}}

# All programs for Windows: lints, tests under wine
windows:
    ci/cross/windows

# The agent for Windows as it is shipped
windows-program:
    ci/cross/windows-program

# The setup of the agent for Windows
windows-installer *ARGS:
    ci/cross/windows-installer {{ARGS}}

# The agent for Windows and its setup, under wine or on Windows, against a mock server
windows-e2e *ARGS:
    ci/cross/windows-e2e {{ARGS}}

# The agent for macOS: lints, links, programs
macos:
    ci/cross/macos

# The agent for Linux on aarch64: tests under qemu, program
aarch64:
    ci/cross/aarch64

# What CI compiles for other systems, lints included; runs nothing of it
cross-compile:
    ci/cross/compile

# The package for macOS; on a Mac
package-macos *ARGS:
    ci/package-macos {{ARGS}}

# The .deb and the .rpm
package *ARGS:
    ci/package {{ARGS}}

# Installs, upgrades and removes the packages in containers
packages-test *ARGS:
    ci/packages-test {{ARGS}}

# The mock server's suite on PostgreSQL and MariaDB in containers
database-tests *ARGS:
    ci/database-tests {{ARGS}}

# Licences, sources and bans of dependencies
deny:
    ci/setup cargo-deny
    cargo deny check bans licenses sources

# The workflows for GitHub
workflow-lint:
    ci/workflow-lint

# Every fuzz target for some seconds
fuzz SECONDS="60" *TARGETS:
    ci/fuzz {{SECONDS}} {{TARGETS}}
