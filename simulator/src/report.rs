//! The outcome of a run, and its three forms: JSON for machines, HTML for people, text for the terminal.

use crate::process::ProcessFigures;
use crate::scenario::Scenario;
use crate::shard::Shard;
use crate::stats::{
    AttackFigures, CheckIns, JobCounts, Latency, MethodStats, Stats, StrangerFigures, Window,
};
use crate::verdict::{self, ConvergenceResult, Cost, FaultFigures, Measured, ThresholdResult, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub mod baseline;
mod file;
mod format;
pub mod html;
pub mod json;
pub mod merge;
mod plot;
pub mod text;

pub use baseline::BaselineFigures;
pub use file::{ReportError, ReportFile};
pub use format::{count, milliseconds, seconds};

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// What the collector cannot know about a run.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// When it started.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was ended by hand.
    pub interrupted: bool,
    /// The server's URL, or what the embedded one is called.
    pub server: String,
    /// Whether the server ran in this process, so that the process figures include it.
    pub server_embedded: bool,
    /// Agents whose first check-in was due.
    pub agents_started: u32,
    /// State of an idle agent, bytes on average.
    pub bytes_per_idle_agent: u64,
    /// Figures of the process at the end.
    pub process: ProcessFigures,
    /// Processor time that it had taken before the first agent was due, s.
    pub cpu_before_s: Option<f64>,
    /// Faults that the server was to commit.
    pub faults: Vec<FaultFigures>,
    /// How to run it again.
    pub command: String,
}

/// Everything about a run that is over. Its JSON form is the machine-readable result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// Whether every threshold and convergence held.
    pub verdict: Verdict,
    /// Version of the simulator.
    pub version: String,
    /// The scenario.
    pub scenario: String,
    /// SHA-256 of its text, hexadecimal.
    pub scenario_sha256: String,
    /// Its description.
    pub description: String,
    /// The seed.
    pub seed: u64,
    /// Which part of the fleet this is; none: the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardFigures>,
    /// How many shards this was merged from; none: it is from one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<u32>,
    /// UTC, RFC 3339.
    pub started: String,
    /// How long it took.
    pub duration_s: f64,
    /// Whether it was ended by hand.
    pub interrupted: bool,
    /// The server.
    pub server: String,
    /// How to run it again.
    pub command: String,
    /// Agents.
    pub agents: AgentFigures,
    /// Check-ins.
    pub check_ins: CheckInFigures,
    /// Requests by method.
    pub methods: BTreeMap<String, MethodFigures>,
    /// Failed requests by kind.
    pub errors: BTreeMap<String, u64>,
    /// Jobs.
    pub jobs: JobFigures,
    /// Deployments of the scenario that were never made.
    pub deployments_missing: u64,
    /// What adversaries have tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<AttackFigures>,
    /// Faults that the server was to commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultFigures>,
    /// Machines that the server had to refuse.
    #[serde(default)]
    pub strangers: StrangerFigures,
    /// Comparison with an earlier result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineFigures>,
    /// Limits.
    pub thresholds: Vec<ThresholdResult>,
    /// Convergences.
    pub convergence: Vec<ConvergenceResult>,
    /// The process.
    pub process: ProcessReport,
    /// Figures over time.
    pub timeline: Vec<WindowFigures>,
}

/// A part of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFigures {
    /// Its number, from 0.
    pub index: u32,
    /// Of so many shards.
    pub count: u32,
    /// Agents of the whole fleet.
    pub agents: u32,
}

/// Agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFigures {
    /// In the scenario.
    pub planned: u32,
    /// That hold the server's keys.
    pub registered: u32,
    /// That were due and did not register, or whose last check-in failed.
    pub lost: u32,
    /// Registered ones by system.
    pub by_os: BTreeMap<String, u32>,
}

/// Check-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckInFigures {
    /// That went through.
    pub ok: u64,
    /// That did not.
    pub failed: u64,
    /// That started late, as the one before was still going on.
    pub late: u64,
    /// That never started, as a late one was waiting already.
    pub missed: u64,
    /// That were left out, as the agent was running jobs.
    pub during_jobs: u64,
    /// That were left out, as the machine was offline, restarted, or had left.
    #[serde(default)]
    pub away: u64,
}

/// One method. Latencies count from the planned time for a hello, from the sending for everything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodFigures {
    /// Answered requests.
    pub ok: u64,
    /// Failed requests.
    pub errors: u64,
    /// Median latency, failed requests included.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// Median from the sending on.
    pub service_p50_ms: f64,
    /// 99th percentile from the sending on.
    pub service_p99_ms: f64,
    /// Requests a second over the whole run, those left out that ended after it.
    pub per_s: f64,
    /// All latencies: HdrHistogram V2, microseconds, base64.
    pub histogram: String,
    /// The same from the sending on.
    pub histogram_service: String,
    /// The same as `histogram` of failed requests, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram_errors: Option<String>,
}

/// Jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFigures {
    /// Ended with success.
    pub succeeded: u64,
    /// Ended without.
    pub failed: u64,
    /// Not ended.
    pub pending: u64,
    /// Steps of jobs that had ended already.
    pub repeated: u64,
}

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// Memory and time.
    #[serde(flatten)]
    pub figures: ProcessFigures,
    /// Processor time from the start of the fleet on, without what was prepared before it, s.
    #[serde(default)]
    pub run_cpu_s: Option<f64>,
    /// That by the number of check-ins, with all that they led to (inventories, jobs), ms; none: there were none.
    #[serde(default)]
    pub cpu_ms_per_check_in: Option<f64>,
    /// Resident memory by the number of agents, bytes.
    #[serde(default)]
    pub rss_bytes_per_agent: Option<f64>,
    /// State of an idle agent, bytes on average.
    pub bytes_per_idle_agent: u64,
    /// Whether the server ran in this process.
    pub server_embedded: bool,
}

impl ProcessReport {
    /// The process of so many agents with so many check-ins, each of which has its share.
    fn new(
        figures: ProcessFigures,
        run_cpu_s: Option<f64>,
        bytes_per_idle_agent: u64,
        server_embedded: bool,
        (agents, check_ins): (u64, u64),
    ) -> Self {
        #[allow(clippy::cast_precision_loss)] // numbers of check-ins
        let each = |seconds: f64| seconds * 1000.0 / check_ins as f64;
        Self {
            figures,
            run_cpu_s,
            cpu_ms_per_check_in: run_cpu_s.filter(|_| check_ins > 0).map(each),
            rss_bytes_per_agent: per_agent(figures.rss_bytes, agents),
            bytes_per_idle_agent,
            server_embedded,
        }
    }

    /// What limits are about.
    #[allow(clippy::cast_precision_loss)] // bytes of memory
    fn cost(&self) -> Cost {
        Cost {
            rss_mib: self.figures.rss_bytes.map(|bytes| bytes as f64 / MIB),
            rss_bytes_per_agent: self.rss_bytes_per_agent,
            bytes_per_idle_agent: self.bytes_per_idle_agent as f64,
            cpu_ms_per_check_in: self.cpu_ms_per_check_in,
        }
    }
}

/// A piece of the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WindowFigures {
    /// Its end, s after the start.
    pub t_s: f64,
    /// Check-ins a second.
    pub check_ins_per_s: f64,
    /// Requests a second.
    pub requests_per_s: f64,
    /// Failed requests a second.
    pub errors_per_s: f64,
    /// Agents registered at its end.
    pub registered: u32,
    /// Jobs ended until its end.
    pub jobs_ended: u64,
    /// Median latency by method, ms.
    pub p50_ms: BTreeMap<String, f64>,
    /// 99th percentile by method, ms.
    pub p99_ms: BTreeMap<String, f64>,
    /// Share of agents that had reached each convergence at its end, 0 to 1, in the order of the report's.
    #[serde(default)]
    pub converged: Vec<f64>,
    /// Failed requests a second, and agents that could not even ask, by kind.
    #[serde(default)]
    pub errors_by_kind_per_s: BTreeMap<String, f64>,
    /// Resident memory at its end, bytes; none where the system does not tell.
    #[serde(default)]
    pub rss_bytes: Option<u64>,
    /// Open connections and files at its end; none where the system does not tell.
    #[serde(default)]
    pub open_files: Option<u64>,
}

impl RunReport {
    /// The report of a run.
    pub fn new(scenario: &Scenario, stats: &Stats, circumstances: Circumstances) -> Self {
        let strangers = stats.strangers();
        let well = stats.healthy() + strangers.agents;
        let lost = circumstances.agents_started.saturating_sub(well);
        let fleet = &scenario.fleet;
        let convergence = verdict::convergences(stats);
        let measured = circumstances.duration.saturating_sub(scenario.pacing.warm_up.0);
        let methods = stats.methods().iter().map(|(method, figures)| {
            let in_time = stats.count_in_time(*method);
            (
                method.as_str().to_owned(),
                method_figures(figures, in_time, measured),
            )
        });
        let methods: BTreeMap<String, MethodFigures> = methods.collect();
        let check_ins = stats.check_ins();
        let used = circumstances.process.cpu_s.zip(circumstances.cpu_before_s);
        let process = ProcessReport::new(
            circumstances.process,
            used.map(|(now, before)| (now - before).max(0.0)),
            circumstances.bytes_per_idle_agent,
            circumstances.server_embedded,
            (stats.size().into(), check_ins.ok + check_ins.failed),
        );
        let measured = Measured {
            per_s: per_s(&methods),
            cost: process.cost(),
            faults: circumstances.faults.clone(),
            ..Measured::new(scenario, stats, lost)
        };
        let thresholds = verdict::thresholds(scenario, &measured);
        Self {
            verdict: verdict::verdict(&thresholds, &convergence),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.name.clone(),
            scenario_sha256: scenario.sha256.clone(),
            description: scenario.description.clone(),
            seed: fleet.seed,
            shard: (fleet.shard != Shard::WHOLE).then(|| ShardFigures {
                index: fleet.shard.index(),
                count: fleet.shard.count(),
                agents: fleet.size.0,
            }),
            merged: None,
            started: utc(circumstances.started),
            duration_s: circumstances.duration.as_secs_f64(),
            interrupted: circumstances.interrupted,
            server: circumstances.server,
            command: circumstances.command,
            agents: AgentFigures {
                planned: stats.size(),
                registered: stats.registered(),
                lost,
                by_os: stats
                    .by_os()
                    .iter()
                    .map(|(os, count)| (os.as_str().to_owned(), *count))
                    .collect(),
            },
            check_ins: check_ins.into(),
            methods,
            errors: stats.errors().clone(),
            jobs: stats.jobs().into(),
            deployments_missing: verdict::deployments_missing(scenario, stats),
            attacks: stats.attacks().to_vec(),
            faults: circumstances.faults,
            strangers,
            baseline: None,
            thresholds,
            convergence,
            process,
            timeline: stats.windows().iter().map(WindowFigures::from).collect(),
        }
    }
}

