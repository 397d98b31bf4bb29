//! Merging the results of a fleet's shards into one report, which is judged like that of a single process.

use super::{
    AgentFigures, CheckInFigures, JobFigures, MethodFigures, ProcessReport, RunReport, WindowFigures,
};
use crate::process::ProcessFigures;
use crate::stats::{AttackFigures, InvalidHistogram, Latency, Precision, StrangerFigures};
use crate::verdict::{self, ConvergenceResult, FaultFigures, Measured, ThresholdResult};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// Results that do not make one fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Not made with `--shard`.
    #[error("{0} is no result of a shard: run every part of the fleet with --shard I/N")]
    NoShard(String),
    /// Of another fleet than the first one.
    #[error("{name} does not belong to {first}: its {what} differs; merge the shards of one run")]
    Mismatch {
        /// Which result.
        name: String,
        /// The first one.
        first: String,
        /// What is not the same.
        what: &'static str,
    },
    /// Twice the same part.
    #[error("{name} is shard {index} again, which {earlier} is already; name each shard once")]
    Duplicate {
        /// Which result.
        name: String,
        /// The one before.
        earlier: String,
        /// Its number.
        index: u32,
    },
    /// Parts of the fleet are missing.
    #[error("shards missing: {0}; name the results of all of them")]
    Missing(String),
    /// A histogram that cannot be read.
    #[error("{name} has a histogram of {method} that cannot be read: {source}")]
    Histogram {
        /// Which result.
        name: String,
        /// Of which method.
        method: String,
        /// What is wrong.
        source: InvalidHistogram,
    },
}

/// Merges the results of all shards of a fleet; each has the name of its file, for messages. `command` is how to do it
/// again.
pub fn merge(shards: &[(String, RunReport)], command: String) -> Result<RunReport, MergeError> {
    let count = check(shards)?;
    let reports: Vec<_> = shards.iter().map(|(_, report)| report).collect();
    // `check` has seen to it that there is one.
    let Some(first) = reports.first() else {
        return Err(MergeError::Missing("all".to_owned()));
    };
    let methods = methods(shards)?;
    let errors = sums(reports.iter().map(|report| &report.errors));
    let agents = agents(&reports);
    let convergence = convergence(first, &reports);
    let thresholds = thresholds(first, &reports, &methods, &errors);
    let sum = |value: fn(&RunReport) -> u64| reports.iter().map(|report| value(report)).sum();
    Ok(RunReport {
        verdict: verdict::verdict(&thresholds, &convergence),
        shard: None,
        merged: Some(count),
        started: reports
            .iter()
            .map(|report| &report.started)
            .min()
            .cloned()
            .unwrap_or_default(),
        duration_s: reports.iter().map(|report| report.duration_s).fold(0.0, f64::max),
        interrupted: reports.iter().any(|report| report.interrupted),
        server: distinct(reports.iter().map(|report| report.server.as_str())),
        command,
        agents,
        check_ins: CheckInFigures {
            ok: sum(|report| report.check_ins.ok),
            failed: sum(|report| report.check_ins.failed),
            late: sum(|report| report.check_ins.late),
            missed: sum(|report| report.check_ins.missed),
            during_jobs: sum(|report| report.check_ins.during_jobs),
            away: sum(|report| report.check_ins.away),
        },
        methods,
        errors,
        jobs: JobFigures {
            succeeded: sum(|report| report.jobs.succeeded),
            failed: sum(|report| report.jobs.failed),
            pending: sum(|report| report.jobs.pending),
            repeated: sum(|report| report.jobs.repeated),
        },
        attacks: attacks(&reports),
        faults: faults(&reports),
        strangers: StrangerFigures {
            agents: reports.iter().map(|report| report.strangers.agents).sum(),
            refused: sum(|report| report.strangers.refused),
            accepted: sum(|report| report.strangers.accepted),
        },
        thresholds,
        convergence,
        process: process(&reports),
        timeline: timeline(&reports),
        ..(*first).clone()
    })
}

/// Makes sure that these are all shards of one fleet, each once; how many they are.
fn check(shards: &[(String, RunReport)]) -> Result<u32, MergeError> {
    let Some((first_name, first)) = shards.first() else {
        return Err(MergeError::Missing("all".to_owned()));
    };
    let mut seen: BTreeMap<u32, &String> = BTreeMap::new();
    for (name, report) in shards {
        let Some(shard) = report.shard else {
            return Err(MergeError::NoShard(name.clone()));
        };
        if let Some(what) = difference(first, report) {
            return Err(MergeError::Mismatch {
                name: name.clone(),
                first: first_name.clone(),
                what,
            });
        }
        if let Some(earlier) = seen.insert(shard.index, name) {
            return Err(MergeError::Duplicate {
                name: name.clone(),
                earlier: earlier.clone(),
                index: shard.index,
            });
        }
    }
    let count = first.shard.map_or(0, |shard| shard.count);
    let missing: Vec<_> = (0..count)
        .filter(|index| !seen.contains_key(index))
        .take(20)
        .map(|index| format!("{index}/{count}"))
        .collect();
    if missing.is_empty() {
        Ok(count)
    } else {
        Err(MergeError::Missing(missing.join(", ")))
    }
}

