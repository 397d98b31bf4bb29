//! The one collector: turns events into bounded figures. Reporters only format what is here.

use crate::event::{ErrorKind, Event, Postponement};
use crate::lot::Lots;
use crate::process::ProcessFigures;
use crate::scenario::{Scenario, Sequence};
use crate::shard::Shard;
use oco_agent::host::Os;
use oco_protocol::rpc::Method;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

mod attacks;
mod convergence;
mod jobs;
mod latency;
mod timeline;

pub use attacks::{AttackFigures, StrangerFigures};
pub use convergence::{Convergence, Convergences};
pub use jobs::{JobBook, JobCounts};
pub use latency::{InvalidHistogram, Latency, MethodStats, Precision, millis};
pub use timeline::{State, Timeline, Window};

/// Different kinds of errors that are told apart; the rest is counted together.
const MAX_KINDS: usize = 40;
/// Kinds that a progress display shows.
const SHOWN_KINDS: usize = 3;
/// Name of that rest.
const OTHER_KINDS: &str = "other";

/// Check-ins of the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckIns {
    /// That went through.
    pub ok: u64,
    /// That did not.
    pub failed: u64,
    /// That started late, as the one before was still going on.
    pub late: u64,
    /// That never started, as one was waiting already.
    pub missed: u64,
    /// That were left out, as the agent was running jobs.
    pub during_jobs: u64,
    /// That were left out, as the machine was offline, restarted, or had left.
    pub away: u64,
}

/// All figures of a run.
#[derive(Debug)]
pub struct Stats {
    start: Instant,
    warm_up: Duration,
    size: u32,
    shard: Shard,
    agents: Vec<AgentFlags>,
    registered: u32,
    failing: u32,
    by_os: BTreeMap<Os, u32>,
    methods: BTreeMap<Method, MethodStats>,
    errors: BTreeMap<String, u64>,
    check_ins: CheckIns,
    jobs: JobBook,
    convergences: Convergences,
    timeline: Timeline,
    process: ProcessFigures,
    deployments: usize,
    /// Whether the deployments of the scenario end with a computer's first failure.
    aborts: Vec<bool>,
    /// Agents that a server has to register.
    expected: u32,
    strangers: StrangerFigures,
    attacks: Vec<AttackFigures>,
    /// Requests by method when the run was over.
    in_time: Option<BTreeMap<Method, u64>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct AgentFlags {
    registered: bool,
    failing: bool,
    /// It has checked in, or tried to.
    seen: bool,
    /// The server has to refuse it.
    stranger: bool,
}

/// What a progress display shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Since the start.
    pub elapsed: Duration,
    /// Agents planned.
    pub agents: u32,
    /// Agents registered.
    pub registered: u32,
    /// Agents whose last check-in failed.
    pub failing: u32,
    /// Check-ins a second, lately.
    pub check_ins_per_s: f64,
    /// Requests by method.
    pub methods: Vec<MethodSnapshot>,
    /// Failed requests.
    pub errors: u64,
    /// The most frequent kinds of them, with their numbers.
    pub top_errors: Vec<(String, u64)>,
    /// Jobs by state.
    pub jobs: JobCounts,
    /// Whether there is at least one convergence and all are reached.
    pub converged: bool,
    /// Convergences that are not reached yet.
    pub waiting_for: Vec<Convergence>,
}

/// One method in a [`Snapshot`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MethodSnapshot {
    /// Which.
    pub method: Method,
    /// Requests so far.
    pub count: u64,
    /// Median latency, ms.
    pub p50_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
}

impl Stats {
    /// Empty figures of a run of `scenario` that begins at `start`.
    pub fn new(scenario: &Scenario, start: Instant) -> Self {
        let fleet = &scenario.fleet;
        let mut stats = Self {
            start,
            warm_up: scenario.pacing.warm_up.0,
            size: fleet.own_size(),
            shard: fleet.shard,
            agents: vec![AgentFlags::default(); fleet.own_size() as usize],
            registered: 0,
            failing: 0,
            by_os: BTreeMap::new(),
            methods: BTreeMap::new(),
            errors: BTreeMap::new(),
            check_ins: CheckIns::default(),
            jobs: JobBook::default(),
            convergences: Convergences::new(scenario),
            timeline: Timeline::new(scenario.run.duration.0),
            process: ProcessFigures::default(),
            deployments: 0,
            aborts: scenario
                .admin
                .deployments
                .iter()
                .map(|deployment| deployment.sequence == Sequence::Abort)
                .collect(),
            expected: Lots(scenario).expected(),
            strangers: StrangerFigures::default(),
            attacks: AttackFigures::of(scenario),
            in_time: None,
        };
        if fleet.registered {
            let known = fleet.own_agents().filter(|agent| Lots(scenario).is_known(*agent));
            known.for_each(|agent| stats.registered_now(agent, scenario.os_of(agent)));
        }
        stats
    }

