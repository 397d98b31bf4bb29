//! Comparison with the result of an earlier run, and the limits on getting slower that follow from it.

use super::RunReport;
use crate::scenario::Share;
use crate::verdict::{self, ThresholdResult};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much slower a run may be if neither the command line nor the scenario says.
pub const DEFAULT_REGRESSION: Share = Share(0.2);

/// An earlier result beside this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineFigures {
    /// Its file.
    pub file: String,
    /// When it started: UTC, RFC 3339.
    pub started: String,
    /// How much larger than its 99th percentiles those of this run may be, as a share of them.
    pub regression_limit: f64,
    /// Methods that one of both has used.
    pub methods: BTreeMap<String, Compared>,
}

/// A method before and now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// 99th percentile of the baseline, ms; none: it has not used the method.
    pub before_p99_ms: Option<f64>,
    /// That of this run.
    pub now_p99_ms: Option<f64>,
    /// By what share this run is slower; below 0 it is faster.
    pub change: Option<f64>,
    /// Requests a second of the baseline.
    pub before_per_s: Option<f64>,
    /// Those of this run.
    pub now_per_s: Option<f64>,
}

/// Results that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot compare with {file}: it is of {before}, this run of {now}; compare runs of the same load")]
pub struct Incomparable {
    /// The earlier result.
    file: String,
    /// What it is of.
    before: String,
    /// What the run is of.
    now: String,
}

/// Refuses an earlier result of another load: scenario, by name, and number of agents.
pub fn comparable(file: &str, before: &RunReport, scenario: &str, agents: u32) -> Result<(), Incomparable> {
    let load = |scenario: &str, agents: u32| format!("scenario {scenario:?} with {agents} agents");
    if before.scenario == scenario && before.agents.planned == agents {
        return Ok(());
    }
    Err(Incomparable {
        file: file.to_owned(),
        before: load(&before.scenario, before.agents.planned),
        now: load(scenario, agents),
    })
}

/// Compares a report with an earlier one: each method that the earlier one has must not be slower by more than `limit`.
pub fn compare(report: &mut RunReport, file: &str, before: &RunReport, limit: Share) {
    let limits = before.methods.iter().map(|(method, figures)| -> ThresholdResult {
        let now = report.methods.get(method).map(|now| now.p99_ms);
        verdict::at_most(
            &format!("regression p99_ms {method}"),
            figures.p99_ms * (1.0 + limit.0),
            now,
        )
    });
    let limits: Vec<_> = limits.collect();
    report.thresholds.extend(limits);
    report.verdict = verdict::verdict(&report.thresholds, &report.convergence);
    let names = before.methods.keys().chain(report.methods.keys());
    let methods = names.map(|method| {
        let (then, now) = (before.methods.get(method), report.methods.get(method));
        let change = then
            .zip(now)
            .filter(|(then, _)| then.p99_ms > 0.0)
            .map(|(then, now)| now.p99_ms / then.p99_ms - 1.0);
        let compared = Compared {
            before_p99_ms: then.map(|figures| figures.p99_ms),
            now_p99_ms: now.map(|figures| figures.p99_ms),
            change,
            before_per_s: then.map(|figures| figures.per_s),
            now_per_s: now.map(|figures| figures.per_s),
        };
        (method.clone(), compared)
    });
    report.baseline = Some(BaselineFigures {
        file: file.to_owned(),
        started: before.started.clone(),
        regression_limit: limit.0,
        methods: methods.collect(),
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn compared(factor: f64, limit: f64) -> (RunReport, ThresholdResult) {
        let (mut report, before) = (sample(), sample());
        for figures in report.methods.values_mut() {
            figures.p99_ms *= factor;
        }
        compare(&mut report, "old.json", &before, Share(limit));
        let limits: Vec<_> = report
            .thresholds
            .iter()
            .filter(|one| one.name.starts_with("regression"))
            .cloned()
            .collect();
        let [one] = limits.try_into().unwrap();
        (report, one)
    }

    #[tokio::test]
    async fn a_run_that_is_slower_than_the_limit_allows_fails() {
        let (report, limit) = compared(1.5, 0.2);
        assert_eq!(limit.name, "regression p99_ms oco.agent.hello");
        assert!(!limit.ok, "{limit:?}");
        let change = report.baseline.unwrap().methods["oco.agent.hello"].change;
        assert!((change.unwrap() - 0.5).abs() < 1e-9);
        assert!(compared(1.1, 0.2).1.ok && compared(0.5, 0.0).1.ok);
    }

    #[tokio::test]
    async fn a_method_that_is_no_longer_used_counts_as_a_regression() {
        let (mut report, before) = (sample(), sample());
        report.methods.clear();
        report.thresholds.clear();
        compare(&mut report, "old.json", &before, Share(1.0));
        assert!(report.thresholds.iter().all(|one| !one.ok && one.value.is_none()));
        assert_eq!(report.thresholds.len(), 1);
    }

    #[tokio::test]
    async fn only_runs_of_the_same_load_are_compared() {
        let before = sample();
        assert_eq!(comparable("old.json", &before, "sample", 3), Ok(()));
        for (scenario, agents) in [("sample", 4), ("demo", 3)] {
            let error = comparable("old.json", &before, scenario, agents).unwrap_err();
            assert!(error.to_string().contains("old.json"), "{error}");
        }
    }
}