/// What tells two results apart that should be of one fleet.
fn difference(first: &RunReport, other: &RunReport) -> Option<&'static str> {
    let limits = |report: &RunReport| -> Vec<_> {
        let thresholds = report.thresholds.iter();
        thresholds.map(|one| (one.name.clone(), one.limit)).collect()
    };
    let goals = |report: &RunReport| -> Vec<_> {
        let convergence = report.convergence.iter();
        convergence.map(|one| (one.name.clone(), one.limit_s)).collect()
    };
    let fleet = |report: &RunReport| report.shard.map(|shard| (shard.count, shard.agents));
    [
        ("version of the simulator", first.version == other.version),
        (
            "scenario",
            (&first.scenario, &first.scenario_sha256) == (&other.scenario, &other.scenario_sha256),
        ),
        ("seed", first.seed == other.seed),
        ("number of shards or agents", fleet(first) == fleet(other)),
        ("list of thresholds", limits(first) == limits(other)),
        ("list of convergences", goals(first) == goals(other)),
    ]
    .into_iter()
    .find_map(|(what, same)| (!same).then_some(what))
}

fn methods(shards: &[(String, RunReport)]) -> Result<BTreeMap<String, MethodFigures>, MergeError> {
    let names: BTreeSet<_> = shards
        .iter()
        .flat_map(|(_, report)| report.methods.keys())
        .collect();
    names
        .into_iter()
        .map(|method| Ok((method.clone(), method_figures(shards, method)?)))
        .collect()
}

fn method_figures(shards: &[(String, RunReport)], method: &str) -> Result<MethodFigures, MergeError> {
    let empty = Latency::new(Precision::ThreeDigits);
    let (mut all, mut service, mut failed) = (empty.clone(), empty.clone(), empty);
    let (mut ok, mut errors, mut per_s) = (0, 0, 0.0);
    let used = shards
        .iter()
        .filter_map(|(name, report)| Some((name, report.methods.get(method)?)));
    for (name, figures) in used {
        let unreadable = |source| MergeError::Histogram {
            name: name.clone(),
            method: method.to_owned(),
            source,
        };
        all.add_encoded(&figures.histogram).map_err(unreadable)?;
        service
            .add_encoded(&figures.histogram_service)
            .map_err(unreadable)?;
        if let Some(histogram) = &figures.histogram_errors {
            failed.add_encoded(histogram).map_err(unreadable)?;
        }
        ok += figures.ok;
        errors += figures.errors;
        per_s += figures.per_s;
    }
    Ok(MethodFigures::new((ok, errors, per_s), &all, &service, &failed))
}

/// Adds up what has the same name.
fn sums<'a, N: Copy + Default + AddAssign + 'a>(
    maps: impl Iterator<Item = &'a BTreeMap<String, N>>,
) -> BTreeMap<String, N> {
    let mut sums = BTreeMap::new();
    for (name, number) in maps.flatten() {
        *sums.entry(name.clone()).or_default() += *number;
    }
    sums
}

fn agents(reports: &[&RunReport]) -> AgentFigures {
    let sum = |value: fn(&AgentFigures) -> u32| reports.iter().map(|report| value(&report.agents)).sum();
    AgentFigures {
        planned: sum(|agents| agents.planned),
        registered: sum(|agents| agents.registered),
        lost: sum(|agents| agents.lost),
        by_os: sums(reports.iter().map(|report| &report.agents.by_os)),
    }
}

/// Each adversary is one shard's or all of them have it.
fn attacks(reports: &[&RunReport]) -> Vec<AttackFigures> {
    let mut merged: Vec<AttackFigures> = Vec::new();
    for figures in reports.iter().flat_map(|report| &report.attacks) {
        match merged.iter_mut().find(|one| one.name == figures.name) {
            Some(one) => one.add(figures),
            None => merged.push(figures.clone()),
        }
    }
    merged
}

/// One shard has asked the server for each fault.
fn faults(reports: &[&RunReport]) -> Vec<FaultFigures> {
    let mut merged: Vec<FaultFigures> = Vec::new();
    for figures in reports.iter().flat_map(|report| &report.faults) {
        match merged.iter_mut().find(|one| one.name == figures.name) {
            Some(one) => one.committed += figures.committed,
            None => merged.push(figures.clone()),
        }
    }
    merged
}

/// A convergence is reached when the last shard has reached it.
fn convergence(first: &RunReport, reports: &[&RunReport]) -> Vec<ConvergenceResult> {
    let merged = first.convergence.iter().enumerate().map(|(number, one)| {
        let parts: Vec<_> = reports
            .iter()
            .filter_map(|report| report.convergence.get(number))
            .collect();
        let seconds = parts
            .iter()
            .map(|part| part.seconds)
            .try_fold(0.0, |latest, seconds| {
                seconds.map(|seconds| f64::max(latest, seconds))
            });
        ConvergenceResult {
            agents: parts.iter().map(|part| part.agents).sum(),
            of: parts.iter().map(|part| part.of).sum(),
            seconds,
            ok: seconds.is_some_and(|seconds| seconds <= one.limit_s),
            ..one.clone()
        }
    });
    merged.collect()
}

