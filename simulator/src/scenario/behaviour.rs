//! How machines behave: procedures of jobs, restarts, times offline, wrong clocks.

use super::values::{NonEmpty, Output, Share};
use crate::duration::Span;
use serde::Deserialize;
use toml::Spanned;

/// `[jobs]`: how procedures end on the virtual machines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// A procedure runs at least this long.
    pub shortest: Span,
    /// A procedure runs at most this long.
    pub longest: Spanned<Span>,
    /// Share of the procedures that fail.
    pub failure_share: Share,
    /// Exit codes of failing procedures, each as likely as the others.
    pub failure_codes: NonEmpty<i32>,
    /// A procedure writes at most so many bytes; most write much less.
    pub most_output: Output,
    /// A machine that a job restarts is away for so long.
    pub restart_takes: Span,
    /// A machine that a job shuts down is away for so long: then somebody switches it on.
    pub shutdown_takes: Span,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            shortest: Span(std::time::Duration::from_millis(200)),
            longest: Spanned::new(0..0, Span::from_secs(2)),
            failure_share: Share(0.0),
            failure_codes: NonEmpty(vec![1]),
            most_output: Output(2048),
            restart_takes: Span::from_secs(30),
            shutdown_takes: Span::from_secs(600),
        }
    }
}

/// `[admin.package.jobs]`: what is different from `[jobs]` for the jobs of one package.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackageJobs {
    /// See [`Jobs::shortest`].
    pub shortest: Option<Span>,
    /// See [`Jobs::longest`].
    pub longest: Option<Spanned<Span>>,
    /// See [`Jobs::failure_share`].
    pub failure_share: Option<Share>,
    /// See [`Jobs::failure_codes`].
    pub failure_codes: Option<NonEmpty<i32>>,
    /// See [`Jobs::most_output`].
    pub most_output: Option<Output>,
}

impl Jobs {
    /// What holds for the jobs of a package.
    #[must_use]
    pub fn of_package(&self, package: &PackageJobs) -> Self {
        Self {
            shortest: package.shortest.unwrap_or(self.shortest),
            longest: package.longest.clone().unwrap_or_else(|| self.longest.clone()),
            failure_share: package.failure_share.unwrap_or(self.failure_share),
            failure_codes: package
                .failure_codes
                .clone()
                .unwrap_or_else(|| self.failure_codes.clone()),
            most_output: package.most_output.unwrap_or(self.most_output),
            ..self.clone()
        }
    }
}

/// `[[offline]]`: machines that do not check in for a while. What runs already comes to its end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offline {
    /// Share of the fleet.
    pub share: Share,
    /// After the start.
    pub from: Span,
    /// For so long.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// Again after this, counted from the beginning of the time before; none: once.
    #[serde(default)]
    pub every: Option<Spanned<Span>>,
}

/// `[[clock]]`: machines whose clock is wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Share of the fleet.
    pub share: Spanned<Share>,
    /// Fast by this.
    #[serde(default)]
    pub ahead: Option<Span>,
    /// Slow by this.
    #[serde(default)]
    pub behind: Option<Span>,
}
