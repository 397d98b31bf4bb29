//! The summary for a terminal of 80 columns.

use super::format::{bytes, count, milliseconds, plain, seconds, whole};
use super::{MethodFigures, RunReport};
use crate::verdict::Verdict;
use std::fmt;

/// The report as text.
pub struct Summary<'a>(pub &'a RunReport);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let verdict = match report.verdict {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
        };
        let interrupted = if report.interrupted { ", ended by hand" } else { "" };
        let duration = seconds(report.duration_s);
        writeln!(
            f,
            "{verdict}  {}, seed {}, {duration}{interrupted}{}",
            report.scenario,
            report.seed,
            part(report)
        )?;
        self.agents(f)?;
        self.methods(f)?;
        for (kind, number) in &report.errors {
            writeln!(f, "  error     {kind}: {}", count(*number))?;
        }
        self.instruments(f)?;
        self.verdicts(f)?;
        self.baseline(f)
    }
}

impl Summary<'_> {
    /// What each agent and each check-in costs this process.
    fn cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = &self.0.process;
        let idle = bytes(process.bytes_per_idle_agent);
        write!(f, "  cost      {idle}/idle agent")?;
        if let Some(rss) = process.rss_bytes_per_agent {
            write!(f, ", {} resident/agent", bytes(whole(rss)))?;
        }
        if let Some(ms) = process.cpu_ms_per_check_in {
            write!(f, ", {} of CPU/check-in", milliseconds(ms))?;
        }
        writeln!(f)
    }

    fn agents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunReport {
            agents,
            jobs,
            check_ins,
            process,
            ..
        } = self.0;
        let mix: Vec<_> = agents
            .by_os
            .iter()
            .map(|(os, number)| format!("{} {os}", count(u64::from(*number))))
            .collect();
        let (registered, planned) = (count(agents.registered.into()), count(agents.planned.into()));
        writeln!(
            f,
            "  agents    {registered} of {planned} registered{}, {} lost",
            if mix.is_empty() {
                String::new()
            } else {
                format!(" ({})", mix.join(", "))
            },
            agents.lost
        )?;
        let CheckIns {
            ok,
            failed,
            late,
            missed,
        } = CheckIns::from(check_ins);
        writeln!(
            f,
            "  check-ins {ok} ok, {failed} failed, {late} late, {missed} missed"
        )?;
        if jobs.succeeded + jobs.failed + jobs.pending > 0 {
            let [succeeded, failed, pending] = [jobs.succeeded, jobs.failed, jobs.pending].map(count);
            writeln!(
                f,
                "  jobs      {succeeded} succeeded, {failed} failed, {pending} pending"
            )?;
        }
        let memory = process
            .figures
            .rss_bytes
            .map(|rss| format!("{} resident, ", bytes(rss)))
            .unwrap_or_default();
        let cpu = process
            .figures
            .cpu_s
            .map(|cpu| format!("{} of CPU", seconds(cpu)))
            .unwrap_or_default();
        let server = if process.server_embedded {
            " (+ server)"
        } else {
            ""
        };
        writeln!(f, "  process   {memory}{cpu}{server}")?;
        self.cost(f)
    }

    fn methods(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["p50", "p90", "p99", "max"];
        writeln!(
            f,
            "\n  {:<17}{:>9}{:>8}{:>9}{:>9}{:>9}{:>9}{:>8}",
            "oco.agent.", "ok", "errors", heading[0], heading[1], heading[2], heading[3], "/s"
        )?;
        for (method, figures) in &self.0.methods {
            let MethodFigures {
                ok,
                errors,
                p50_ms,
                p90_ms,
                p99_ms,
                max_ms,
                per_s,
                ..
            } = figures;
            let name = method.strip_prefix("oco.agent.").unwrap_or(method);
            write!(f, "  {name:<17}{:>9}{:>8}", count(*ok), count(*errors))?;
            for latency in [p50_ms, p90_ms, p99_ms, max_ms] {
                write!(f, "{:>9}", milliseconds(*latency))?;
            }
            writeln!(f, "{per_s:>8.1}")?;
        }
        writeln!(f)
    }

    /// Adversaries, faults, and machines that the server had to refuse.
    fn instruments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attack in &self.0.attacks {
            let [refused, accepted, otherwise, unanswered] = [
                attack.refused,
                attack.accepted,
                attack.otherwise,
                attack.unanswered,
            ]
            .map(count);
            writeln!(
                f,
                "  attack    {}: {refused} refused, {accepted} accepted, {otherwise} refused otherwise,\n            \
                 {unanswered} unanswered",
                attack.name
            )?;
        }
        for fault in &self.0.faults {
            writeln!(f, "  fault     {}: {} times", fault.name, count(fault.committed))?;
        }
        let strangers = self.0.strangers;
        if strangers.agents > 0 {
            let (refused, accepted) = (count(strangers.refused), count(strangers.accepted));
            writeln!(
                f,
                "  strangers {}: {refused} check-ins refused, {accepted} accepted",
                strangers.agents
            )?;
        }
        Ok(())
    }

    fn baseline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(baseline) = &self.0.baseline else {
            return Ok(());
        };
        writeln!(f, "\n  p99 against {} of {}", baseline.file, baseline.started)?;
        for (method, compared) in &baseline.methods {
            let name = method.strip_prefix("oco.agent.").unwrap_or(method);
            let [before, now] = [compared.before_p99_ms, compared.now_p99_ms]
                .map(|ms| ms.map_or_else(|| "unused".to_owned(), milliseconds));
            let change = compared.change.map(|change| format!("{:+.1} %", change * 100.0));
            writeln!(
                f,
                "  {name:<17}{before:>9} -> {now:<9}{:>9}",
                change.unwrap_or_default()
            )?;
        }
        Ok(())
    }

    fn verdicts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |ok| if ok { "ok  " } else { "FAIL" };
        for convergence in &self.0.convergence {
            let (agents, of) = (count(convergence.agents), count(convergence.of));
            let took = convergence
                .seconds
                .map_or_else(|| "not reached".to_owned(), |s| format!("after {}", seconds(s)));
            let limit = seconds(convergence.limit_s);
            writeln!(
                f,
                "  {} {}: {agents} of {of}, {took} (limit {limit})",
                word(convergence.ok),
                convergence.name
            )?;
        }
        for threshold in &self.0.thresholds {
            let value = threshold
                .value
                .map_or_else(|| "nothing measured".to_owned(), plain);
            writeln!(
                f,
                "  {} {}: {value} ({} {})",
                word(threshold.ok),
                threshold.name,
                if threshold.at_least { "at least" } else { "limit" },
                plain(threshold.limit)
            )?;
        }
        Ok(())
    }
}

