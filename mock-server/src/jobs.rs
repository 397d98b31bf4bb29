//! What a job report makes of a job: the life cycle, decided without a database.

use oco_protocol::job::JobState as Reported;
use oco_protocol::lenient::Id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Return code of jobs that were given up because one before them failed.
pub(crate) const SEQUENCE_ABORTED_CODE: i64 = -8888;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JobState {
    Pending,
    Downloading,
    Executing,
    Succeeded,
    Failed,
    /// Not begun before the end of its container.
    Expired,
    /// The package is for another operating system.
    Incompatible,
    /// The package conflicts with another; kept for what other servers store.
    Conflict,
    /// The computer has this version already.
    AlreadyInstalled,
}

impl JobState {
    /// The usual ones: lists count these even where there are none.
    pub(crate) const USUAL: [Self; 5] = [
        Self::Pending,
        Self::Downloading,
        Self::Executing,
        Self::Succeeded,
        Self::Failed,
    ];
    pub(crate) const ALL: [Self; 9] = [
        Self::Pending,
        Self::Downloading,
        Self::Executing,
        Self::Succeeded,
        Self::Failed,
        Self::Expired,
        Self::Incompatible,
        Self::Conflict,
        Self::AlreadyInstalled,
    ];

    /// The number that is stored, and that the client API of real servers shows.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Downloading => 1,
            Self::Executing => 2,
            Self::Succeeded => 3,
            Self::Failed => -1,
            Self::Expired => -2,
            Self::Incompatible => -3,
            Self::Conflict => -4,
            Self::AlreadyInstalled => -5,
        }
    }

    /// The state of a stored number.
    pub(crate) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name the REST surface uses.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Executing => "executing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Incompatible => "incompatible",
            Self::Conflict => "conflict",
            Self::AlreadyInstalled => "already-installed",
        }
    }
}

/// Which job a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobId {
    pub(crate) number: i64,
    /// Of a deployment rule: `dynamic-N` on the wire.
    pub(crate) is_dynamic: bool,
}

/// What the ids of jobs of deployment rules begin with.
const DYNAMIC: &str = "dynamic-";

impl JobId {
    /// The id of a job on the wire.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, is_dynamic) = match text.strip_prefix(DYNAMIC) {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number = number.parse().ok()?;
        Some(Self { number, is_dynamic })
    }

    /// As it is written on the wire.
    pub(crate) fn to_wire(self) -> Id {
        if self.is_dynamic {
            Id::Text(format!("{DYNAMIC}{}", self.number))
        } else {
            Id::Number(self.number)
        }
    }
}

/// The state that a report brings a job to. The order of reports does not matter: a finished job can be reopened.
pub(crate) fn state_after(reported: Reported, return_code: Option<i64>, success_codes: &str) -> JobState {
    match reported {
        Reported::Downloading => JobState::Downloading,
        Reported::Executing => JobState::Executing,
        Reported::AgentError => JobState::Failed,
        Reported::Finished if is_success(return_code, success_codes) => JobState::Succeeded,
        Reported::Finished => JobState::Failed,
    }
}

/// Whether `code` is in the comma-separated list; an empty list takes every code.
fn is_success(code: Option<i64>, list: &str) -> bool {
    let mut codes = list
        .split(',')
        .map(str::trim)
        .filter(|code| !code.is_empty())
        .peekable();
    codes.peek().is_none() || code.is_some_and(|code| codes.any(|one| one.parse() == Ok(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_success_codes_succeed_and_an_empty_list_takes_all() {
        let after = |code, list| state_after(Reported::Finished, code, list);
        assert_eq!(after(Some(0), "0"), JobState::Succeeded);
        assert_eq!(after(Some(3010), "0, 3010"), JobState::Succeeded);
        assert_eq!(after(Some(3), "0,3010"), JobState::Failed);
        assert_eq!(after(None, "0"), JobState::Failed);
        assert_eq!(after(Some(77), ""), JobState::Succeeded);
        assert_eq!(after(Some(-5), " , "), JobState::Succeeded);
    }

    #[test]
    fn an_agent_error_fails_whatever_the_code() {
        assert_eq!(state_after(Reported::AgentError, Some(0), ""), JobState::Failed);
    }

    #[test]
    fn ids_of_jobs_survive_a_round_trip() {
        for text in ["4", "dynamic-7"] {
            assert_eq!(JobId::parse(text).unwrap().to_wire().to_string(), text);
        }
        assert!(JobId::parse("dynamic-").is_none() && JobId::parse("x").is_none());
    }

    #[test]
    fn codes_and_names_are_unique() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_code(state.code()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        assert_eq!(JobState::from_code(-6), None);
    }
}
