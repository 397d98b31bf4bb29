//! Writes manual pages and shell completions of `oco-agent` from the definition of its command line into a folder; run by
//! `ci/package`. An example, so that what it is built with stays out of the agent.

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use oco_agent::cli::Cli;
use std::path::{Path, PathBuf};

/// What the definition does not know, to go between its sections and the version.
const SECTIONS: &str = include_str!("../packaging/man/oco-agent.1.sections");
/// Written by hand: the definition knows nothing of the configuration.
const CONFIGURATION: &str = include_str!("../packaging/man/oco-agent.ini.5");

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map(PathBuf::from)
        .context("name the folder to write to")?;
    let date = arguments
        .next()
        .context("name the date for the pages, such as 2026-01-31")?;
    let mut completed = Cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut completed, "oco-agent", &folder)
            .with_context(|| format!("cannot write the completions for {shell}"))?;
    }
    let configuration = CONFIGURATION
        .replace("@DATE@", &date)
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    write_page(&folder, "oco-agent.ini.5", configuration.as_bytes())?;
    let mut command = Cli::command().disable_help_subcommand(true);
    // Gives the tasks their full names.
    command.build();
    write_page(&folder, "oco-agent.1", &page(&command, &date, SECTIONS)?)?;
    for task in command.get_subcommands().filter(|task| !task.is_hide_set()) {
        let name = task.get_display_name().unwrap_or(task.get_name());
        write_page(&folder, &format!("{name}.1"), &page(task, &date, SEE_ALSO)?)?;
    }
    Ok(())
}

const SEE_ALSO: &str = ".SH \"SEE ALSO\"\n.BR oco\\-agent (1),\n.BR oco\\-agent.ini (5)\n";

/// A page in section 1: what the definition says, then `sections`.
fn page(command: &Command, date: &str, sections: &str) -> Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .date(date)
        .source(concat!("oco-agent ", env!("CARGO_PKG_VERSION")))
        .manual("OCO agent");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(sections.as_bytes());
    Ok(text)
}

fn write_page(folder: &Path, name: &str, text: &[u8]) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
