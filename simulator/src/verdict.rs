//! The verdict: thresholds and convergences, each with its value and whether it held.

use crate::scenario::Scenario;
use crate::stats::{AttackFigures, Stats, millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pass or fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every threshold and convergence held.
    Pass,
    /// At least one did not.
    Fail,
}

/// A limit and what it was compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    /// What was limited: `error_share`, `agents_lost`, `p99_ms oco.agent.hello`, `per_s oco.agent.hello`.
    pub name: String,
    /// The largest value that is accepted, or the smallest one.
    pub limit: f64,
    /// Whether it is the smallest one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// The value; none if there was nothing to measure, which does not hold.
    pub value: Option<f64>,
    /// Whether it held.
    pub ok: bool,
}

/// A convergence and how far it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvergenceResult {
    /// Its name in the scenario.
    pub name: String,
    /// Agents that reached it.
    pub agents: u64,
    /// Of so many.
    pub of: u64,
    /// How long it took; none if it was not reached.
    pub seconds: Option<f64>,
    /// Its limit, s.
    pub limit_s: f64,
    /// Whether it was reached in time.
    pub ok: bool,
}

/// What limits are about, of one process or of a whole fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// All requests.
    pub requests: u64,
    /// Failed requests and agents that could not even ask.
    pub errors: u64,
    /// Agents that were due and are not well.
    pub agents_lost: u64,
    /// Deployments of the scenario that were never made.
    pub deployments_missing: u64,
    /// 99th percentiles by method, ms; only of methods that were used.
    pub p99_ms: BTreeMap<String, f64>,
    /// Answered requests a second by method.
    pub per_s: BTreeMap<String, f64>,
    /// What agents and check-ins cost.
    pub cost: Cost,
    /// What adversaries have tried.
    pub attacks: Vec<AttackFigures>,
    /// Faults that the server was to commit, with what came of it.
    pub faults: Vec<FaultFigures>,
}

/// What agents and check-ins cost the process, where the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Resident memory.
    pub rss_mib: Option<f64>,
    /// Resident memory by the number of agents.
    pub rss_bytes_per_agent: Option<f64>,
    /// State of an idle agent.
    pub bytes_per_idle_agent: f64,
    /// Processor time by the number of check-ins.
    pub cpu_ms_per_check_in: Option<f64>,
}

/// A fault that a server was to commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultFigures {
    /// Its name in the scenario.
    pub name: String,
    /// How often it was committed.
    pub committed: u64,
    /// How often it had to be at least.
    pub at_least: u64,
}

/// What the name of a limit on a method's 99th percentile begins with.
const P99: &str = "p99_ms ";
/// What the name of a limit on a method's throughput begins with.
const PER_S: &str = "per_s ";
/// Names of limits on what agents and check-ins cost.
const RSS_MIB: &str = "rss_mib";
const RSS_BYTES: &str = "rss_bytes_per_agent";
const IDLE_BYTES: &str = "bytes_per_idle_agent";
const CPU_MS: &str = "cpu_ms_per_check_in";

impl Measured {
    /// What the collector knows; throughput, memory and faults are to be added.
    pub fn new(scenario: &Scenario, stats: &Stats, agents_lost: u32) -> Self {
        let p99 = stats
            .methods()
            .iter()
            .map(|(method, stats)| (method.as_str().to_owned(), stats.all().quantile_ms(0.99)));
        Self {
            requests: stats.request_count(),
            errors: stats.error_count(),
            agents_lost: agents_lost.into(),
            deployments_missing: deployments_missing(scenario, stats),
            p99_ms: p99.collect(),
            attacks: stats.attacks().to_vec(),
            ..Self::default()
        }
    }

    /// Compares a limit with its value.
    #[allow(clippy::cast_precision_loss)] // numbers of agents and requests
    pub fn judge(&self, name: &str, limit: f64) -> ThresholdResult {
        let requests = self.requests.max(self.errors);
        let attacks = |count: fn(&AttackFigures) -> u64| self.attacks.iter().map(count).sum::<u64>() as f64;
        let value = match name {
            "error_share" => (requests > 0).then(|| self.errors as f64 / requests as f64),
            "agents_lost" => Some(self.agents_lost as f64),
            "deployments_missing" => Some(self.deployments_missing as f64),
            "attacks_accepted" => Some(attacks(|figures| figures.accepted)),
            "attacks_refused_otherwise" => Some(attacks(|figures| figures.otherwise)),
            "attacks_untried" => Some(attacks(|figures| {
                u64::from(figures.refused + figures.accepted == 0)
            })),
            "faults_missing" => Some(self.faults_missing() as f64),
            RSS_MIB => self.cost.rss_mib,
            RSS_BYTES => self.cost.rss_bytes_per_agent,
            IDLE_BYTES => Some(self.cost.bytes_per_idle_agent),
            CPU_MS => self.cost.cpu_ms_per_check_in,
            name => match (name.strip_prefix(P99), name.strip_prefix(PER_S)) {
                (Some(method), _) => self.p99_ms.get(method).copied(),
                (None, Some(method)) => self.per_s.get(method).copied(),
                (None, None) => None,
            },
        };
        if name.starts_with(PER_S) {
            at_least(name, limit, value)
        } else {
            at_most(name, limit, value)
        }
    }