    /// Takes in one event, at `now`.
    pub fn apply(&mut self, event: Event, now: Instant) {
        let at = now.saturating_duration_since(self.start);
        self.roll(now);
        match event {
            Event::Exchange {
                method,
                started,
                latency,
                service,
                error,
            } => {
                self.exchange(method, started, latency, service, error);
            }
            Event::CheckIn {
                agent,
                os,
                registered,
                ok,
            } => self.check_in(agent, os, registered, ok),
            Event::Job {
                agent,
                job,
                container,
                step,
            } => {
                self.jobs.step(agent, job, container.as_ref(), step);
            }
            Event::Deployed {
                deployment,
                container,
                jobs,
                computers,
                at,
            } => {
                self.deployments += 1;
                self.jobs.deployed(&container, jobs, computers);
                if self.aborts.get(deployment) == Some(&true) {
                    self.jobs.aborts(&container);
                }
                self.convergences
                    .deployed(deployment, &container, at.saturating_duration_since(self.start));
            }
            Event::Stranger { agent, refused } => self.stranger(agent, refused),
            Event::Ordered { order, of, at } => {
                let at = at.saturating_duration_since(self.start);
                self.convergences.ordered(order, of, at);
            }
            Event::Complied { agent, order } => self.convergences.complied(agent, order),
            Event::Attack { adversary, outcome } => {
                if let Some(attacks) = self.attacks.get_mut(adversary) {
                    attacks.record(outcome);
                }
            }
            Event::AgentFailed { error } => self.count_error(error.as_str()),
            Event::Postponed { reason } => match reason {
                Postponement::CheckInRunning => self.check_ins.late += 1,
                Postponement::Missed => self.check_ins.missed += 1,
                Postponement::JobsRunning => self.check_ins.during_jobs += 1,
                Postponement::Away => self.check_ins.away += 1,
            },
            Event::Over => {
                let counts = self
                    .methods
                    .iter()
                    .map(|(method, stats)| (*method, stats.count()));
                self.in_time = Some(counts.collect());
            }
        }
        self.convergences.look(at, self.registered, &self.jobs);
    }

    /// Closes the windows of the timeline that are over `now`.
    pub fn roll(&mut self, now: Instant) {
        let at = now.saturating_duration_since(self.start);
        let (registered, jobs, convergences) = (self.registered, &self.jobs, &self.convergences);
        let process = self.process;
        self.timeline
            .roll(at, || state(registered, jobs, convergences, process));
    }

    /// Closes the last window, however short.
    pub fn finish(&mut self, now: Instant) {
        self.roll(now);
        let at = now.saturating_duration_since(self.start);
        let state = state(self.registered, &self.jobs, &self.convergences, self.process);
        self.timeline.finish(at, state);
    }

    /// Takes in what the process takes now.
    pub fn measured(&mut self, process: ProcessFigures) {
        self.process = process;
    }