/// Answered requests a second by method.
fn per_s(methods: &BTreeMap<String, MethodFigures>) -> BTreeMap<String, f64> {
    #[allow(clippy::cast_precision_loss)] // numbers of requests
    let answered = |figures: &MethodFigures| {
        let all = (figures.ok + figures.errors).max(1);
        figures.per_s * figures.ok as f64 / all as f64
    };
    methods
        .iter()
        .map(|(method, figures)| (method.clone(), answered(figures)))
        .collect()
}

/// Bytes by the number of agents.
#[allow(clippy::cast_precision_loss)] // bytes of memory
fn per_agent(bytes: Option<u64>, agents: u64) -> Option<f64> {
    bytes.map(|bytes| bytes as f64 / agents.max(1) as f64)
}

#[allow(clippy::cast_precision_loss)]
fn method_figures(stats: &MethodStats, in_time: u64, measured: Duration) -> MethodFigures {
    let per_s = in_time as f64 / measured.as_secs_f64().max(1e-3);
    let counts = (stats.ok(), stats.errors(), per_s);
    MethodFigures::new(counts, stats.all(), stats.service(), stats.failed())
}

impl MethodFigures {
    /// From the numbers of answered and failed requests and those a second, and the latencies.
    fn new((ok, errors, per_s): (u64, u64, f64), all: &Latency, service: &Latency, failed: &Latency) -> Self {
        Self {
            ok,
            errors,
            p50_ms: all.quantile_ms(0.5),
            p90_ms: all.quantile_ms(0.9),
            p99_ms: all.quantile_ms(0.99),
            max_ms: all.max_ms(),
            service_p50_ms: service.quantile_ms(0.5),
            service_p99_ms: service.quantile_ms(0.99),
            per_s,
            histogram: all.encode(),
            histogram_service: service.encode(),
            histogram_errors: (errors > 0).then(|| failed.encode()),
        }
    }
}

impl From<CheckIns> for CheckInFigures {
    fn from(check_ins: CheckIns) -> Self {
        let CheckIns {
            ok,
            failed,
            late,
            missed,
            during_jobs,
            away,
        } = check_ins;
        Self {
            ok,
            failed,
            late,
            missed,
            during_jobs,
            away,
        }
    }
}

impl From<JobCounts> for JobFigures {
    fn from(jobs: JobCounts) -> Self {
        Self {
            succeeded: jobs.succeeded,
            failed: jobs.failed,
            pending: jobs.pending(),
            repeated: jobs.repeated,
        }
    }
}

impl From<&Window> for WindowFigures {
    fn from(window: &Window) -> Self {
        Self {
            t_s: window.end.as_secs_f64(),
            check_ins_per_s: window.per_s(window.check_ins),
            requests_per_s: window.per_s(window.requests),
            errors_per_s: window.per_s(window.errors),
            registered: window.registered,
            jobs_ended: window.jobs_ended,
            p50_ms: window
                .latency
                .iter()
                .map(|(method, (p50, _))| (method.as_str().to_owned(), *p50))
                .collect(),
            p99_ms: window
                .latency
                .iter()
                .map(|(method, (_, p99))| (method.as_str().to_owned(), *p99))
                .collect(),
            converged: window.converged.clone(),
            errors_by_kind_per_s: window
                .kinds
                .iter()
                .map(|(kind, count)| (kind.clone(), window.per_s(*count)))
                .collect(),
            rss_bytes: window.process.rss_bytes,
            open_files: window.process.open_files,
        }
    }
}

fn utc(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| "unknown".to_owned(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

#[cfg(test)]
pub(crate) mod tests;