fn thresholds(
    first: &RunReport,
    reports: &[&RunReport],
    methods: &BTreeMap<String, MethodFigures>,
    errors: &BTreeMap<String, u64>,
) -> Vec<ThresholdResult> {
    let measured = Measured {
        requests: methods.values().map(|figures| figures.ok + figures.errors).sum(),
        errors: errors.values().sum(),
        agents_lost: reports.iter().map(|report| u64::from(report.agents.lost)).sum(),
        deployments_missing: reports
            .iter()
            .map(|report| report.deployments_missing)
            .max()
            .unwrap_or(0),
        p99_ms: methods
            .iter()
            .map(|(method, figures)| (method.clone(), figures.p99_ms))
            .collect(),
        per_s: super::per_s(methods),
        cost: process(reports).cost(),
        attacks: attacks(reports),
        faults: faults(reports),
    };
    let limits = first.thresholds.iter();
    limits.map(|one| measured.judge(&one.name, one.limit)).collect()
}

/// What all processes cost together.
fn process(reports: &[&RunReport]) -> ProcessReport {
    let sum = |value: fn(&ProcessFigures) -> Option<u64>| -> Option<u64> {
        reports.iter().map(|report| value(&report.process.figures)).sum()
    };
    let idle: u64 = reports
        .iter()
        .map(|report| report.process.bytes_per_idle_agent * u64::from(report.agents.planned))
        .sum();
    let planned: u64 = reports
        .iter()
        .map(|report| u64::from(report.agents.planned))
        .sum();
    let check_ins = reports
        .iter()
        .map(|report| report.check_ins.ok + report.check_ins.failed)
        .sum();
    ProcessReport::new(
        ProcessFigures {
            rss_bytes: sum(|figures| figures.rss_bytes),
            peak_rss_bytes: sum(|figures| figures.peak_rss_bytes),
            cpu_s: reports.iter().map(|report| report.process.figures.cpu_s).sum(),
            open_files: sum(|figures| figures.open_files),
        },
        reports.iter().map(|report| report.process.run_cpu_s).sum(),
        idle / planned.max(1),
        reports.iter().any(|report| report.process.server_embedded),
        (planned, check_ins),
    )
}

/// Window by window, as the shards run at the same time. Of latencies there are only quantiles: the slowest shard's count.
fn timeline(reports: &[&RunReport]) -> Vec<WindowFigures> {
    let longest = reports
        .iter()
        .map(|report| report.timeline.len())
        .max()
        .unwrap_or(0);
    let window = |number: usize| {
        let mut merged = WindowFigures::default();
        for report in reports {
            let own: Option<&WindowFigures> = report.timeline.get(number);
            if let Some(own) = own {
                merged.t_s = merged.t_s.max(own.t_s);
                merged.check_ins_per_s += own.check_ins_per_s;
                merged.requests_per_s += own.requests_per_s;
                merged.errors_per_s += own.errors_per_s;
                largest(&mut merged.p50_ms, &own.p50_ms);
                largest(&mut merged.p99_ms, &own.p99_ms);
                for (kind, per_s) in &own.errors_by_kind_per_s {
                    *merged.errors_by_kind_per_s.entry(kind.clone()).or_default() += per_s;
                }
                merged.rss_bytes = added(merged.rss_bytes, own.rss_bytes);
                merged.open_files = added(merged.open_files, own.open_files);
            }
            // A shard that is over keeps what it has reached.
            if let Some(own) = own.or(report.timeline.last()) {
                merged.registered += own.registered;
                merged.jobs_ended += own.jobs_ended;
            }
        }
        merged.converged = converged(reports, number);
        merged
    };
    (0..longest).map(window).collect()
}

/// The share of all agents that had reached each convergence in a window, by the agents of each shard.
#[allow(clippy::cast_precision_loss)] // numbers of agents
fn converged(reports: &[&RunReport], window: usize) -> Vec<f64> {
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for report in reports {
        let Some(own) = report.timeline.get(window).or(report.timeline.last()) else {
            continue;
        };
        sums.resize(sums.len().max(own.converged.len()), (0.0, 0.0));
        for ((sum, share), convergence) in sums.iter_mut().zip(&own.converged).zip(&report.convergence) {
            sum.0 += share * convergence.of as f64;
            sum.1 += convergence.of as f64;
        }
    }
    sums.into_iter().map(|(there, of)| there / of.max(1.0)).collect()
}

fn added(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

fn largest(all: &mut BTreeMap<String, f64>, own: &BTreeMap<String, f64>) {
    for (method, ms) in own {
        let slowest = all.entry(method.clone()).or_default();
        *slowest = slowest.max(*ms);
    }
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: BTreeSet<_> = texts.collect();
    texts.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
