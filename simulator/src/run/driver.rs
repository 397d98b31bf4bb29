//! Drives the fleet: starts check-ins when they are due, keeps their number bounded, and knows when the run is over.

use super::RunError;
use crate::admin::AdminError;
use crate::event::{ErrorKind, Event, Postponement, Sender};
use crate::fleet::{Decision, Fleet, Overdue};
use crate::pace::{Due, Pacer};
use crate::presence::Presence;
use crate::progress::Progress;
use crate::scenario::{Scenario, Until};
use crate::simulated_host::VirtualState;
use crate::stats::Snapshot;
use crate::virtual_agent::{Ends, Site};
use oco_agent::host::PowerAction;
use oco_protocol::rpc::Method;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

/// What was cut off gets this long to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Reports of workers that may wait for the driver.
const REPORTS: usize = 1024;

/// What a worker tells the driver.
enum Report {
    /// The check-in is over and jobs begin: the place is free for another check-in.
    JobsBegan { agent: u32 },
    /// The agent is idle again.
    Done {
        agent: u32,
        state: VirtualState,
        had_jobs: bool,
        power: Option<PowerAction>,
    },
}

/// A check-in that waits for a place.
struct Waiting {
    agent: u32,
    planned: Instant,
    state: VirtualState,
}

/// What the driver knows at the end.
pub(super) struct Over {
    pub(super) duration: Duration,
    pub(super) interrupted: bool,
    pub(super) agents_started: u32,
    pub(super) bytes_per_idle_agent: u64,
}

/// See the module.
pub(super) struct Driver {
    scenario: Arc<Scenario>,
    fleet: Fleet,
    presence: Presence,
    pacer: Pacer,
    site: Arc<Site>,
    events: Sender,
    workers: JoinSet<()>,
    reports: mpsc::Receiver<Report>,
    report: mpsc::Sender<Report>,
    waiting: VecDeque<Waiting>,
    in_flight: u32,
}

impl Driver {
    pub(super) fn new(
        scenario: Arc<Scenario>,
        fleet: Fleet,
        presence: Presence,
        pacer: Pacer,
        site: Arc<Site>,
        events: Sender,
    ) -> Self {
        let (report, reports) = mpsc::channel(REPORTS);
        Self {
            scenario,
            fleet,
            presence,
            pacer,
            site,
            events,
            workers: JoinSet::new(),
            reports,
            report,
            waiting: VecDeque::new(),
            in_flight: 0,
        }
    }

    /// Drives until the run is over, then waits a while for what is still going on. The fleet is given back in any case.
    pub(super) async fn drive(
        mut self,
        start: Instant,
        snapshots: watch::Receiver<Snapshot>,
        administrator: impl Future<Output = Result<(), AdminError>>,
        progress: &mut Progress,
        interrupt: impl Future<Output = ()>,
        ends: &Ends,
    ) -> (Result<Over, RunError>, Fleet) {
        let ended = self
            .until_over(start, snapshots, administrator, progress, interrupt)
            .await;
        let duration = start.elapsed();
        ends.stop.cancel();
        if ended.is_err() {
            ends.cut_off.cancel();
        }
        self.events.send(Event::Over).await;
        let drained = self.drain(ends).await;
        let size = u64::from(self.scenario.fleet.own_size()).max(1);
        let over = ended.and_then(|interrupted| drained.map(|()| interrupted));
        let over = over.map(|interrupted| Over {
            duration,
            interrupted,
            agents_started: self.fleet.started(),
            bytes_per_idle_agent: (self.fleet.bytes() + self.pacer.bytes()) as u64 / size,
        });
        (over, self.fleet)
    }

    /// Whether the end came by hand.
    async fn until_over(
        &mut self,
        start: Instant,
        mut snapshots: watch::Receiver<Snapshot>,
        administrator: impl Future<Output = Result<(), AdminError>>,
        progress: &mut Progress,
        interrupt: impl Future<Output = ()>,
    ) -> Result<bool, RunError> {
        let end = tokio::time::sleep_until(start + self.scenario.run.duration.0);
        let (mut end, mut interrupt, mut administrator) = (pin!(end), pin!(interrupt), pin!(administrator));
        let mut all_deployed = false;
        loop {
            tokio::select! {
                () = &mut interrupt => return Ok(true),
                () = &mut end => return Ok(false),
                result = &mut administrator, if !all_deployed => {
                    result?;
                    all_deployed = true;
                }
                due = self.pacer.due() => {
                    for due in due {
                        self.due(due).await;
                    }
                }
                Some(report) = self.reports.recv() => self.take(report).await,
                Ok(()) = snapshots.changed() => {
                    let snapshot = snapshots.borrow_and_update().clone();
                    progress.show(&snapshot);
                    if snapshot.converged && all_deployed && self.scenario.run.until == Until::Converged {
                        return Ok(false);
                    }
                }
            }
            self.fill_places();
            while let Some(worker) = self.workers.try_join_next() {
                worker.map_err(lost)?;
            }
        }
    }

    async fn due(&mut self, due: Due) {
        match self.presence.admit(&due) {
            Some(first) => {
                let decision = self.fleet.due(due.agent, due.planned, first);
                self.perform(due.agent, decision).await;
            }
            None => self.postponed(Postponement::Away).await,
        }
    }

