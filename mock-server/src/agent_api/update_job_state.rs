//! `oco.agent.update_job_state`: how far a job is.

use super::Request;
use crate::error::Refusal;
use crate::generation::ServerGeneration;
use crate::jobs::{JobId, JobState};
use crate::store::job_reports::{ReportJob, ReportOutcome};
use axum::response::Response;
use oco_protocol::job::{JobReportAnswer, JobState as Reported};
use oco_protocol::lenient::{self, Id};
use serde::Deserialize;
use serde_json::Value;

/// Longest output that is kept, bytes.
const MAX_OUTPUT: usize = 1 << 20;
/// Characters of a job id that a refusal repeats.
const MAX_SHOWN_ID: usize = 64;

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
    let sender = request.sender().await?;
    let data: ReportData = request.envelope.params.data()?;
    // The server of 2022 wants a code in every report.
    if data.return_code.is_none() && request.state.generation == ServerGeneration::September2022 {
        return Err(Refusal::Parameters);
    }
    let job = data.job_id.to_string();
    let id = JobId::parse(&job);
    let job = shown(&job);
    let Some(id) = id else {
        return Err(Refusal::UnknownJob(job));
    };
    let report = ReportJob {
        computer: sender.computer,
        job: id,
        reported: data.state,
        return_code: data.return_code,
        progress: number(&data.download_progress),
        output: tail(data.message, MAX_OUTPUT),
        now: request.state.now(),
    };
    match request.state.store.write(report).await? {
        ReportOutcome::Stored(state) => {
            let answer = JobReportAnswer {
                job_succeeded: state == JobState::Succeeded,
            };
            request.answer(&sender.seal, true.into(), answer)
        }
        ReportOutcome::UnknownJob => Err(Refusal::UnknownJob(job)),
        ReportOutcome::ForeignJob => Err(Refusal::ForeignJob(job)),
    }
}

/// A job id for a refusal, which is sent as HTML.
fn shown(id: &str) -> String {
    let mut text = String::new();
    for character in id.chars().take(MAX_SHOWN_ID) {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            character if character.is_control() => text.push('\u{fffd}'),
            character => text.push(character),
        }
    }
    text
}

/// At most the last `max` bytes of a text: where an output is too long, its end tells how the job went.
fn tail(mut text: String, max: usize) -> String {
    if text.len() > max {
        let start = text.ceil_char_boundary(text.len() - max);
        text.drain(..start);
    }
    text
}

fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str()?.parse().ok())
        .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        assert_eq!(tail("short".into(), 5), "short");
        assert_eq!(tail("too long".into(), 4), "long");
        assert_eq!(tail("aääb".into(), 4), "äb", "no half characters");
    }

    #[test]
    fn refusals_repeat_ids_escaped_and_cut() {
        assert_eq!(shown("dynamic-1"), "dynamic-1");
        assert_eq!(shown("<b>&\r\n"), "&lt;b&gt;&amp;\u{fffd}\u{fffd}");
        assert_eq!(shown(&"9".repeat(1000)), "9".repeat(64));
    }
}
