//! Service checks: executables in a folder, each line of whose output is a CheckMK local check.

use crate::host::{Command, Host, HostError};
use crate::inventory::texts;
use oco_protocol::inventory::Service;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How many checks run at the same time.
const PARALLEL: usize = 4;
/// Results beyond this are left out of the hello.
const MOST_SERVICES: usize = 1000;

/// How long checks may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Each of them; then it is killed and has no results.
    pub each: Duration,
    /// All of them: the hello waits for no more.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            each: Duration::from_secs(10),
            total: Duration::from_secs(20),
        }
    }
}

/// Runs every executable in `folder` and reads their results, in the order of the files' names. A check that fails or
/// hangs costs itself only. No folder means no services; none (`null` on the wire) that nobody knows.
///
/// What others than the administrator can write is not run: it would be theirs to act as the agent's user.
pub fn collect(host: &dyn Host, folder: &Path, limits: Limits) -> Option<Vec<Service>> {
    if is_exposed(host, folder) {
        return None;
    }
    let names = match host.list_folder(folder) {
        Ok(names) => names,
        Err(error) if error.is_not_found() => return Some(Vec::new()),
        Err(error) => {
            tracing::warn!(error = %error, cause = %error.source, "service checks cannot be listed");
            return None;
        }
    };
    let mut services: Vec<Service> = run_all(host, folder, &names, limits)
        .into_iter()
        .flatten()
        .flat_map(|output| parse(&String::from_utf8_lossy(&output)))
        .collect();
    if services.len() > MOST_SERVICES {
        tracing::warn!(
            services = services.len(),
            reported = MOST_SERVICES,
            "too many service checks"
        );
        services.truncate(MOST_SERVICES);
    }
    Some(services)
}

/// The results in one check's output. Lines that are none are left out.
///
/// A line is `STATUS NAME METRICS TEXT`; a name with blanks is in double quotes, and `-` stands for no metrics.
pub fn parse(output: &str) -> Vec<Service> {
    let lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let service = parse_line(line);
            if service.is_none() {
                tracing::warn!("a line of a service check is left out: expected 0 \"Name\" metric=1 Text");
            }
            service
        })
        .collect()
}

fn parse_line(line: &str) -> Option<Service> {
    let (status, rest) = word(line)?;
    if !matches!(status, "0" | "1" | "2" | "3" | "P") {
        return None;
    }
    let (name, rest) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (name, rest) = quoted.split_once('"')?;
            // The quote ends the name only where the word ends, too.
            (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(())?;
            (name, rest.trim_start())
        }
        None => word(rest)?,
    };
    let (metrics, details) = word(rest)?;
    if name.trim().is_empty() {
        return None;
    }
    let plain = |text: &str| {
        let mut text = text.to_owned();
        texts::plain(&mut text);
        text
    };
    let metrics = plain(metrics);
    Some(Service {
        status: status.to_owned(),
        name: plain(name),
        merics: Some(metrics.clone()),
        metrics: Some(metrics),
        details: plain(details),
    })
}

/// The first word and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!word.is_empty()).then_some((word, rest.trim_start()))
}

/// Runs some at a time; the output of each that succeeded in time.
fn run_all(host: &dyn Host, folder: &Path, names: &[String], limits: Limits) -> Vec<Option<Vec<u8>>> {
    let started = Instant::now();
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(names.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((index, name)) = take(next, names) {
                    let left = limits.total.saturating_sub(started.elapsed());
                    let output = run(host, &folder.join(name), left.min(limits.each));
                    let _ = sender.send((index, output));
                }
            });
        }
    });
    drop(sender);
    let mut outputs = vec![None; names.len()];
    for (index, output) in results {
        if let Some(slot) = outputs.get_mut(index) {
            *slot = output;
        }
    }
    outputs
}

fn take<'a>(next: &AtomicUsize, names: &'a [String]) -> Option<(usize, &'a String)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, names.get(index)?))
}

/// Whether others can replace what is run. A host that cannot tell has nobody else.
fn is_exposed(host: &dyn Host, path: &Path) -> bool {
    let exposed = host
        .access(path)
        .ok()
        .filter(|access| access.others_write || access.foreign_owner);
    if let Some(access) = &exposed {
        tracing::error!(
            path = %path.display(),
            access = access.description,
            "service checks are not run where others can replace them: only root (Windows: administrators) may own and write them"
        );
    }
    exposed.is_some()
}

