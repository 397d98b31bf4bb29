//! The machine-readable result.

use super::{ReportError, RunReport};
use std::path::Path;

/// The report as JSON, ending in a line feed.
pub fn render(report: &RunReport) -> Result<String, ReportError> {
    serde_json::to_string_pretty(report)
        .map(|json| json + "\n")
        .map_err(|error| ReportError::Render {
            form: "JSON",
            reason: error.to_string(),
        })
}

/// Reads what [`render`] made and somebody saved.
pub fn read(path: &Path) -> Result<RunReport, ReportError> {
    let unreadable = |reason: String| ReportError::Read {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[tokio::test]
    async fn the_keys_that_others_rely_on_are_there() {
        let json: Value = serde_json::from_str(&render(&super::super::tests::sample()).unwrap()).unwrap();
        for (pointer, value) in [
            ("/verdict", "fail".into()),
            ("/scenario", "sample".into()),
            ("/seed", 42.into()),
            ("/duration_s", 4.0.into()),
            ("/agents/planned", 3.into()),
            ("/agents/registered", 2.into()),
            ("/agents/lost", 1.into()),
            ("/agents/by_os/linux", 1.into()),
            ("/methods/oco.agent.hello/ok", 2.into()),
            ("/methods/oco.agent.hello/errors", 1.into()),
            ("/methods/oco.agent.hello/per_s", 0.75.into()),
            ("/errors/401 <b>no<~1b>", 1.into()),
            ("/jobs/succeeded", 1.into()),
            ("/jobs/failed", 0.into()),
            ("/jobs/pending", 1.into()),
            ("/thresholds/0/name", "error_share".into()),
            ("/thresholds/0/limit", 0.5.into()),
            ("/thresholds/0/ok", true.into()),
            ("/convergence/1/name", "installed".into()),
            ("/convergence/1/agents", 1.into()),
            ("/convergence/1/of", 2.into()),
            ("/convergence/1/seconds", Value::Null),
            ("/convergence/1/ok", false.into()),
            ("/process/rss_bytes", 50_000_000.into()),
            ("/process/cpu_s", 1.5.into()),
            ("/process/bytes_per_idle_agent", 160.into()),
        ] {
            assert_eq!(json.pointer(pointer), Some(&value), "{pointer}");
        }
        for key in ["p50_ms", "p90_ms", "p99_ms", "max_ms"] {
            let value = json["methods"]["oco.agent.hello"][key].as_f64().unwrap();
            assert!((20.0..23.0).contains(&value), "{key} {value}");
        }
        assert!(
            json["methods"]["oco.agent.hello"]["histogram"]
                .as_str()
                .unwrap()
                .len()
                > 40
        );
        assert!(json["thresholds"][0]["value"].is_f64());
    }
}
