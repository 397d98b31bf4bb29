//! What the agent says to bad arguments, bad configurations, bad servers and bad disks: one clear message, exit code not
//! zero, nothing lost.

use crate::support::scripted::{ScriptedServer, raw, registration, response};
use crate::support::{Agent, REGISTRATION_KEY, program, stderr};
use std::process::Command;

#[test]
fn an_unknown_option_is_named() {
    let output = Command::new(program("oco-agent"))
        .arg("--deamon")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--deamon") && stderr(&output).contains("--daemon"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bad_configurations_are_explained_and_left_alone() {
    for (text, message) in [
        ("", "configuration is empty"),
        ("\0\0\0\0", "NUL bytes"),
        (
            "[agent]\nquery-interval = often\n",
            ":2: [agent] query-interval = \"often\" is wrong: expected seconds",
        ),
        ("agent-key = x\n", ":1: the line stands before any [section]"),
        (
            "[server]\napi-url = gopher://x\n",
            "expected a URL such as https://",
        ),
    ] {
        let agent = Agent::with_config(text);
        let output = agent.check_in();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(message), "{text:?}: {}", stderr(&output));
        assert_eq!(agent.config(), text);
    }
}

#[test]
fn a_missing_configuration_is_named() {
    let output = Command::new(program("oco-agent"))
        .args(["--config", "/nowhere/oco-agent.ini"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("/nowhere/oco-agent.ini"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_unreachable_server_is_reported_within_the_time_limit() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api-agent.php", listener.local_addr().unwrap());
    drop(listener);
    let output = Agent::new(&url).check_in();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the server cannot be reached"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn refusals_are_passed_on_with_a_hint() {
    for (status, reason, hint) in [
        ("401 Unauthorized", "Signature header missing", "PHP-FPM"),
        ("401 Unauthorized", "Invalid agent signature", "registration key"),
        ("401 Unauthorized", "Agent timestamp too old", "clock"),
        (
            "401 Unauthorized",
            "Client self-registration is disabled",
            "create the computer",
        ),
    ] {
        let server =
            ScriptedServer::start(vec![raw(response(status, "Content-Type: text/html\r\n", reason))]);
        let output = Agent::new(&server.url).check_in();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1));
        assert!(log.contains(reason) && log.contains(hint), "{log}");
        assert!(!log.contains(REGISTRATION_KEY));
    }
}

#[test]
fn rubbish_from_the_server_is_named_and_nothing_of_it_is_used() {
    for body in [
        "",
        "null",
        "[]",
        "{\"id\":1}",
        "<html>",
        "{\"id\":1,\"error\":null,\"result\":{\"success\":true}}",
    ] {
        let server = ScriptedServer::start(vec![raw(response("200 OK", "", body))]);
        let agent = Agent::new(&server.url);
        let before = agent.config();
        let output = agent.check_in();
        assert_eq!(output.status.code(), Some(1), "{body}");
        assert!(
            stderr(&output).contains("makes no sense"),
            "{body}: {}",
            stderr(&output)
        );
        assert_eq!(agent.config(), before);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let server = ScriptedServer::start(vec![raw(response(
        "302 Found",
        "Location: http://127.0.0.1:9/\r\n",
        "",
    ))]);
    let output = Agent::new(&server.url).check_in();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("status 302"), "{}", stderr(&output));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_no_keys_stops_the_agent_before_it_registers() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = Agent::new(&server.url);
    let Some(read_only) = ReadOnly::mount(agent.folder()) else {
        eprintln!("skipped: this needs the right to mount");
        return;
    };
    let before = agent.config();
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("oco-agent.lock") || stderr(&output).contains("cannot be written"));
    assert_eq!(agent.config(), before);
    assert!(
        server.requests().is_empty(),
        "the server must not have been asked"
    );
    drop(read_only);
}

#[cfg(target_os = "linux")]
#[test]
fn a_configuration_that_cannot_be_replaced_stops_the_agent_before_it_registers() {
    let server = ScriptedServer::start(vec![registration()]);
    let agent = Agent::new(&server.url);
    // A file that is mounted over itself can be read and written, but no other can take its name.
    let Some(_mount) = ReadOnly::bind(&agent.config_path()) else {
        eprintln!("skipped: this needs the right to mount");
        return;
    };
    let before = agent.config();
    let output = agent.check_in();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the configuration cannot be written"),
        "{}",
        stderr(&output)
    );
    assert_eq!(agent.config(), before);
    assert!(
        server.requests().is_empty(),
        "the server must not have been asked"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_agent_before_it_registers() {
    let server = ScriptedServer::start(vec![registration()]);
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(folder.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this needs the right to mount");
        return;
    }
    let _mount = ReadOnly(folder.path().to_owned());
    let config = folder.path().join("oco-agent.ini");
    let text = format!(
        "[agent]\nagent-key = {REGISTRATION_KEY}\n[server]\napi-url = {}\n",
        server.url
    );
    std::fs::write(&config, &text).unwrap();
    let filler = vec![0; 128 << 10];
    assert!(
        std::fs::write(folder.path().join("filler"), filler).is_err(),
        "the disk is to be full"
    );
    let output = Command::new(program("oco-agent"))
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&config).unwrap(), text);
    assert!(
        server.requests().is_empty(),
        "the server must not have been asked"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| ["oco-agent.ini", "oco-agent.lock", "filler"].contains(&name.to_str().unwrap())),
        "{left:?}"
    );
}

/// A folder bound over itself, read-only until dropped.
#[cfg(target_os = "linux")]
struct ReadOnly(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl ReadOnly {
    fn mount(folder: &std::path::Path) -> Option<Self> {
        let guard = Self::bind(folder)?;
        mount(&["-o", "remount,ro,bind"], &[folder]).then_some(guard)
    }

    /// Binds a file or folder over itself.
    fn bind(path: &std::path::Path) -> Option<Self> {
        mount(&["--bind"], &[path, path]).then(|| Self(path.to_owned()))
    }
}

#[cfg(target_os = "linux")]
fn mount(options: &[&str], paths: &[&std::path::Path]) -> bool {
    Command::new("mount")
        .args(options)
        .args(paths)
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(target_os = "linux")]
impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_level_of_the_log_that_is_none_is_named_and_ignored() {
    let agent = Agent::new("http://127.0.0.1:1/");
    let output = agent
        .command()
        .env("OCO_AGENT_LOG", "oco_agent=loud")
        .output()
        .unwrap();
    let log = stderr(&output);
    assert!(
        log.contains("OCO_AGENT_LOG is ignored")
            && log.contains("oco_agent=loud")
            && log.contains("debug, trace"),
        "{log}"
    );
}
