//! `oco-simulator merge`: the results of all shards of a fleet as one report.

use super::{CliError, Outcome, outcome, quoted};
use crate::report::{ReportFile, html, json, merge};
use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// Results of all shards, as --json wrote them
    #[arg(required = true, value_name = "SHARD.json")]
    shards: Vec<PathBuf>,
    /// Where the report for people goes
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Where the machine-readable result goes
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl MergeArgs {
    pub(super) fn execute(self) -> Result<Outcome, CliError> {
        let html_file = ReportFile::prepare(&self.report)?;
        let json_file = self.json.as_deref().map(ReportFile::prepare).transpose()?;
        if json_file.as_ref().is_some_and(|file| file.is_same(&html_file)) {
            return Err(CliError::SameFile(self.report));
        }
        let mut shards = Vec::new();
        for path in &self.shards {
            shards.push((path.display().to_string(), json::read(path)?));
        }
        let report = merge::merge(&shards, self.again())?;
        let mut files = vec![("Report", &html_file, html::render(&report))];
        if let Some(file) = &json_file {
            files.push(("Result", file, json::render(&report)));
        }
        Ok(outcome(&report, &files))
    }

    fn again(&self) -> String {
        let mut text = "oco-simulator merge".to_owned();
        for shard in &self.shards {
            let _ = write!(text, " {}", quoted(&shard.to_string_lossy()));
        }
        let _ = write!(text, " --report {}", quoted(&self.report.to_string_lossy()));
        text
    }
}