    /// What a progress display shows.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let methods = self.methods.iter().map(|(method, stats)| MethodSnapshot {
            method: *method,
            count: stats.count(),
            p50_ms: stats.all().quantile_ms(0.5),
            p99_ms: stats.all().quantile_ms(0.99),
        });
        let mut top_errors: Vec<_> = self.errors.clone().into_iter().collect();
        top_errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        top_errors.truncate(SHOWN_KINDS);
        Snapshot {
            elapsed: now.saturating_duration_since(self.start),
            agents: self.expected,
            registered: self.registered,
            failing: self.failing,
            check_ins_per_s: self.timeline.recent_check_ins_per_s(),
            methods: methods.collect(),
            errors: self.error_count(),
            top_errors,
            jobs: self.jobs.counts(),
            converged: self.convergences.all_reached(),
            waiting_for: self
                .convergences
                .iter()
                .filter(|one| one.reached.is_none())
                .cloned()
                .collect(),
        }
    }

    /// Agents planned.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Agents registered.
    pub fn registered(&self) -> u32 {
        self.registered
    }

    /// Agents whose last check-in failed, registered or not.
    pub fn failing(&self) -> u32 {
        self.failing
    }

    /// Agents that are registered, have checked in, and whose last check-in went through.
    pub fn healthy(&self) -> u32 {
        let healthy = self
            .agents
            .iter()
            .filter(|flags| flags.registered && flags.seen && !flags.failing && !flags.stranger);
        u32::try_from(healthy.count()).unwrap_or(u32::MAX)
    }

    /// Machines that the server had to refuse.
    pub fn strangers(&self) -> StrangerFigures {
        self.strangers
    }

    /// What adversaries have tried.
    pub fn attacks(&self) -> &[AttackFigures] {
        &self.attacks
    }

    /// Registered agents by system.
    pub fn by_os(&self) -> &BTreeMap<Os, u32> {
        &self.by_os
    }

    /// Figures by method; only those that were used.
    pub fn methods(&self) -> &BTreeMap<Method, MethodStats> {
        &self.methods
    }

    /// Requests of a method that ended before the run did.
    pub fn count_in_time(&self, method: Method) -> u64 {
        match &self.in_time {
            Some(counts) => counts.get(&method).copied().unwrap_or(0),
            None => self.methods.get(&method).map_or(0, MethodStats::count),
        }
    }

    /// Failed requests by kind.
    pub fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// Failed requests and agents that could not even ask.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// All requests.
    pub fn request_count(&self) -> u64 {
        self.methods.values().map(MethodStats::count).sum()
    }

    /// Check-ins.
    pub fn check_ins(&self) -> CheckIns {
        self.check_ins
    }

    /// Jobs.
    pub fn jobs(&self) -> JobCounts {
        self.jobs.counts()
    }

    /// Deployments that the administrator has made.
    pub fn deployments(&self) -> usize {
        self.deployments
    }

    /// Convergences.
    pub fn convergences(&self) -> &Convergences {
        &self.convergences
    }

    /// Figures over time.
    pub fn windows(&self) -> &[Window] {
        self.timeline.windows()
    }

    fn exchange(
        &mut self,
        method: Method,
        started: Instant,
        latency: Duration,
        service: Option<Duration>,
        error: Option<ErrorKind>,
    ) {
        self.timeline.exchange(method, latency, error.is_some());
        if started.saturating_duration_since(self.start) < self.warm_up {
            return;
        }
        self.methods
            .entry(method)
            .or_default()
            .record(latency, service, error.is_some());
        if let Some(kind) = error {
            self.count_error(kind.as_str());
        }
    }

    fn count_error(&mut self, kind: &str) {
        let known = self.errors.len() < MAX_KINDS || self.errors.contains_key(kind);
        let kind = if known { kind } else { OTHER_KINDS };
        *self.errors.entry(kind.to_owned()).or_default() += 1;
        self.timeline.error(kind);
    }

    fn stranger(&mut self, agent: u32, refused: bool) {
        if refused {
            self.strangers.refused += 1;
        } else {
            self.strangers.accepted += 1;
        }
        let place = self.shard.place(agent);
        let flags = place.and_then(|place| self.agents.get_mut(place as usize));
        if let Some(flags) = flags.filter(|flags| !flags.stranger) {
            flags.stranger = true;
            self.strangers.agents += 1;
            self.failing -= u32::from(std::mem::take(&mut flags.failing));
        }
    }

    fn check_in(&mut self, agent: u32, os: Os, registered: bool, ok: bool) {
        self.timeline.check_in();
        if ok {
            self.check_ins.ok += 1;
        } else {
            self.check_ins.failed += 1;
        }
        if registered {
            self.registered_now(agent, os);
        }
        let place = self.shard.place(agent);
        let Some(flags) = place.and_then(|place| self.agents.get_mut(place as usize)) else {
            return;
        };
        match (flags.failing, !ok) {
            (false, true) => self.failing += 1,
            (true, false) => self.failing -= 1,
            _ => {}
        }
        flags.failing = !ok;
        flags.seen = true;
    }

    /// Counts an agent as registered, once.
    fn registered_now(&mut self, agent: u32, os: Os) {
        let place = self.shard.place(agent);
        let flags = place.and_then(|place| self.agents.get_mut(place as usize));
        if let Some(flags) = flags.filter(|flags| !flags.registered) {
            flags.registered = true;
            self.registered += 1;
            *self.by_os.entry(os).or_default() += 1;
        }
    }
}

