//! The figures, their targets, and the table of both.

use crate::Options;
use serde::Serialize;
use std::fmt::Write as _;

/// Least part of what the bare handler reaches.
const SHARE: f64 = 0.5;
/// Refusals that are shown.
const SHOWN: usize = 5;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
    /// Answers whose signature was verified.
    pub(crate) verified: usize,
    /// What a server said instead of an answer.
    pub(crate) refusals: Vec<String>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    figure: String,
    unit: &'static str,
    measured: f64,
    bare: Option<f64>,
    target: Option<Target>,
    /// Whether half of the bare handler's figure is a target, too.
    half: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
enum Target {
    AtLeast(f64),
    Below(f64),
}

impl Row {
    /// A figure of the mock server.
    pub(crate) fn new(figure: impl Into<String>, unit: &'static str, measured: f64) -> Self {
        Self {
            figure: figure.into(),
            unit,
            measured,
            bare: None,
            target: None,
            half: false,
        }
    }

    /// What the bare handler reached.
    pub(crate) fn beside(self, bare: f64) -> Self {
        Self {
            bare: Some(bare),
            ..self
        }
    }

    pub(crate) fn at_least(self, target: f64) -> Self {
        Self {
            target: Some(Target::AtLeast(target)),
            ..self
        }
    }

    pub(crate) fn below(self, target: f64) -> Self {
        Self {
            target: Some(Target::Below(target)),
            ..self
        }
    }

    pub(crate) fn at_least_half(self) -> Self {
        Self { half: true, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.bare.map(|bare| self.measured / bare)
    }

    /// None: there is no target.
    fn holds(&self) -> Option<bool> {
        let reached = match self.target? {
            Target::AtLeast(target) => self.measured >= target,
            Target::Below(target) => self.measured < target,
        };
        Some(reached && (!self.half || self.ratio().is_some_and(|ratio| ratio >= SHARE)))
    }
}

impl Figures {
    /// Whether nothing was refused and, unless the program only tried everything, all targets are met.
    pub(crate) fn hold(&self, untimed: bool) -> bool {
        self.refusals.is_empty() && (untimed || self.rows.iter().all(|row| row.holds() != Some(false)))
    }

    /// The table, as Markdown has it, with what was done; without figures where they would mean nothing.
    pub(crate) fn table(&self, options: &Options, load: f64) -> String {
        let mut text = format!(
            "{} computers on {} connections, {} packages each; {} rounds of {} s; load average before: {load}.\n\
             {} answers verified, {} requests refused.",
            options.computers,
            options.connections,
            options.packages,
            options.rounds,
            options.seconds,
            self.verified,
            self.refusals.len(),
        );
        for refusal in self.refusals.iter().take(SHOWN) {
            text += &format!("\nrefused: {refusal}");
        }
        if options.quick {
            return text;
        }
        text +=
            "\n\n| figure | mock server | bare handler | ratio | target | |\n|---|---:|---:|---:|---:|---|";
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n| {row} |");
        }
        text
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} | {} | ", self.figure, self.unit, number(self.measured))?;
        match (self.bare, self.ratio()) {
            (Some(bare), Some(ratio)) => write!(f, "{} | {ratio:.2} | ", number(bare))?,
            _ => f.write_str("| | ")?,
        }
        match self.target {
            Some(Target::AtLeast(target)) => write!(f, "at least {target}")?,
            Some(Target::Below(target)) => write!(f, "below {target}")?,
            None => {}
        }
        if self.half {
            write!(f, ", ratio {SHARE}")?;
        }
        f.write_str(match self.holds() {
            Some(true) => " | ok",
            Some(false) => " | missed",
            None => " |",
        })
    }
}

/// With as many decimals as mean something.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(row: Row) -> Figures {
        Figures {
            rows: vec![row],
            ..Figures::default()
        }
    }

    #[test]
    fn a_rate_holds_where_it_reaches_its_target_and_half_of_the_bare_handler() {
        let rate = |measured, bare| {
            figures(
                Row::new("hellos", "/s", measured)
                    .beside(bare)
                    .at_least(10.0)
                    .at_least_half(),
            )
        };
        assert!(rate(10.0, 20.0).hold(false));
        assert!(!rate(9.0, 10.0).hold(false));
        assert!(!rate(11.0, 23.0).hold(false));
        assert!(rate(1.0, 100.0).hold(true), "nothing is timed");
    }

    #[test]
    fn a_refusal_fails_whatever_the_figures_are() {
        let mut figures = figures(Row::new("memory", "MiB", 50.0).below(100.0));
        assert!(figures.hold(false));
        figures.refusals.push("500".into());
        assert!(!figures.hold(false) && !figures.hold(true));
    }

    #[test]
    fn lines_say_what_was_missed() {
        let row = Row::new("hellos", "/s", 250.0)
            .beside(1000.0)
            .at_least(100.0)
            .at_least_half();
        assert_eq!(
            row.to_string(),
            "hellos, /s | 250 | 1000 | 0.25 | at least 100, ratio 0.5 | missed"
        );
        let row = Row::new("memory", "MiB", 50.25).below(100.0);
        assert_eq!(row.to_string(), "memory, MiB | 50.2 | | | below 100 | ok");
        assert_eq!(Row::new("x", "ms", 0.5).to_string(), "x, ms | 0.50 | | |  |");
    }
}
