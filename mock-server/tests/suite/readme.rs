//! The commands of the README, run as they stand there.

use crate::support::{API_KEY, REGISTRATION_KEY, TestServer};
use std::process::Command;

const README: &str = include_str!("../../../README.md");
/// Printed after each command.
const MARK: &str = "-- end of a command --";

/// A command of the README, and what it prints there.
struct Step {
    command: String,
    output: String,
}

/// The steps in the code blocks of a section.
fn steps(heading: &str) -> Vec<Step> {
    let section = README.split(&format!("### {heading}\n")).nth(1).unwrap();
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("```").skip(1).step_by(2);
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks.flat_map(str::lines).filter(|line| !line.is_empty()) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.into(),
                output: String::new(),
            }),
            // Commands go on far to the right, outputs a little.
            (None, Some(step)) if line.starts_with("      ") => step.command += &format!("\n{line}"),
            (None, Some(step)) => step.output += line.trim_start(),
            (None, None) => panic!("{line:?} is printed by no command"),
        }
    }
    steps
}

/// Whether `found` is what `shown` says; `...` stands for anything.
fn is_like(found: &str, shown: &str) -> bool {
    let parts: Vec<_> = shown.split("...").collect();
    let mut rest = found;
    for (index, part) in parts.iter().enumerate() {
        let at = match index {
            0 => rest.starts_with(part).then_some(0),
            last if last + 1 == parts.len() && !part.is_empty() => {
                rest.ends_with(part).then(|| rest.len() - part.len())
            }
            _ => rest.find(part),
        };
        let Some(at) = at else { return false };
        rest = &rest[at + part.len()..];
    }
    parts.len() > 1 || rest.is_empty()
}

#[test]
fn outputs_are_compared_but_for_what_is_left_out() {
    assert!(is_like("abc", "abc") && is_like("abc", "a...c") && is_like("abc", "a...") && is_like("", ""));
    assert!(
        !is_like("abc", "ab") && !is_like("abc", "a...b") && !is_like("abc", "x...c") && !is_like("a", "")
    );
}

#[test]
fn the_configuration_of_the_readme_is_taken() {
    let shown = README
        .split("(`--config server.toml`):\n\n```toml\n")
        .nth(1)
        .unwrap();
    let shown = shown.split("```").next().unwrap();
    // As many faults as it shows, and the rest of its sections.
    assert!(shown.contains("[retention]") && shown.matches("[[faults]]").count() == 1);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.toml");
    std::fs::write(&config, shown).unwrap();
    let database = format!("sqlite:{}", folder.path().join("oco.db").display());
    // Where it listens and stores is this test's; the command line takes precedence.
    let arguments = ["--config", config.to_str().unwrap(), "--database", &database];
    let server = crate::binary::Running::start(folder.path(), &arguments);
    assert!("a long secret".ends_with(&server.api_key), "{}", server.api_key);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_does_with_curl_does_what_it_says() {
    // On Windows, `bash` may be that of a Linux that is not installed.
    let runs = |program: &&str| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    if !["bash", "curl"].iter().all(runs) {
        eprintln!("skipped: the commands of the README need bash and curl");
        return;
    }
    let mut steps = steps("Script it: nothing but curl");
    assert!(steps.len() > 15);
    steps.extend(self::steps("The client API, as on a real server"));
    // The first line is what every reader has to make his own.
    assert!(steps[0].command.starts_with("BASE="));
    let server = TestServer::start().await;
    steps[0].command = format!(
        "BASE=http://{} KEY={API_KEY} AGENT_KEY={REGISTRATION_KEY} PASSWORD=admin",
        server.addr
    );
    let script: String = steps
        .iter()
        .map(|step| format!("{}\necho; echo '{MARK}'\n", step.command))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("bash")
        .args(["-euc", &script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let (printed, complaints) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let mut printed = printed.split(MARK);
    for Step { command, output } in steps {
        let found = printed.next().unwrap().trim();
        assert!(
            is_like(found, &output),
            "{command}\nprints\n{found}\nand not\n{output}"
        );
    }
}
