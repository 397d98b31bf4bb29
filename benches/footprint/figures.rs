//! The figures, their targets, and the table of both.

use oco_benches::stats::median;
use std::fmt::Write as _;
use std::time::Duration;

/// What one process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// User and system time of the process and of all it has waited for.
    pub(crate) cpu: Duration,
    /// Peak of its resident memory, bytes.
    pub(crate) peak: u64,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Size of the binary, bytes.
    pub(crate) binary: u64,
    /// Check-ins of a hello.
    pub(crate) hello: Vec<Cost>,
    /// Check-ins of a hello and an inventory.
    pub(crate) full: Vec<Cost>,
    /// Resident memory of daemons that wait for their next check-in, bytes.
    pub(crate) idle: Vec<u64>,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    measured: f64,
    target: f64,
    unit: &'static str,
    /// Whether missing the target is an error.
    counts: bool,
}

impl Row {
    /// Whether nothing is wrong here.
    pub(crate) fn holds(&self) -> bool {
        !self.counts || self.measured <= self.target
    }

    fn verdict(&self) -> &'static str {
        match (self.measured <= self.target, self.counts) {
            (true, _) => "ok",
            (false, true) => "over",
            (false, false) => "over (not counted)",
        }
    }
}

impl Figures {
    /// The medians beside their targets.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |name, measured, target, unit, counts| Row {
            name,
            measured,
            target,
            unit,
            counts,
        };
        let cpu = |costs: &[Cost]| median(costs.iter().map(|cost| cost.cpu.as_secs_f64() * 1e3));
        let peak = |costs: &[Cost]| median(costs.iter().map(|cost| mebibytes(cost.peak)));
        let idle = median(self.idle.iter().copied().map(mebibytes));
        let megabytes = approximate(self.binary) / 1e6;
        vec![
            row("binary", megabytes, 8.0, "MB", true),
            row("idle daemon, resident", idle, 6.0, "MiB", true),
            row("full check-in, peak", peak(&self.full), 12.0, "MiB", true),
            row("hello alone, peak", peak(&self.hello), 12.0, "MiB", true),
            row("full check-in, CPU", cpu(&self.full), 60.0, "ms", false),
            row("hello alone, CPU", cpu(&self.hello), 5.0, "ms", false),
        ]
    }
}

/// The table, as Markdown has it.
pub(crate) fn table(rows: &[Row], runs: usize, packages: usize) -> String {
    let mut text = format!("Medians of {runs} check-ins, {packages} packages installed.\n\n");
    text += "| figure                | measured | target |     |                    |\n";
    text += "|-----------------------|---------:|-------:|-----|--------------------|";
    for row in rows {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n| {:21} | {:8.2} | {:6.0} | {:3} | {:18} |",
            row.name,
            row.measured,
            row.target,
            row.unit,
            row.verdict()
        );
    }
    text
}

fn mebibytes(bytes: u64) -> f64 {
    approximate(bytes) / f64::from(1 << 20)
}

#[allow(clippy::cast_precision_loss)] // sizes of programs, far below 2^53
fn approximate(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(idle: u64, cpu_ms: u64) -> Figures {
        let cost = Cost {
            cpu: Duration::from_millis(cpu_ms),
            peak: 5 << 20,
        };
        Figures {
            binary: 6_000_000,
            hello: vec![cost],
            full: vec![cost],
            idle: vec![idle, idle, 1 << 30],
        }
    }

    #[test]
    fn memory_over_its_target_fails_and_cpu_time_does_not() {
        let all_hold = |figures: Figures| figures.rows().iter().all(Row::holds);
        assert!(all_hold(figures(5 << 20, 1)));
        assert!(all_hold(figures(5 << 20, 1000)));
        assert!(!all_hold(figures(7 << 20, 1)));
        assert!(
            !all_hold(Figures {
                idle: Vec::new(),
                ..figures(0, 1)
            }),
            "nothing was measured"
        );
    }

    #[test]
    fn the_table_says_what_is_over() {
        let text = table(&figures(7 << 20, 6).rows(), 1, 800);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[4],
            "| binary                |     6.00 |      8 | MB  | ok                 |"
        );
        assert_eq!(
            lines[5],
            "| idle daemon, resident |     7.00 |      6 | MiB | over               |"
        );
        assert_eq!(
            lines[9],
            "| hello alone, CPU      |     6.00 |      5 | ms  | over (not counted) |"
        );
    }
}
