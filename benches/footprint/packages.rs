//! The packages that the inventory lists: those of this machine, and generated ones where it has too few.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

/// The database of dpkg, which the agent reads.
const STATUS: &str = "/var/lib/dpkg/status";
/// The targets are about a machine with at least so many packages.
const ENOUGH: usize = 800;
/// Tells the program that it sees the filled-up database already.
const FILLED_UP: &str = "OCO_FOOTPRINT_FILLED_UP";

/// What there is to measure with.
pub(crate) enum Packages {
    /// So many are installed, as far as the agent can see.
    Enough(usize),
    /// There were too few. This program has run again with more, and ended with that code.
    RanWithMore(ExitCode),
}

/// Sees to it that the agent finds enough packages. Where the machine has too few, this program runs again in a mount
/// namespace of its own, in which a longer database lies over the machine's; nothing outside of it changes.
pub(crate) fn ensure_enough() -> Result<Packages> {
    let count = count(Path::new(STATUS))?;
    if count >= ENOUGH {
        return Ok(Packages::Enough(count));
    }
    if std::env::var_os(FILLED_UP).is_some() {
        bail!("{STATUS} holds {count} packages although it was filled up to {ENOUGH}");
    }
    run_with_more(count).map(Packages::RanWithMore)
}

fn count(status: &Path) -> Result<usize> {
    let file = File::open(status).with_context(|| {
        format!(
            "cannot open {}: this needs a system with dpkg, such as Debian or Ubuntu",
            status.display()
        )
    })?;
    let mut count = 0;
    // Line by line: this program's own memory must stay small, see `measure::check_floor`.
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("cannot read {}", status.display()))?;
        count += usize::from(line == "Status: install ok installed");
    }
    Ok(count)
}

fn run_with_more(count: usize) -> Result<ExitCode> {
    let folder = tempfile::tempdir().context("cannot create a folder for temporary files")?;
    let path = folder.path().join("status");
    fill_up(&path, count).with_context(|| format!("cannot write {}", path.display()))?;
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root()? {
        command.arg("--map-root-user");
    }
    let script = "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"";
    let status = command
        .args(["--", "sh", "-ec", script, "sh"])
        .args([path.as_os_str(), STATUS.as_ref(), program.as_os_str()])
        .args(std::env::args_os().skip(1))
        .env(FILLED_UP, "1")
        .status()
        .context("cannot run unshare (package util-linux)")?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot run id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn fill_up(path: &Path, count: usize) -> io::Result<()> {
    std::fs::copy(STATUS, path)?;
    let mut file = File::options().append(true).open(path)?;
    (count..ENOUGH).try_for_each(|index| write!(file, "{}", stanza(index)))
}

/// An installed package of the size that most have there.
fn stanza(index: usize) -> String {
    format!(
        "\nPackage: oco-footprint-{index}\nStatus: install ok installed\nPriority: optional\nSection: libs\n\
         Installed-Size: {size}\nMaintainer: Nobody <nobody@example.org>\nArchitecture: amd64\n\
         Version: 1.{index}.0-2\nDepends: libc6 (>= 2.34), libgcc-s1 (>= 3.0), libstdc++6 (>= 11)\n\
         Description: generated package number {index}\n This package does not exist. Its entry makes an inventory \
         as long as that\n of an ordinary computer.\nHomepage: https://example.org/{index}\n",
        size = 100 + index
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_packages_count_and_removed_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let removed = "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        std::fs::write(&path, format!("{removed}{}{}", stanza(1), stanza(2))).unwrap();
        assert_eq!(count(&path).unwrap(), 2);
        assert!(count(&folder.path().join("none")).is_err());
    }
}