    async fn perform(&mut self, agent: u32, decision: Decision) {
        match decision {
            Decision::Start { state, planned } => self.waiting.push_back(Waiting {
                agent,
                planned,
                state,
            }),
            Decision::Wait => {}
            Decision::LeaveOut => self.postponed(Postponement::JobsRunning).await,
        }
    }

    async fn take(&mut self, report: Report) {
        match report {
            Report::JobsBegan { agent } => {
                self.in_flight -= 1;
                let Overdue { owed, missed } = self.fleet.jobs_began(agent);
                if owed.is_some() {
                    self.postponed(Postponement::JobsRunning).await;
                }
                self.missed(missed).await;
            }
            Report::Done {
                agent,
                state,
                had_jobs,
                power,
            } => {
                self.in_flight -= u32::from(!had_jobs);
                if let Some(action) = power {
                    let back = self.presence.power(agent, action);
                    self.site.restarts(agent, back);
                }
                let (Overdue { owed, missed }, next) = self.fleet.done(agent, state);
                self.missed(missed).await;
                if let (Some(planned), Some(state)) = (owed, next) {
                    self.postponed(Postponement::CheckInRunning).await;
                    self.perform(agent, Decision::Start { state, planned }).await;
                }
            }
        }
    }

    async fn postponed(&self, reason: Postponement) {
        self.events.send(Event::Postponed { reason }).await;
    }

    /// Check-ins that the server's slowness left no time for are failed ones, which are as late as they are by now.
    async fn missed(&self, missed: Vec<Instant>) {
        for planned in missed {
            self.postponed(Postponement::Missed).await;
            self.unanswered(planned, ErrorKind::MISSED).await;
        }
    }

    async fn unanswered(&self, planned: Instant, error: ErrorKind) {
        let event = Event::unanswered(Method::Hello, planned, error);
        self.events.send(event).await;
    }

    /// Starts waiting check-ins while there are free places. Waiting counts as latency, so the bound hides nothing.
    fn fill_places(&mut self) {
        while self.in_flight < self.scenario.pacing.in_flight.0
            && let Some(next) = self.waiting.pop_front()
        {
            self.in_flight += 1;
            self.workers
                .spawn(check_in(self.site.clone(), next, self.report.clone()));
        }
    }

    /// Lets what was due before the end come to its end, within bounds. Whatever does not is a failure: a server that
    /// stalls must not look like one that was never asked.
    async fn drain(&mut self, ends: &Ends) -> Result<(), RunError> {
        if !self
            .finish_until(Instant::now() + self.scenario.run.drain.0)
            .await?
        {
            tracing::warn!(
                workers = self.workers.len(),
                waiting = self.waiting.len(),
                "check-ins or jobs that did not end in time are cut off"
            );
            let waiting = std::mem::take(&mut self.waiting);
            ends.cut_off.cancel();
            if !self.finish_until(Instant::now() + LAST_WORDS).await? {
                self.workers.shutdown().await;
            }
            for Waiting {
                agent,
                planned,
                state,
            } in waiting.into_iter().chain(std::mem::take(&mut self.waiting))
            {
                let Overdue { owed, missed } = self.fleet.put_back(agent, state);
                self.unfinished(agent, planned).await;
                if let Some(owed) = owed {
                    self.unfinished(agent, owed).await;
                }
                self.missed(missed).await;
            }
        }
        let overdue: Vec<_> = self.fleet.give_up().collect();
        for (agent, Overdue { owed, missed }) in overdue {
            if let Some(planned) = owed {
                self.unfinished(agent, planned).await;
            }
            self.missed(missed).await;
        }
        Ok(())
    }

    /// Goes on without new check-ins until nothing is left to do, which is true, or until the deadline.
    async fn finish_until(&mut self, deadline: Instant) -> Result<bool, RunError> {
        loop {
            self.fill_places();
            // A worker's last report is there before the worker ends, but not taken yet.
            while let Ok(report) = self.reports.try_recv() {
                self.take(report).await;
                self.fill_places();
            }
            if self.workers.is_empty() {
                return Ok(true);
            }
            tokio::select! {
                worker = self.workers.join_next() => worker.unwrap_or(Ok(())).map_err(lost)?,
                Some(report) = self.reports.recv() => self.take(report).await,
                () = tokio::time::sleep_until(deadline) => return Ok(false),
            }
        }
    }

    async fn unfinished(&self, agent: u32, planned: Instant) {
        self.unanswered(planned, ErrorKind::UNFINISHED).await;
        let os = self.scenario.os_of(agent);
        self.events
            .send(Event::CheckIn {
                agent,
                os,
                registered: false,
                ok: false,
            })
            .await;
    }
}

fn lost(_: JoinError) -> RunError {
    RunError::Lost("check-in of a virtual agent")
}

async fn check_in(
    site: Arc<Site>,
    Waiting {
        agent,
        planned,
        state,
    }: Waiting,
    report: mpsc::Sender<Report>,
) {
    let checked_in = Box::pin(site.check_in(agent, planned, state)).await;
    let had_jobs = checked_in.has_jobs();
    // Without a driver the run is over and nobody needs the reports.
    if had_jobs && report.send(Report::JobsBegan { agent }).await.is_err() {
        return;
    }
    let (state, power) = Box::pin(checked_in.finish(&site)).await;
    let _ = report
        .send(Report::Done {
            agent,
            state,
            had_jobs,
            power,
        })
        .await;
}
