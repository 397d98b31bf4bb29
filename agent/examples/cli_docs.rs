//! Writes manual pages and shell completions of `oco-agent` from the definition of its command line into a folder; run by
//! `ci/package`. An example, so that what it is built with stays out of the agent.

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell};
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
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut completed, "oco-agent", &mut text);
        let mut text = String::from_utf8(text).context("completions are not text")?;
        if shell == Shell::Bash {
            // The generator takes the hyphen in the program's name for a border between commands in one of two places, so
            // that the options of tasks would never be found.
            text = text.replace("oco__subcmd__agent", "oco__agent");
        }
        write_file(&folder, &shell.file_name("oco-agent"), text.as_bytes())?;
    }
    let configuration = CONFIGURATION
        .replace("@DATE@", &date)
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    write_file(&folder, "oco-agent.ini.5", configuration.as_bytes())?;
    let mut command = Cli::command().disable_help_subcommand(true);
    // Gives the tasks their full names.
    command.build();
    write_file(&folder, "oco-agent.1", &page(&command, &date, SECTIONS)?)?;
    for task in command.get_subcommands().filter(|task| !task.is_hide_set()) {
        let name = task.get_display_name().unwrap_or(task.get_name());
        write_file(&folder, &format!("{name}.1"), &page(task, &date, SEE_ALSO)?)?;
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

fn write_file(folder: &Path, name: &str, text: &[u8]) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
