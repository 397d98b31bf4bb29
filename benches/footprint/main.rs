//! Measures what the agent costs a Linux machine: the size of its binary, the memory and CPU time of check-ins, and
//! the memory of the daemon between them. Exits with 1 where a size or a memory figure misses its target; CPU time is
//! only reported, since it depends on the machine and on what else runs there.

mod figures;
mod measure;
mod packages;

use anyhow::{Context, Result, bail};
use figures::{Figures, Row};
use measure::{CheckIn, Computer};
use oco_benches::programs::{self, Server};
use packages::Packages;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: footprint [--runs N] [--agent PATH]
  --runs N      measure each check-in N times and the daemon a third as often [default: 9]
  --agent PATH  measure this binary instead of building the one that is shipped";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to be done if even that cannot be written.
            let _ = writeln!(io::stderr(), "footprint: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let options = Options::parse(std::env::args().skip(1))?;
    let installed = match packages::ensure_enough()? {
        Packages::Enough(count) => count,
        Packages::RanWithMore(code) => return Ok(code),
    };
    let agent = options
        .agent
        .map_or_else(|| programs::build("dist", "oco-agent"), Ok)?;
    // How fast the server is does not matter here.
    let server = Server::start_mock(&programs::build("dev", "oco-mock-server")?, "sqlite::memory:")?;

    let mut figures = Figures {
        binary: agent
            .metadata()
            .with_context(|| format!("cannot find {}", agent.display()))?
            .len(),
        ..Figures::default()
    };
    // One for all: the server tells computers apart by their names, and this machine has one.
    let computer = Computer::new(&agent, &server.url)?;
    computer.check_in(CheckIn::Registration)?;
    for _ in 0..options.runs {
        figures.hello.push(computer.check_in(CheckIn::Hello)?);
        figures.full.push(computer.check_in(CheckIn::Full)?);
    }
    for _ in 0..options.runs.div_ceil(3) {
        figures.idle.push(computer.idle_daemon()?);
    }
    measure::check_floor(&figures)?;

    let rows = figures.rows();
    writeln!(io::stdout(), "{}", figures::table(&rows, options.runs, installed))
        .context("cannot print the table")?;
    let met = rows.iter().all(Row::holds);
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Options {
    runs: usize,
    agent: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { runs: 9, agent: None };
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| USAGE.to_owned())?;
            match arg.as_str() {
                "--runs" => options.runs = value.parse().context("--runs wants a number")?,
                "--agent" => options.agent = Some(value.into()),
                _ => bail!("unknown option {arg}\n{USAGE}"),
            }
        }
        if options.runs == 0 {
            bail!("--runs wants at least 1");
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn options_are_read_and_mistakes_refused() {
        let options = parse(&["--runs", "3", "--agent", "/x"]).unwrap();
        assert_eq!((options.runs, options.agent), (3, Some("/x".into())));
        for wrong in [
            &["--runs"][..],
            &["--runs", "0"],
            &["--runs", "x"],
            &["--fast", "1"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
