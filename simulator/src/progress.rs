//! What a person sees while it runs: a display on a terminal, a plain line every few seconds elsewhere.

use crate::report::{count, milliseconds, seconds};
use crate::stats::Snapshot;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far the run is, on standard error.
pub enum Progress {
    /// Redrawn in place.
    Display(Box<Display>),
    /// Line by line.
    Lines(Lines),
    /// Not at all.
    Silent,
}

impl Progress {
    /// What fits to standard error. The run ends at the latest after `limit`.
    pub fn new(limit: Duration) -> Self {
        if std::io::stderr().is_terminal() {
            Self::Display(Box::new(Display::new(limit)))
        } else {
            Self::Lines(Lines {
                limit,
                next: Duration::ZERO,
            })
        }
    }

    /// Shows the state of the run.
    pub fn show(&mut self, snapshot: &Snapshot) {
        match self {
            Self::Display(display) => display.show(snapshot),
            Self::Lines(lines) => {
                if let Some(line) = lines.due(snapshot) {
                    // Nobody reads it any more, which is no reason to end the run.
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            }
            Self::Silent => {}
        }
    }

    /// Takes the display away.
    pub fn finish(&mut self) {
        if let Self::Display(display) = self {
            let _ = display.all.clear();
        }
    }
}

/// Plain lines.
pub struct Lines {
    limit: Duration,
    next: Duration,
}

impl Lines {
    /// The line that is due now, if one is.
    fn due(&mut self, snapshot: &Snapshot) -> Option<String> {
        if snapshot.elapsed < self.next {
            return None;
        }
        self.next = snapshot.elapsed + LINE_EVERY;
        Some(line(snapshot, self.limit))
    }
}

fn line(snapshot: &Snapshot, limit: Duration) -> String {
    let mut text = format!(
        "{:>4.0} s  {} of {} registered, {:.0} check-ins/s",
        snapshot.elapsed.as_secs_f64(),
        count(snapshot.registered.into()),
        count(snapshot.agents.into()),
        snapshot.check_ins_per_s,
    );
    for method in &snapshot.methods {
        let (name, p50, p99) = (
            short(method.method.as_str()),
            milliseconds(method.p50_ms),
            milliseconds(method.p99_ms),
        );
        let _ = write!(text, ", {name} p50 {p50} p99 {p99}");
    }
    let _ = write!(text, ", {}", errors(snapshot));
    let jobs = jobs(snapshot);
    if !jobs.is_empty() {
        let _ = write!(text, ", jobs: {jobs}");
    }
    let _ = write!(text, ", {}", time_left(snapshot, limit));
    text
}

/// A display of some lines that are redrawn in place; each is cut to the terminal's width.
pub struct Display {
    limit: Duration,
    all: MultiProgress,
    registered: ProgressBar,
    jobs: ProgressBar,
    rate: ProgressBar,
    methods: ProgressBar,
    states: ProgressBar,
    waiting: ProgressBar,
}

impl Display {
    fn new(limit: Duration) -> Self {
        let all = MultiProgress::new();
        let bar = |label: &str| {
            let style = ProgressStyle::with_template("{prefix:<10} {wide_bar} {msg:>26}");
            let bar = all
                .add(ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
            bar.set_prefix(label.to_owned());
            bar
        };
        let text = |label: &str| {
            let style = ProgressStyle::with_template("{prefix:<10} {wide_msg}");
            let line = all
                .add(ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
            line.set_prefix(label.to_owned());
            line
        };
        Self {
            limit,
            registered: bar("registered"),
            jobs: bar("jobs"),
            rate: text("now"),
            methods: text("p50 / p99"),
            states: text("job states"),
            waiting: text("waits for"),
            all,
        }
    }

    fn show(&self, snapshot: &Snapshot) {
        set(
            &self.registered,
            snapshot.registered.into(),
            snapshot.agents.into(),
        );
        let message = format!(
            "{} of {}",
            count(snapshot.registered.into()),
            count(snapshot.agents.into())
        );
        self.registered.set_message(message);
        let (ended, pending) = (snapshot.jobs.ended(), snapshot.jobs.pending());
        set(&self.jobs, ended, ended + pending);
        self.jobs
            .set_message(format!("{} of {} ended", count(ended), count(ended + pending)));
        self.rate.set_message(format!(
            "{:.0} check-ins/s, {}, {}",
            snapshot.check_ins_per_s,
            errors(snapshot),
            time_left(snapshot, self.limit)
        ));
        self.methods.set_message(methods(snapshot));
        self.states.set_message(jobs(snapshot));
        self.waiting.set_message(waiting(snapshot));
    }
}

fn set(bar: &ProgressBar, position: u64, length: u64) {
    // A bar of length 0 would look complete.
    bar.set_length(length.max(1));
    bar.set_position(position);
}

fn methods(snapshot: &Snapshot) -> String {
    let methods = snapshot.methods.iter().map(|method| {
        let name = short(method.method.as_str());
        format!(
            "{name} {:.0}/{:.0} ms",
            method.p50_ms.ceil(),
            method.p99_ms.ceil()
        )
    });
    methods.collect::<Vec<_>>().join(", ")
}

/// The first goal that is not reached yet; a terminal has no room for all of them.
fn waiting(snapshot: &Snapshot) -> String {
    let Some(first) = snapshot.waiting_for.first() else {
        return "the end of its time".to_owned();
    };
    let more = match snapshot.waiting_for.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!(
        "{} ({} of {}){more}",
        first.name,
        count(first.agents),
        count(first.of)
    )
}

fn jobs(snapshot: &Snapshot) -> String {
    let jobs = snapshot.jobs;
    let states = [
        (jobs.waiting, "waiting"),
        (jobs.downloading, "downloading"),
        (jobs.executing, "executing"),
        (jobs.succeeded, "succeeded"),
        (jobs.failed, "failed"),
    ];
    let states = states.iter().filter(|(number, _)| *number > 0);
    let states: Vec<_> = states
        .map(|(number, state)| format!("{} {state}", count(*number)))
        .collect();
    if states.is_empty() {
        return "no jobs yet".to_owned();
    }
    states.join(", ")
}

fn errors(snapshot: &Snapshot) -> String {
    let shown: u64 = snapshot.top_errors.iter().map(|(_, number)| number).sum();
    let mut kinds: Vec<_> = snapshot
        .top_errors
        .iter()
        .map(|(kind, number)| format!("{} {kind}", count(*number)))
        .collect();
    if kinds.is_empty() {
        return "no errors".to_owned();
    }
    if snapshot.errors > shown {
        kinds.push(format!("{} others", count(snapshot.errors - shown)));
    }
    format!("{} errors ({})", count(snapshot.errors), kinds.join(", "))
}

fn time_left(snapshot: &Snapshot, limit: Duration) -> String {
    let left = limit.saturating_sub(snapshot.elapsed);
    format!(
        "at most {} left",
        seconds(left.as_secs_f64().ceil())
            .replace(".0 s", " s")
            .replace(".00 s", " s")
    )
}

fn short(method: &str) -> &str {
    method.strip_prefix("oco.agent.").unwrap_or(method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{JobCounts, MethodSnapshot};
    use oco_protocol::rpc::Method;

    fn snapshot(elapsed: u64) -> Snapshot {
        Snapshot {
            elapsed: Duration::from_secs(elapsed),
            agents: 1000,
            registered: 640,
            check_ins_per_s: 82.4,
            methods: vec![MethodSnapshot {
                method: Method::Hello,
                count: 700,
                p50_ms: 2.5,
                p99_ms: 31.0,
            }],
            errors: 4,
            top_errors: vec![("timeout".into(), 2), ("reset".into(), 1)],
            jobs: JobCounts {
                waiting: 4,
                succeeded: 6,
                ..JobCounts::default()
            },
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_line_says_everything_a_watcher_wants_to_know() {
        assert_eq!(
            line(&snapshot(12), Duration::from_secs(110)),
            "  12 s  640 of 1,000 registered, 82 check-ins/s, hello p50 2.50 ms p99 31.0 ms, 4 errors (2 timeout, 1 reset, 1 others), \
             jobs: 4 waiting, 6 succeeded, at most 98 s left"
        );
    }

    #[test]
    fn lines_come_every_few_seconds_only() {
        let mut lines = Lines {
            limit: Duration::from_secs(60),
            next: Duration::ZERO,
        };
        let shown: Vec<_> = (0..12)
            .filter(|second| lines.due(&snapshot(*second)).is_some())
            .collect();
        assert_eq!(shown, [0, 5, 10]);
    }
}
