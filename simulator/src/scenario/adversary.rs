//! Who attacks the server, and what it has to say to them.

use super::values::{Attackers, Interval};
use crate::duration::Span;
use serde::Deserialize;
use std::fmt;
use toml::Spanned;

/// `[[adversary]]`: requests that a server has to refuse. One that is accepted fails the run, and so does one that is
/// refused otherwise than its kind has to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adversary {
    /// Name in the report, unique in the scenario.
    pub name: Spanned<String>,
    /// What it tries.
    pub kind: AdversaryKind,
    /// How many of them there are.
    #[serde(default = "one")]
    pub count: Attackers,
    /// Each one tries again after this.
    #[serde(default = "second")]
    pub every: Interval,
    /// From this time after the start.
    #[serde(default)]
    pub from: Span,
    /// For so long; none: to the end.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
}

fn one() -> Attackers {
    Attackers(1)
}

fn second() -> Interval {
    Interval(Span::from_secs(1))
}

/// What an adversary tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdversaryKind {
    /// A hello signed with a key that is none.
    WrongKey,
    /// A registered computer's hello, sent again.
    Replay,
    /// A registered computer's hello with an older timestamp, signed with its key.
    OldTimestamp,
    /// A body beyond all bounds.
    Oversized,
    /// Bodies that are no requests.
    Malformed,
    /// Host names that are none, from somebody who knows the registration key.
    HostileHostname,
    /// Many requests on one connection, whose answers are hardly read.
    SlowReader,
}

impl AdversaryKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::WrongKey,
        Self::Replay,
        Self::OldTimestamp,
        Self::Oversized,
        Self::Malformed,
        Self::HostileHostname,
        Self::SlowReader,
    ];

    /// As scenarios name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong-key",
            Self::Replay => "replay",
            Self::OldTimestamp => "old-timestamp",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::HostileHostname => "hostile-hostname",
            Self::SlowReader => "slow-reader",
        }
    }

    /// The statuses that refuse it. A connection that is closed refuses what is oversized or slow, too.
    pub const fn refusals(self) -> &'static [u16] {
        match self {
            Self::WrongKey | Self::Replay | Self::OldTimestamp => &[401],
            Self::Oversized => &[400, 413],
            Self::Malformed | Self::HostileHostname => &[400],
            Self::SlowReader => &[401, 408, 429, 503],
        }
    }

    /// Whether a closed connection is a refusal.
    pub const fn may_be_cut_off(self) -> bool {
        matches!(self, Self::Oversized | Self::SlowReader)
    }

    /// Whether it speaks for a computer that is registered with a key of its own.
    pub const fn is_registered(self) -> bool {
        matches!(self, Self::Replay | Self::OldTimestamp)
    }
}

impl fmt::Display for AdversaryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