/// How far a run is.
fn state(registered: u32, jobs: &JobBook, convergences: &Convergences, process: ProcessFigures) -> State {
    State {
        registered,
        jobs_ended: jobs.counts().ended(),
        converged: convergences.iter().map(Convergence::share).collect(),
        process,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        let text = "description = \"\"\n[fleet]\nsize = 3\n[pacing]\nwarm_up = \"1s\"\n[[convergence]]\nname = \"all\"\n\
                    goal = \"registered\"\nwithin = \"5s\"";
        Stats::new(&Scenario::parse("x", "x", text).unwrap(), Instant::now())
    }

    fn check_in(agent: u32, registered: bool, ok: bool) -> Event {
        Event::CheckIn {
            agent,
            os: Os::Linux,
            registered,
            ok,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn agents_that_are_known_before_are_registered_and_well_once_they_have_checked_in() {
        let text = "description = \"\"\n[fleet]\nsize = 3\nregistered = true";
        let mut stats = Stats::new(&Scenario::parse("x", "x", text).unwrap(), Instant::now());
        let now = stats.start;
        assert_eq!((stats.registered(), stats.healthy()), (3, 0));
        assert_eq!(stats.by_os().values().sum::<u32>(), 3);
        stats.apply(check_in(0, true, true), now);
        stats.apply(check_in(1, false, false), now);
        assert_eq!((stats.registered(), stats.healthy(), stats.failing()), (3, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn agents_register_once_and_recover_from_failures() {
        let mut stats = stats();
        let now = stats.start + Duration::from_secs(2);
        for event in [
            check_in(0, false, false),
            check_in(1, true, true),
            check_in(0, true, true),
            check_in(0, true, true),
        ] {
            stats.apply(event, now);
        }
        assert_eq!((stats.registered(), stats.failing()), (2, 0));
        assert_eq!(stats.by_os(), &BTreeMap::from([(Os::Linux, 2)]));
        assert!(!stats.snapshot(now).converged);
        stats.apply(check_in(2, true, true), now);
        stats.apply(check_in(2, true, false), now);
        assert!(stats.snapshot(now).converged);
        assert_eq!(stats.failing(), 1);
        assert_eq!(
            stats.check_ins(),
            CheckIns {
                ok: 4,
                failed: 2,
                ..CheckIns::default()
            }
        );
        stats.apply(check_in(99, true, true), now);
        assert_eq!(stats.registered(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn warm_up_is_left_out_and_errors_are_counted_by_kind() {
        let mut stats = stats();
        let exchange = |started, error| Event::Exchange {
            method: Method::Hello,
            started,
            latency: Duration::from_millis(10),
            service: Some(Duration::from_millis(5)),
            error,
        };
        stats.apply(exchange(stats.start, Some(ErrorKind::AGENT)), stats.start);
        assert_eq!((stats.request_count(), stats.error_count()), (0, 0));
        let later = stats.start + Duration::from_secs(1);
        stats.apply(exchange(later, None), later);
        stats.apply(exchange(later, Some(ErrorKind::AGENT)), later);
        assert_eq!((stats.request_count(), stats.error_count()), (2, 1));
        let hello = &stats.methods()[&Method::Hello];
        assert_eq!((hello.ok(), hello.errors()), (1, 1));
        assert!((hello.all().quantile_ms(0.5) - 10.0).abs() < 0.02);
        assert!((hello.service().quantile_ms(0.5) - 5.0).abs() < 0.01);
        stats.apply(Event::Over, later);
        stats.apply(exchange(later, None), later);
        assert_eq!(
            (stats.count_in_time(Method::Hello), stats.request_count()),
            (2, 3)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_of_errors_are_bounded_and_none_is_lost() {
        let mut stats = stats();
        for kind in 0..500 {
            stats.count_error(&format!("kind {kind}"));
        }
        assert_eq!(stats.errors().len(), MAX_KINDS + 1);
        assert_eq!(stats.error_count(), 500);
        let top = stats.snapshot(stats.start).top_errors;
        assert_eq!(
            (top.len(), &top[0]),
            (SHOWN_KINDS, &(OTHER_KINDS.to_owned(), 460))
        );
    }
}
