//! `oco.agent.update_job_state`: how far a job is.

use super::Request;
use crate::error::Refusal;
use crate::jobs::JobState;
use crate::store::jobs::{ReportJob, ReportOutcome};
use axum::response::Response;
use oco_protocol::job::{JobReportAnswer, JobState as Reported};
use oco_protocol::lenient::{self, Id};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ReportData {
    job_id: Id,
    state: Reported,
    /// The key is required, null is fine.
    #[serde(deserialize_with = "lenient::optional_integer")]
    return_code: Option<i64>,
    message: String,
    #[serde(default)]
    download_progress: Value,
}

/// Serves a job report.
pub(super) async fn handle(request: Request<'_>) -> Result<Response, Refusal> {
    let sender = request.sender()?;
    let data: ReportData = request.envelope.params.data()?;
    let job = data.job_id.to_string();
    let id = job.parse().map_err(|_| Refusal::UnknownJob(job.clone()))?;
    let report = ReportJob {
        computer: sender.computer,
        job: id,
        reported: data.state,
        return_code: data.return_code,
        progress: number(&data.download_progress),
        output: data.message,
        now: request.state.now(),
    };
    match request.state.store.write(report).await? {
        ReportOutcome::Stored(state) => {
            let answer = JobReportAnswer {
                job_succeeded: state == JobState::Succeeded,
            };
            request.answer(&sender.server_key, true.into(), answer)
        }
        ReportOutcome::UnknownJob => Err(Refusal::UnknownJob(job)),
        ReportOutcome::ForeignJob => Err(Refusal::ForeignJob(job)),
    }
}

fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.parse().ok())
        .filter(|number| number.is_finite())
}
