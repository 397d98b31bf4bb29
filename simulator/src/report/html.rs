//! The report for people: one HTML file with everything in it.

use super::plot::{self, COLOURS, Scale, Series};
use super::{ReportError, RunReport, WindowFigures};
use crate::verdict::Verdict;
use askama::Template;
use std::collections::BTreeSet;

/// The report as one HTML page that needs nothing else.
pub fn render(report: &RunReport) -> Result<String, ReportError> {
    let page = Page {
        passed: report.verdict == Verdict::Pass,
        shares: shares(report),
        plots: plots(report)?,
        report,
    };
    page.render().map_err(|error| ReportError::Render {
        form: "HTML",
        reason: error.to_string(),
    })
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    passed: bool,
    shares: Vec<Share>,
    plots: Vec<Plot>,
    report: &'a RunReport,
}

/// How the template writes numbers; it hands out references.
mod show {
    use super::super::format;

    pub(super) fn count(number: &u64) -> String {
        format::count(*number)
    }

    pub(super) fn agents(number: &u32) -> String {
        format::count(u64::from(*number))
    }

    pub(super) fn bytes(number: &u64) -> String {
        format::bytes(*number)
    }

    pub(super) fn seconds(s: &f64) -> String {
        format::seconds(*s)
    }

    pub(super) fn milliseconds(ms: &f64) -> String {
        format::milliseconds(*ms)
    }

    pub(super) fn change(share: &f64) -> String {
        format!("{:+.1} %", share * 100.0)
    }

    pub(super) fn plain(number: &f64) -> String {
        format::plain(*number)
    }

    pub(super) fn average_bytes(number: &f64) -> String {
        format::bytes(format::whole(*number))
    }
}

/// A system's part of the fleet.
struct Share {
    name: &'static str,
    colour: &'static str,
    agents: u32,
    percent: f64,
}

struct Plot {
    title: &'static str,
    note: &'static str,
    legend: Vec<(&'static str, String)>,
    svg: String,
}

fn shares(report: &RunReport) -> Vec<Share> {
    let registered = f64::from(report.agents.registered.max(1));
    let systems = report.agents.by_os.iter().zip(COLOURS);
    let share = |((os, agents), colour): ((&String, &u32), &'static str)| Share {
        name: match os.as_str() {
            "windows" => "Windows",
            "macos" => "macOS",
            _ => "Linux",
        },
        colour,
        agents: *agents,
        percent: f64::from(*agents) / registered * 100.0,
    };
    systems.map(share).collect()
}

fn plots(report: &RunReport) -> Result<Vec<Plot>, ReportError> {
    let windows = &report.timeline;
    let line = |name: &str, value: fn(&WindowFigures) -> f64| Series {
        name: name.to_owned(),
        points: windows.iter().map(|window| (window.t_s, value(window))).collect(),
    };
    #[allow(clippy::cast_precision_loss)]
    let progress = [
        line("agents registered", |w| w.registered.into()),
        line("jobs ended", |w| w.jobs_ended as f64),
    ];
    let throughput = [
        line("requests", |w| w.requests_per_s),
        line("failed requests", |w| w.errors_per_s),
        line("check-ins", |w| w.check_ins_per_s),
    ];
    let median = by_method(windows, |window| &window.p50_ms);
    let slowest = by_method(windows, |window| &window.p99_ms);
    let from_plan = "A hello counts from its planned time, so a stalled server cannot hide.";
    Ok(vec![
        plot("Throughput", "", "per second", Scale::Linear, &throughput)?,
        plot("Registration and convergence", "", "", Scale::Linear, &progress)?,
        plot("Median latency", from_plan, "ms", Scale::Logarithmic, &median)?,
        plot(
            "99th percentile of latency",
            from_plan,
            "ms",
            Scale::Logarithmic,
            &slowest,
        )?,
    ])
}

fn plot(
    title: &'static str,
    note: &'static str,
    unit: &str,
    scale: Scale,
    series: &[Series],
) -> Result<Plot, ReportError> {
    let legend = COLOURS
        .iter()
        .cycle()
        .zip(series)
        .map(|(colour, series)| (*colour, series.name.clone()));
    Ok(Plot {
        title,
        note,
        legend: legend.collect(),
        svg: plot::lines(unit, scale, series)?,
    })
}

type ByMethod = std::collections::BTreeMap<String, f64>;

fn by_method(windows: &[WindowFigures], values: fn(&WindowFigures) -> &ByMethod) -> Vec<Series> {
    let methods: BTreeSet<_> = windows.iter().flat_map(|window| values(window).keys()).collect();
    let series = methods.into_iter().map(|method| Series {
        name: short(method).to_owned(),
        points: windows
            .iter()
            .filter_map(|window| Some((window.t_s, *values(window).get(method)?)))
            .collect(),
    });
    series.collect()
}

fn short(method: &str) -> &str {
    method.strip_prefix("oco.agent.").unwrap_or(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_is_self_contained_and_escapes_what_comes_from_outside() {
        let html = render(&super::super::tests::sample()).unwrap();
        assert!(html.contains("&lt;script&gt;") || html.contains("&#60;script&#62;"));
        assert!(!html.contains("<script") && !html.contains("<b>no</b>") && !html.contains("<everybody>"));
        for reference in ["src=", "href=\"http", "@import", "url("] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert_eq!(html.matches("<svg").count(), 4);
    }

    #[tokio::test]
    async fn the_page_says_what_failed_and_how_to_run_it_again() {
        let html = render(&super::super::tests::sample()).unwrap();
        for text in [
            "Failed",
            "agents_lost",
            "installed",
            "not reached",
            "oco-simulator run sample.toml --seed 42",
        ] {
            assert!(html.contains(text), "{text}");
        }
    }
}