fn run(host: &dyn Host, path: &Path, time_limit: Duration) -> Option<Vec<u8>> {
    let program = path.to_str()?;
    if is_exposed(host, path) {
        return None;
    }
    if time_limit.is_zero() {
        tracing::warn!(
            service_check = program,
            "not run: the checks before took too long"
        );
        return None;
    }
    let command = Command {
        program,
        args: &[],
        time_limit,
    };
    match host.run(&command) {
        Ok(output) => {
            if output.code != Some(0) {
                tracing::warn!(service_check = program, code = ?output.code, "a service check failed; its output counts");
            }
            Some(output.stdout)
        }
        // Folders and files that are not meant to be run lie about, too.
        Err(HostError { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => None,
        Err(HostError { source, .. }) if source.kind() == io::ErrorKind::TimedOut => {
            tracing::warn!(
                service_check = program,
                limit_s = time_limit.as_secs(),
                "killed: it took too long"
            );
            None
        }
        Err(error) => {
            tracing::warn!(service_check = program, cause = %error.source, "cannot be run");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(output: &str) -> Vec<(String, String, String, String)> {
        parse(output)
            .into_iter()
            .map(|service| {
                assert_eq!(service.merics, service.metrics);
                (
                    service.status,
                    service.name,
                    service.metrics.unwrap(),
                    service.details,
                )
            })
            .collect()
    }

    fn expected(status: &str, name: &str, metrics: &str, details: &str) -> (String, String, String, String) {
        (status.into(), name.into(), metrics.into(), details.into())
    }

    #[test]
    fn local_checks_are_read_in_all_their_forms() {
        let output = "0 \"My service\" count=73;80;90 Text with  blanks\n\
                      2 plain - Service is not running!\r\n\
                      P Disk_usage used=1;2;3|free=4 \n\
                      1 NoText -\n";
        assert_eq!(
            shown(output),
            [
                expected("0", "My service", "count=73;80;90", "Text with  blanks"),
                expected("2", "plain", "-", "Service is not running!"),
                expected("P", "Disk_usage", "used=1;2;3|free=4", ""),
                expected("1", "NoText", "-", ""),
            ]
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_server() {
        // Found by fuzzing.
        let services = parse("1 \"Di\u{1b}sk\" a=1 81%\0 used\u{b}here\n");
        assert_eq!(services[0].name, "Di\u{fffd}sk");
        assert_eq!(services[0].details, "81%\u{fffd} used here");
    }

    #[test]
    fn lines_that_are_no_checks_are_left_out() {
        let output =
            "warning: something\n4 Name - x\n0\n0 Name\n0 \"open - x\n0 \"\" - x\n0 \"a\"b - x\n\n0 good - x";
        assert_eq!(shown(output), [expected("0", "good", "-", "x")]);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_write_is_not_run() {
        use crate::host::system::SystemHost;
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let host = SystemHost::new(root.path().join("staging"));
        let checks = root.path().join("checks");
        fs::create_dir(&checks).unwrap();
        for (name, mode) in [("own", 0o755), ("open", 0o757)] {
            fs::write(checks.join(name), format!("#!/bin/sh\necho 0 {name} - fine\n")).unwrap();
            fs::set_permissions(checks.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let names = || {
            let services = collect(&host, &checks, Limits::default())?;
            Some(
                services
                    .into_iter()
                    .map(|service| service.name)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(), Some(vec!["own".to_owned()]));
        fs::set_permissions(&checks, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(names(), None);
    }

    proptest! {
        #[test]
        fn any_output_is_read_without_panic(output in "\\PC{0,200}") {
            parse(&output);
        }

        #[test]
        fn what_is_written_is_read_back(
            status in "[0123P]", name in "[^\"\\s\\p{Cc}][^\"\\p{Cc}]{0,20}", metrics in "[!-~]{1,30}", details in "([!-~][ -~]{0,40})?"
        ) {
            let line = format!("{status} \"{name}\" {metrics} {details}");
            prop_assert_eq!(shown(&line), [expected(&status, &name, &metrics, details.trim_end())]);
        }
    }
}
