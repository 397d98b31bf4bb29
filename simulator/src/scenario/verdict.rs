//! What a run is judged by.

use super::values::{Percentile, Rate, Share};
use crate::duration::Span;
use oco_protocol::rpc::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// `[[convergence]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convergence {
    /// Name in the report.
    pub name: String,
    /// What every agent has to reach.
    pub goal: Spanned<Goal>,
    /// The deployment that has to be finished or to succeed.
    #[serde(default)]
    pub deployment: Option<Spanned<String>>,
    /// The policies that have to be applied.
    #[serde(default)]
    pub policies: Option<Spanned<String>>,
    /// The rule by which passwords have to be rotated.
    #[serde(default)]
    pub password_rule: Option<Spanned<String>>,
    /// Time limit, from the start of the run or from what the administrator did.
    pub within: Span,
}

/// What a convergence waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Every agent is registered.
    Registered,
    /// Every job of the deployment has ended, with success or without.
    Finished,
    /// Every job of the deployment has succeeded.
    Succeeded,
    /// Every agent that can has the policies applied.
    Applied,
    /// Every machine with such an account has set the password.
    Rotated,
}

/// `[thresholds]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Largest share of requests that may fail (0 if not given).
    pub error_share: Share,
    /// Largest number of agents that may be lost (0 if not given).
    pub agents_lost: u32,
    /// How much larger than the baseline's a 99th percentile may be, as a share of it; only with `--baseline`.
    pub regression: Option<Share>,
    /// Limits of the 99th percentile by method.
    pub p99: BTreeMap<Percentile, Span>,
    /// Smallest numbers of answered requests a second, over the whole run, by method.
    pub per_s: BTreeMap<Percentile, Rate>,
    /// Most resident memory of the process, an embedded server included, MiB.
    pub rss_mib: Option<Rate>,
    /// Most resident memory an agent: that of the process, an embedded server included, by the number of agents.
    pub rss_bytes_per_agent: Option<Rate>,
    /// Most state of an idle agent, bytes on average.
    pub bytes_per_idle_agent: Option<Rate>,
    /// Most processor time of the process a check-in, with all that it leads to and an embedded server's, ms.
    pub cpu_ms_per_check_in: Option<Rate>,
}

impl Thresholds {
    /// The limits of the 99th percentile, by method.
    pub fn p99(&self) -> impl Iterator<Item = (Method, Span)> + '_ {
        self.p99.iter().map(|(method, limit)| (method.0, *limit))
    }

    /// The least throughput, by method.
    pub fn per_s(&self) -> impl Iterator<Item = (Method, f64)> + '_ {
        self.per_s.iter().map(|(method, least)| (method.0, least.0))
    }
}

impl Goal {
    /// As scenarios name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Finished => "finished",
            Self::Succeeded => "succeeded",
            Self::Applied => "applied",
            Self::Rotated => "rotated",
        }
    }
}
