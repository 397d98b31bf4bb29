//! The mock server as a process: its end, and what it says to bad input.

use crate::support::mock::MockServer;
use crate::support::{program, stderr};
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(program("oco-mock-server"))
        .args(arguments)
        .output()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_with_exit_code_0() {
    let mut server = MockServer::start();
    assert_eq!(server.terminate(), Some(0));
}

#[cfg(unix)]
#[test]
fn its_database_holds_keys_and_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let server = MockServer::start();
    for file in server.database_files() {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
    }
}

#[test]
fn a_taken_port_is_named() {
    let server = MockServer::start();
    let output = run(&["--listen", server.address(), "--database", "sqlite::memory:"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(server.address()), "{}", stderr(&output));
}

#[test]
fn bad_arguments_are_explained_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.toml");
    std::fs::write(&config, "agent-key = 5\n").unwrap();
    for (arguments, reason) in [
        (vec!["--lissten", "127.0.0.1:0"], "--lissten"),
        (vec!["--listen", "somewhere"], "somewhere"),
        (
            vec!["--database", "mongodb://x", "--listen", "127.0.0.1:0"],
            "mongodb",
        ),
        (
            vec!["--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"],
            "agent-key",
        ),
        (
            vec!["--config", "/nowhere.toml", "--listen", "127.0.0.1:0"],
            "/nowhere.toml",
        ),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(reason),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_database_that_cannot_be_made_is_named() {
    let output = run(&["--listen", "127.0.0.1:0", "--database", "sqlite:/proc/no/oco.db"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/proc/no"), "{}", stderr(&output));
}
