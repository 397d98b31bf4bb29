//! Software jobs as the server orders them, and the reports an agent makes of their progress.

use crate::lenient::{self, Id};
use serde::{Deserialize, Serialize};

/// Return code of a report that says the agent could not run the job at all.
pub const AGENT_ERROR_CODE: i64 = -9999;

/// Progress value of a download that is complete and being unpacked.
pub const PROGRESS_UNPACKING: f64 = 101.0;

/// One software job of a hello's answer. Jobs are run in the order received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// An integer, or a text such as `dynamic-1` for a job of a deployment rule.
    pub id: Id,
    /// What the job belongs to: an integer, or a text such as `deployment_rule::1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Id>,
    /// The package to download, where `download` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_id: Option<Id>,
    /// Whether the package's archive has to be fetched and unpacked first.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub download: bool,
    /// Shell command line; empty means there is nothing to run and the job has succeeded.
    pub procedure: String,
    /// 1: after a failure the remaining jobs of the container are skipped. 0: they are run all the same.
    #[serde(default, deserialize_with = "lenient::integer_or_zero")]
    pub sequence_mode: i64,
    /// Minutes until a restart after success; none or negative: no restart.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub restart: Option<i64>,
    /// Minutes until a shutdown after success; none or negative: no shutdown.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub shutdown: Option<i64>,
    /// Not negative: the agent ends after success, so that the service manager starts its new version.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub exit: Option<i64>,
}

impl Job {
    /// Whether a failure of this job skips the rest of its container.
    pub fn aborts_container_on_failure(&self) -> bool {
        self.sequence_mode == 1
    }
}

/// How far a job has come, as reported to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobState {
    /// -1: the agent could not run it.
    AgentError,
    /// 1: its package is being downloaded or unpacked.
    Downloading,
    /// 2: its procedure runs.
    Executing,
    /// 3: its procedure has ended, with whatever return code.
    Finished,
}

impl JobState {
    /// The number on the wire.
    pub const fn code(self) -> i64 {
        match self {
            Self::AgentError => -1,
            Self::Downloading => 1,
            Self::Executing => 2,
            Self::Finished => 3,
        }
    }

    /// The state of a number on the wire.
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            -1 => Some(Self::AgentError),
            1 => Some(Self::Downloading),
            2 => Some(Self::Executing),
            3 => Some(Self::Finished),
            _ => None,
        }
    }
}

impl Serialize for JobState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.code())
    }
}

impl<'de> Deserialize<'de> for JobState {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = lenient::integer(deserializer)?;
        Self::from_code(code).ok_or_else(|| {
            serde::de::Error::custom(format_args!("{code} is not a job state: expected -1, 1, 2 or 3"))
        })
    }
}

/// `data` of `oco.agent.update_job_state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobReport {
    /// The job's id exactly as received.
    pub job_id: Id,
    /// How far it is.
    pub state: JobState,
    /// The procedure's return code, or [`AGENT_ERROR_CODE`]; null while there is none. The key is required.
    pub return_code: Option<i64>,
    /// Percent of the download, 101 while unpacking.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "whole_percent")]
    pub download_progress: Option<f64>,
    /// Output so far, or the whole output, or the reason of an agent error.
    pub message: String,
}

/// Progress without a fraction is written as an integer, as the existing agent does.
mod whole_percent {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::cast_possible_truncation, clippy::ref_option)] // small percentages; serde's signature
    pub(super) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(percent) if percent.fract() == 0.0 && percent.abs() < 1e6 => {
                serializer.serialize_i64(*percent as i64)
            }
            Some(percent) => serializer.serialize_f64(*percent),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Option::deserialize(deserializer)
    }
}

/// `params` of the answer to `oco.agent.update_job_state`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobReportAnswer {
    /// Whether the job has ended with one of its package's success codes.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub job_succeeded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn job_of_an_older_php_has_strings_for_numbers() {
        let job: Job = serde_json::from_value(json!({
            "id": "4", "container-id": "3", "package-id": "4", "download": "1", "procedure": "x",
            "sequence-mode": "1", "restart": "5", "shutdown": null, "exit": null
        }))
        .unwrap();
        assert!(job.download && job.aborts_container_on_failure());
        assert_eq!((job.restart, job.shutdown), (Some(5), None));
        assert_eq!(job.id, Id::Number(4));
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_essentials_refused() {
        assert!(serde_json::from_value::<Job>(json!({"id": 1, "procedure": "x", "new": {}})).is_ok());
        assert!(
            serde_json::from_value::<Job>(json!({"id": 1, "procedure": "x", "sequence-mode": null})).is_ok()
        );
        assert!(serde_json::from_value::<Job>(json!({"id": 1})).is_err());
        assert!(serde_json::from_value::<Job>(json!({"procedure": "x"})).is_err());
    }

    #[test]
    fn report_keeps_the_return_code_key_when_there_is_none() {
        let report = JobReport {
            job_id: Id::Text("dynamic-1".into()),
            state: JobState::Downloading,
            return_code: None,
            download_progress: Some(0.0),
            message: String::new(),
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"job-id":"dynamic-1","state":1,"return-code":null,"download-progress":0,"message":""}"#
        );
    }
}
