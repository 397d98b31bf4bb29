//! How a run goes: how long it takes, when agents check in, how they connect.

use super::values::{InFlight, Interval, Share, SourceAddresses};
use crate::duration::Span;
use serde::Deserialize;

/// `[run]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// The run ends at the latest after this.
    pub duration: Span,
    /// What ends it before.
    pub until: Until,
    /// What was due before the end gets this long after it; then it is a failure.
    pub drain: Span,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            duration: Span::from_secs(120),
            until: Until::Converged,
            drain: Span::from_secs(10),
        }
    }
}

/// What ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Every convergence is reached (a scenario without one runs for its whole duration).
    Converged,
    /// Only the duration.
    Duration,
}

/// `[pacing]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pacing {
    /// The agents' first check-ins are spread over this.
    pub ramp: Span,
    /// Time between two check-ins of an agent.
    pub interval: Interval,
    /// How far a check-in may be off its regular time, as a share of the interval.
    pub jitter: Share,
    /// What happens before this is not part of the figures.
    pub warm_up: Span,
    /// How many check-ins run at once at most.
    pub in_flight: InFlight,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            ramp: Span::from_secs(10),
            interval: Interval(Span::from_secs(60)),
            jitter: Share(0.1),
            warm_up: Span::default(),
            in_flight: InFlight(64),
        }
    }
}

/// `[connections]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connections {
    /// How many loopback addresses the agents connect from, if the server is on loopback and the system has them all
    /// (Linux).
    pub source_addresses: SourceAddresses,
    /// Whether connections are kept for the next request. Real agents make a new one for each.
    pub keep_alive: bool,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            source_addresses: SourceAddresses(16),
            keep_alive: false,
        }
    }
}
