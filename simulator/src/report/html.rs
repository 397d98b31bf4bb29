//! The report for people: one HTML file with everything in it.

use super::plot::{self, COLOURS, Scale, Series};
use super::{MIB, ReportError, RunReport, WindowFigures};
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
    let from_plan = "A hello counts from its planned time, so a stalled server cannot hide.";
    let (linear, logarithmic) = (Scale::Linear, Scale::Logarithmic);
    let median = by_name(windows, |window| &window.p50_ms, short);
    let slowest = by_name(windows, |window| &window.p99_ms, short);
    let mut plots = vec![
        plot("Throughput", "", "per second", linear, &throughput(windows))?,
        plot("Convergence", "", "% of agents", linear, &convergence(report))?,
        plot("Median latency", from_plan, "ms", logarithmic, &median)?,
        plot(
            "99th percentile of latency",
            from_plan,
            "ms",
            logarithmic,
            &slowest,
        )?,
    ];
    let errors = by_name(windows, |window| &window.errors_by_kind_per_s, |kind| kind);
    if !errors.is_empty() {
        plots.push(plot("Errors by kind", "", "per second", linear, &errors)?);
    }
    #[allow(clippy::cast_precision_loss)] // bytes, numbers of files
    let resources = [
        (
            "Resident memory",
            "MiB",
            "memory",
            windows
                .iter()
                .map(|w| w.rss_bytes.map(|bytes| bytes as f64 / MIB))
                .collect(),
        ),
        (
            "Open connections and files",
            "",
            "open",
            windows
                .iter()
                .map(|w| w.open_files.map(|files| files as f64))
                .collect::<Vec<_>>(),
        ),
    ];
    let note = if report.process.server_embedded {
        "The server runs in the same process."
    } else {
        ""
    };
    for (title, unit, name, values) in resources {
        let points = windows
            .iter()
            .zip(values)
            .filter_map(|(window, value)| Some((window.t_s, value?)));
        let series = [Series {
            name: name.to_owned(),
            points: points.collect(),
        }];
        if !series[0].points.is_empty() {
            plots.push(plot(title, note, unit, linear, &series)?);
        }
    }
    Ok(plots)
}

fn throughput(windows: &[WindowFigures]) -> [Series; 3] {
    let line = |name: &str, value: fn(&WindowFigures) -> f64| Series {
        name: name.to_owned(),
        points: windows.iter().map(|window| (window.t_s, value(window))).collect(),
    };
    [
        line("requests", |w| w.requests_per_s),
        line("failed requests", |w| w.errors_per_s),
        line("check-ins", |w| w.check_ins_per_s),
    ]
}

/// How far each convergence was; where nothing is waited for, how many agents were registered.
fn convergence(report: &RunReport) -> Vec<Series> {
    let windows = &report.timeline;
    if report.convergence.is_empty() {
        let planned = f64::from(report.agents.planned.max(1));
        let points = windows
            .iter()
            .map(|w| (w.t_s, f64::from(w.registered) / planned * 100.0));
        return vec![Series {
            name: "registered".to_owned(),
            points: points.collect(),
        }];
    }
    let series = report
        .convergence
        .iter()
        .enumerate()
        .map(|(number, convergence)| Series {
            name: convergence.name.clone(),
            points: windows
                .iter()
                .filter_map(|window| Some((window.t_s, window.converged.get(number)? * 100.0)))
                .collect(),
        });
    series.collect()
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

type ByName = std::collections::BTreeMap<String, f64>;

/// A line for each name in the windows, under what `called` makes of it.
fn by_name(
    windows: &[WindowFigures],
    values: fn(&WindowFigures) -> &ByName,
    called: fn(&str) -> &str,
) -> Vec<Series> {
    let names: BTreeSet<_> = windows.iter().flat_map(|window| values(window).keys()).collect();
    let series = names.into_iter().map(|name| Series {
        name: called(name).to_owned(),
        points: windows
            .iter()
            .filter_map(|window| Some((window.t_s, *values(window).get(name)?)))
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
        // Four of every run, and that of its errors: nobody has measured the process.
        assert_eq!(html.matches("<svg").count(), 5);
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
