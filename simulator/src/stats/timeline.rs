//! Figures over time, in windows of equal length: at most some hundred of them, however long the run.

use super::latency::{Latency, Precision};
use crate::process::ProcessFigures;
use oco_protocol::rpc::Method;
use std::collections::BTreeMap;
use std::time::Duration;

/// A run of its full length has at most about so many windows.
const MAX_WINDOWS: u64 = 240;

/// A piece of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its end, after the start of the run.
    pub end: Duration,
    /// Its length.
    pub length: Duration,
    /// Check-ins that ended in it.
    pub check_ins: u64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Of them failed.
    pub errors: u64,
    /// Agents registered at its end.
    pub registered: u32,
    /// Jobs ended until its end.
    pub jobs_ended: u64,
    /// Share of agents that had reached each convergence at its end, 0 to 1, in the scenario's order.
    pub converged: Vec<f64>,
    /// What the process took at its end.
    pub process: ProcessFigures,
    /// Failed requests in it, and agents that could not even ask, by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Median and 99th percentile by method, ms.
    pub latency: BTreeMap<Method, (f64, f64)>,
}

impl Window {
    /// So many in this window, by the second.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64().max(1e-3)
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Agents registered.
    pub registered: u32,
    /// Jobs ended.
    pub jobs_ended: u64,
    /// Share of agents that have reached each convergence.
    pub converged: Vec<f64>,
    /// What the process takes.
    pub process: ProcessFigures,
}

/// All windows.
#[derive(Debug)]
pub struct Timeline {
    length: Duration,
    closed: Vec<Window>,
    check_ins: u64,
    requests: u64,
    errors: u64,
    kinds: BTreeMap<String, u64>,
    latency: BTreeMap<Method, Latency>,
}

impl Timeline {
    /// For a run of at most `duration`.
    pub fn new(duration: Duration) -> Self {
        Self {
            length: Duration::from_secs(duration.as_secs().div_ceil(MAX_WINDOWS).max(1)),
            closed: Vec::new(),
            check_ins: 0,
            requests: 0,
            errors: 0,
            kinds: BTreeMap::new(),
            latency: BTreeMap::new(),
        }
    }

    /// A request ended.
    pub fn exchange(&mut self, method: Method, latency: Duration, failed: bool) {
        self.requests += 1;
        self.errors += u64::from(failed);
        self.latency
            .entry(method)
            .or_insert_with(|| Latency::new(Precision::TwoDigits))
            .record(latency);
    }

    /// A request failed, or an agent could not even ask.
    pub fn error(&mut self, kind: &str) {
        if let Some(count) = self.kinds.get_mut(kind) {
            *count += 1;
        } else {
            self.kinds.insert(kind.to_owned(), 1);
        }
    }

    /// A check-in ended.
    pub fn check_in(&mut self) {
        self.check_ins += 1;
    }

    /// Closes all windows that are over at `at`.
    pub fn roll(&mut self, at: Duration, state: impl FnOnce() -> State) {
        if self.begin() + self.length > at {
            return;
        }
        let state = state();
        while self.begin() + self.length <= at {
            self.close(self.length, state.clone());
        }
    }

    /// Closes the last window, unless nothing can be read from it.
    pub fn finish(&mut self, at: Duration, state: State) {
        let length = at.saturating_sub(self.begin());
        if length >= self.length / 4 {
            self.close(length, state);
        }
    }

    /// The closed windows.
    pub fn windows(&self) -> &[Window] {
        &self.closed
    }

    /// Check-ins a second in the last closed window.
    pub fn recent_check_ins_per_s(&self) -> f64 {
        self.closed
            .last()
            .map_or(0.0, |window| window.per_s(window.check_ins))
    }

    fn begin(&self) -> Duration {
        self.closed.last().map_or(Duration::ZERO, |window| window.end)
    }

    fn close(&mut self, length: Duration, state: State) {
        let end = self.begin() + length;
        let used = self.latency.iter_mut().filter(|(_, latency)| latency.count() > 0);
        let latency = used.map(|(method, latency)| {
            let quantiles = (latency.quantile_ms(0.5), latency.quantile_ms(0.99));
            latency.clear();
            (*method, quantiles)
        });
        let window = Window {
            end,
            length,
            check_ins: std::mem::take(&mut self.check_ins),
            requests: std::mem::take(&mut self.requests),
            errors: std::mem::take(&mut self.errors),
            registered: state.registered,
            jobs_ended: state.jobs_ended,
            converged: state.converged,
            process: state.process,
            kinds: std::mem::take(&mut self.kinds),
            latency: latency.collect(),
        };
        self.closed.push(window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(registered: u32, jobs_ended: u64) -> State {
        State {
            registered,
            jobs_ended,
            ..State::default()
        }
    }

    #[test]
    fn windows_hold_what_happened_in_them_and_pauses_have_empty_ones() {
        let mut timeline = Timeline::new(Duration::from_secs(60));
        timeline.exchange(Method::Hello, Duration::from_millis(20), false);
        timeline.check_in();
        timeline.roll(Duration::from_secs(3), || state(1, 0));
        timeline.exchange(Method::Update, Duration::from_millis(40), true);
        timeline.error("timeout");
        timeline.error("timeout");
        timeline.finish(Duration::from_millis(3500), state(2, 5));
        let windows = timeline.windows();
        assert_eq!(
            windows.iter().map(|w| w.requests).collect::<Vec<_>>(),
            [1, 0, 0, 1]
        );
        assert!((windows[0].latency[&Method::Hello].0 - 20.0).abs() < 0.3);
        assert!(windows[1].latency.is_empty() && !windows[3].latency.contains_key(&Method::Hello));
        assert_eq!(
            (windows[3].registered, windows[3].jobs_ended, windows[3].errors),
            (2, 5, 1)
        );
        assert!(windows[0].kinds.is_empty() && windows[3].kinds["timeout"] == 2);
        assert!((windows[3].per_s(1) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn long_runs_have_longer_windows() {
        let mut timeline = Timeline::new(Duration::from_secs(24 * 3600));
        timeline.roll(Duration::from_secs(24 * 3600), State::default);
        assert_eq!(timeline.windows().len(), 240);
    }
}
