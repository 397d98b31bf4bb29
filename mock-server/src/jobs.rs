//! What a job report makes of a job: the life cycle, decided without a database.

use oco_protocol::job::JobState as Reported;
use serde::Serialize;

/// Return code of jobs that were given up because one before them failed.
pub(crate) const SEQUENCE_ABORTED_CODE: i64 = -8888;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    Pending,
    Downloading,
    Executing,
    Succeeded,
    Failed,
}

impl JobState {
    pub(crate) const ALL: [Self; 5] = [
        Self::Pending,
        Self::Downloading,
        Self::Executing,
        Self::Succeeded,
        Self::Failed,
    ];

    /// The number that is stored, and that the client API of real servers shows.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Downloading => 1,
            Self::Executing => 2,
            Self::Succeeded => 3,
            Self::Failed => -1,
        }
    }

    /// The state of a stored number.
    pub(crate) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The state of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The name the REST surface uses.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Executing => "executing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
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
    fn codes_and_names_are_unique() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_code(state.code()), Some(state));
            assert_eq!(JobState::from_name(state.name()), Some(state));
        }
        assert_eq!(JobState::from_code(-2), None);
    }
}