    fn faults_missing(&self) -> u64 {
        let missing = self
            .faults
            .iter()
            .filter(|fault| fault.committed < fault.at_least);
        missing.count() as u64
    }
}

/// Compares the figures with the scenario's limits.
pub fn thresholds(scenario: &Scenario, measured: &Measured) -> Vec<ThresholdResult> {
    let limits = &scenario.thresholds;
    let mut results = vec![
        measured.judge("error_share", limits.error_share.0),
        measured.judge("agents_lost", limits.agents_lost.into()),
    ];
    if !scenario.admin.deployments.is_empty() {
        results.push(measured.judge("deployments_missing", 0.0));
    }
    if !scenario.adversary.is_empty() {
        let names = ["attacks_accepted", "attacks_refused_otherwise", "attacks_untried"];
        results.extend(names.map(|name| measured.judge(name, 0.0)));
    }
    if !scenario.fault.is_empty() {
        results.push(measured.judge("faults_missing", 0.0));
    }
    let p99 = limits
        .p99()
        .map(|(method, limit)| measured.judge(&format!("{P99}{method}"), millis(limit.0)));
    results.extend(p99);
    let per_s = limits
        .per_s()
        .map(|(method, least)| measured.judge(&format!("{PER_S}{method}"), least));
    results.extend(per_s);
    let costs = [
        (RSS_MIB, limits.rss_mib),
        (RSS_BYTES, limits.rss_bytes_per_agent),
        (IDLE_BYTES, limits.bytes_per_idle_agent),
        (CPU_MS, limits.cpu_ms_per_check_in),
    ];
    let costs = costs
        .into_iter()
        .filter_map(|(name, most)| Some(measured.judge(name, most?.0)));
    results.extend(costs);
    results
}

/// Deployments of the scenario that were never made.
pub fn deployments_missing(scenario: &Scenario, stats: &Stats) -> u64 {
    let planned = scenario.admin.deployments.len();
    planned.saturating_sub(stats.deployments()) as u64
}

/// How far the convergences came.
pub fn convergences(stats: &Stats) -> Vec<ConvergenceResult> {
    let results = stats.convergences().iter().map(|convergence| ConvergenceResult {
        name: convergence.name.clone(),
        agents: convergence.agents,
        of: convergence.of,
        seconds: convergence.took().map(|took| took.as_secs_f64()),
        limit_s: convergence.within.as_secs_f64(),
        ok: convergence.ok(),
    });
    results.collect()
}

/// The verdict of all of them.
pub fn verdict(thresholds: &[ThresholdResult], convergences: &[ConvergenceResult]) -> Verdict {
    if thresholds.iter().all(|threshold| threshold.ok)
        && convergences.iter().all(|convergence| convergence.ok)
    {
        Verdict::Pass
    } else {
        Verdict::Fail
    }
}

/// Compares a value with its limit.
pub fn at_most(name: &str, limit: f64, value: Option<f64>) -> ThresholdResult {
    ThresholdResult {
        name: name.to_owned(),
        limit,
        at_least: false,
        value,
        ok: value.is_some_and(|value| value <= limit),
    }
}

