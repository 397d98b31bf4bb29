//! Command line of the agent.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Agent of Open Computer Orchestration: reports this computer's inventory to its server and runs the software jobs the
/// server orders.
///
/// Without --daemon it checks in once and ends with exit code 0, or 1 after an error.
#[derive(Debug, Clone, Parser)]
#[command(name = "oco-agent", version)]
pub struct Cli {
    /// What to do other than checking in.
    #[command(subcommand)]
    pub command: Option<Task>,

    /// Configuration to use. State is kept beside it, unless it is the installed one.
    #[arg(long, value_name = "PATH", global = true)]
    pub config: Option<PathBuf>,

    /// Keep running and check in at intervals.
    #[arg(long)]
    pub daemon: bool,

    /// Ask the server to ask for an inventory with the first check-in.
    #[arg(long)]
    pub force: bool,
}

impl Cli {
    /// The same, unless options are named that mean nothing to its command.
    pub fn validated(self) -> Result<Self, clap::Error> {
        if self.command.is_some() && (self.daemon || self.force) {
            let message = "--daemon and --force are for checking in: no command can be used with them";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(self)
    }
}

/// What the agent can do other than checking in.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Collect the inventory and print it as JSON; nobody is contacted and no configuration is needed.
    Inventory {
        /// Print it for people.
        #[arg(long)]
        pretty: bool,
    },
    /// Go through everything that a check-in needs, and say what works and what to do about the rest. Nobody is asked but
    /// DNS and the server, and nothing is registered. Ends with exit code 1 if anything has failed.
    Check {
        /// Print it for machines.
        #[arg(long)]
        json: bool,
    },
    /// Configure, install, start, stop or delete the service of Windows that this agent is.
    #[cfg(windows)]
    Service {
        /// What to do with it.
        #[command(subcommand)]
        action: ServiceAction,
    },
}

/// What can be done with the service.
#[cfg(windows)]
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ServiceAction {
    /// Make the configuration where there is none, and see that only administrators can read it.
    Configure {
        /// Answers of an installer: a file with ServerName, AgentKey and ServerKey in a section [Setup].
        #[arg(long, value_name = "PATH")]
        answers: Option<PathBuf>,
    },
    /// Register it, to start with the computer and again when it fails; one that is there is brought up to date.
    Install,
    /// Have what is installed run: start the service, or have it start anew as soon as no job runs.
    Renew,
    /// Start it.
    Start,
    /// Stop it; a running job is waited for.
    Stop,
    /// Stop it and remove it.
    Delete,
    /// Be the service; only for the system's service manager.
    Run,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound_and_the_existing_options_are_accepted() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["oco-agent", "--config", "/x.ini", "--daemon", "--force"]).unwrap();
        assert!(cli.daemon && cli.force && cli.config == Some("/x.ini".into()));
        assert!(Cli::try_parse_from(["oco-agent", "--deamon"]).is_err());
        for arguments in [["--config", "/x.ini", "check"], ["check", "--config", "/x.ini"]] {
            let cli = Cli::try_parse_from(["oco-agent"].iter().chain(&arguments)).unwrap();
            assert_eq!(cli.validated().unwrap().config, Some("/x.ini".into()));
        }
        for option in ["--daemon", "--force"] {
            let cli = Cli::try_parse_from(["oco-agent", option, "inventory"]).unwrap();
            assert_eq!(cli.validated().unwrap_err().exit_code(), 2);
        }
    }
}