/// Which part of a fleet, or how many of them.
fn part(report: &RunReport) -> String {
    match (report.shard, report.merged) {
        (Some(shard), _) => format!(", shard {}/{}", shard.index, shard.count),
        (None, Some(merged)) => format!(", {merged} shards merged"),
        (None, None) => String::new(),
    }
}

struct CheckIns {
    ok: String,
    failed: String,
    late: String,
    missed: String,
}

impl From<&super::CheckInFigures> for CheckIns {
    fn from(figures: &super::CheckInFigures) -> Self {
        let [ok, failed, late, missed] =
            [figures.ok, figures.failed, figures.late, figures.missed].map(count);
        Self {
            ok,
            failed,
            late,
            missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_summary_names_what_failed_and_fits_80_columns() {
        let text = Summary(&super::super::tests::sample()).to_string();
        assert!(text.starts_with("FAIL  sample, seed 42, 4.00 s\n"), "{text}");
        assert!(
            text.contains("2 of 3 registered (1 linux, 1 macos), 1 lost"),
            "{text}"
        );
        assert!(
            text.contains("FAIL installed: 1 of 2, not reached (limit 5.00 s)"),
            "{text}"
        );
        assert!(text.contains("FAIL agents_lost: 1 (limit 0)"), "{text}");
        assert!(text.contains("ok   error_share: 0.3333 (limit 0.5)"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