/// Compares a value with the smallest that is accepted.
fn at_least(name: &str, limit: f64, value: Option<f64>) -> ThresholdResult {
    ThresholdResult {
        at_least: true,
        ok: value.is_some_and(|value| value >= limit),
        ..at_most(name, limit, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Attempt, ErrorKind, Event};
    use oco_protocol::rpc::Method;
    use std::time::Duration;
    use tokio::time::Instant;

    fn judged(latencies_ms: &[u64], errors: usize, lost: u32) -> (Verdict, Vec<ThresholdResult>) {
        let text = "description = \"\"\n[thresholds]\nerror_share = 0.5\nagents_lost = 1\n[thresholds.p99]\n\
                    \"oco.agent.hello\" = \"100ms\"";
        let scenario = Scenario::parse("x", "x", text).unwrap();
        let start = Instant::now();
        let mut stats = Stats::new(&scenario, start);
        for (number, latency) in latencies_ms.iter().enumerate() {
            let latency = Duration::from_millis(*latency);
            let error = (number < errors).then_some(ErrorKind::AGENT);
            stats.apply(
                Event::Exchange {
                    method: Method::Hello,
                    started: start,
                    latency,
                    service: Some(latency),
                    error,
                },
                start,
            );
        }
        let thresholds = thresholds(&scenario, &Measured::new(&scenario, &stats, lost));
        (verdict(&thresholds, &convergences(&stats)), thresholds)
    }

    #[test]
    fn limits_that_are_just_reached_hold() {
        assert_eq!(judged(&[10, 20], 1, 1).0, Verdict::Pass);
    }

    #[test]
    fn each_broken_limit_fails_the_run_and_is_named() {
        for (latencies, errors, lost, broken) in [
            (&[10, 20][..], 2, 0, "error_share"),
            (&[10, 20], 0, 2, "agents_lost"),
            (&[10, 200], 0, 0, "p99_ms oco.agent.hello"),
        ] {
            let (verdict, thresholds) = judged(latencies, errors, lost);
            assert_eq!(verdict, Verdict::Fail);
            let failed: Vec<_> = thresholds
                .iter()
                .filter(|t| !t.ok)
                .map(|t| t.name.as_str())
                .collect();
            assert_eq!(failed, [broken]);
        }
    }

    #[test]
    fn a_deployment_that_was_never_made_fails_the_run() {
        let text = "description = \"\"\n[[admin.package]]\nname = \"p\"\nprocedure = \"p\"\n[[admin.deployment]]\n\
                    name = \"d\"\npackages = [\"p\"]\nat = \"5m\"";
        let scenario = Scenario::parse("x", "x", text).unwrap();
        let start = Instant::now();
        let mut stats = Stats::new(&scenario, start);
        let missing = |stats: &Stats| {
            let results = thresholds(&scenario, &Measured::new(&scenario, stats, 0));
            let result = results.into_iter().find(|t| t.name == "deployments_missing");
            result.map(|result| (result.value, result.ok))
        };
        assert_eq!(missing(&stats), Some((Some(1.0), false)));
        let event = Event::Deployed {
            deployment: 0,
            container: oco_protocol::lenient::Id::Number(1),
            jobs: 1,
            computers: 1,
            at: start,
        };
        stats.apply(event, start);
        assert_eq!(missing(&stats), Some((Some(0.0), true)));
    }

    #[test]
    fn throughput_memory_attacks_and_faults_are_limited() {
        let text = "description = \"\"\n[thresholds]\nrss_mib = 100\nrss_bytes_per_agent = 1000\nbytes_per_idle_agent = 200\n\
                    cpu_ms_per_check_in = 1.5\n[thresholds.per_s]\n\
                    \"oco.agent.hello\" = 10\n[[adversary]]\nname = \"a\"\nkind = \"replay\"\n[[fault]]\n\
                    name = \"f\"\nat = 1\nfault = { kind = \"duplicate-jobs\" }";
        let scenario = Scenario::parse("x", "x", text).unwrap();
        let mut measured = Measured {
            requests: 1,
            per_s: BTreeMap::from([("oco.agent.hello".to_owned(), 10.0)]),
            cost: Cost {
                rss_mib: Some(100.0),
                rss_bytes_per_agent: Some(1000.0),
                bytes_per_idle_agent: 200.0,
                cpu_ms_per_check_in: Some(1.5),
            },
            attacks: AttackFigures::of(&scenario),
            faults: vec![FaultFigures {
                name: "f".into(),
                committed: 1,
                at_least: 1,
            }],
            ..Measured::default()
        };
        let failed = |measured: &Measured| -> Vec<String> {
            let results = thresholds(&scenario, measured).into_iter();
            results.filter(|one| !one.ok).map(|one| one.name).collect()
        };
        assert_eq!(failed(&measured), ["attacks_untried"]);
        measured.attacks[0].record(Attempt::Refused(401));
        assert!(failed(&measured).is_empty());
        measured.attacks[0].record(Attempt::Accepted);
        measured.attacks[0].record(Attempt::Otherwise(500));
        measured.faults[0].committed = 0;
        measured.per_s.clear();
        measured.cost = Cost {
            rss_mib: Some(100.5),
            rss_bytes_per_agent: Some(1001.0),
            bytes_per_idle_agent: 200.5,
            cpu_ms_per_check_in: None,
        };
        assert_eq!(
            failed(&measured),
            [
                "attacks_accepted",
                "attacks_refused_otherwise",
                "faults_missing",
                "per_s oco.agent.hello",
                "rss_mib",
                "rss_bytes_per_agent",
                "bytes_per_idle_agent",
                "cpu_ms_per_check_in"
            ]
        );
    }

    #[test]
    fn a_limit_on_something_that_never_happened_does_not_hold() {
        let (verdict, thresholds) = judged(&[], 0, 0);
        assert_eq!(verdict, Verdict::Fail);
        assert!(
            thresholds
                .iter()
                .any(|t| t.name.starts_with("p99") && t.value.is_none() && !t.ok)
        );
    }
}
