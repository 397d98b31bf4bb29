//! One check-in of a virtual agent: the production agent over a simulated host, made for it and dropped after it.

use crate::connections::Connections;
use crate::event::{ErrorKind, Event, JobStep, Outlet, Sender};
use crate::lot::Lots;
use crate::scenario::Scenario;
use crate::simulated_host::{SimulatedHost, VirtualClock, VirtualState};
use oco_agent::agent::{Agent, CheckIn, CheckInError};
use oco_agent::host::PowerAction;
use oco_agent::jobs::Ticket;
use oco_agent::observer::{Exchange, ExchangeOutcome, JobEvent, Observer};
use oco_protocol::job::Job;
use oco_protocol::lenient::Id;
use oco_protocol::rpc::Method;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod compliance;
mod machines;
mod surroundings;

pub use machines::Machines;

/// What all virtual agents of a run share.
#[derive(Debug, Clone)]
pub struct Site {
    scenario: Arc<Scenario>,
    machines: Machines,
    connections: Connections,
    clock: VirtualClock,
    /// When the run began.
    start: Instant,
    /// When machines were started last that jobs have restarted.
    restarts: Arc<Mutex<HashMap<u32, Instant>>>,
    events: Sender,
    ends: Ends,
}

/// How a run ends.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// Once cancelled, no further job is started.
    pub stop: CancellationToken,
    /// Once cancelled, what is still going on is given up.
    pub cut_off: CancellationToken,
}

/// An agent that has checked in and has jobs to run, or none.
pub struct CheckedIn {
    host: Arc<SimulatedHost>,
    agent: Option<Agent>,
    watch: Arc<Watch>,
    jobs: Vec<Job>,
    ordered: Ticket,
}

impl Site {
    /// The surroundings of the agents of a scenario, whose run begins at `start`.
    pub fn new(
        scenario: Arc<Scenario>,
        connections: Connections,
        clock: VirtualClock,
        start: Instant,
        events: Sender,
        ends: Ends,
    ) -> Self {
        Self {
            machines: Machines::new(scenario.clone()),
            scenario,
            connections,
            clock,
            start,
            restarts: Arc::default(),
            events,
            ends,
        }
    }

    /// A job restarts a machine, which is there again at that time.
    pub fn restarts(&self, agent: u32, back: Instant) {
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        restarts.insert(agent, back);
    }

    /// The machine of an agent, with what its agent wrote so far.
    pub fn host(&self, agent: u32, state: VirtualState) -> SimulatedHost {
        let lots = Lots(&self.scenario);
        let renamed = lots.is_renamed(agent, self.start.elapsed());
        let host = self
            .machines
            .host(agent, renamed, state, lots.clock(agent, self.clock));
        let restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        match restarts.get(&agent) {
            Some(started) => host.started_at(*started),
            None => host,
        }
    }

    /// Of how many agents the machine has such a local account.
    pub async fn with_account(self: Arc<Self>, username: String) -> u64 {
        let count = tokio::task::spawn_blocking(move || {
            let agents = self.scenario.fleet.own_agents();
            agents
                .filter(|agent| Lots(&self.scenario).copy_of(*agent).is_none())
                .filter(|agent| self.machines.has_account(*agent, &username))
                .count() as u64
        });
        count.await.unwrap_or_default()
    }

    /// The host names that the fleet's computers have on a server, in lower case.
    pub async fn hostnames(self: Arc<Self>) -> BTreeSet<String> {
        let names = tokio::task::spawn_blocking(move || {
            let agents = self.scenario.fleet.own_agents();
            let identities = agents.filter_map(|agent| self.machines.identity(agent));
            identities
                .map(|identity| identity.hostname.to_lowercase())
                .collect()
        });
        names.await.unwrap_or_default()
    }

    /// Checks in. Errors are told to the collector.
    pub async fn check_in(&self, index: u32, planned: Instant, state: VirtualState) -> CheckedIn {
        let host = Arc::new(self.host(index, state));
        let stranger = Lots(&self.scenario).is_stranger(index, self.start.elapsed());
        let watch = Arc::new(Watch::new(index, planned, self.events.outlet(), stranger));
        let (agent, check_in) = match self.load(index, &host, &watch) {
            Some(agent) => {
                let check_in = self
                    .ends
                    .cut_off
                    .run_until_cancelled(Box::pin(agent.check_in(false)))
                    .await;
                if check_in.is_none() {
                    watch.unfinished();
                }
                (Some(agent), check_in)
            }
            None => (None, None),
        };
        let refused = !matches!(check_in, Some(Ok(_)));
        let (registered, ok, check_in) = match check_in {
            Some(Ok(check_in)) => (true, true, check_in),
            Some(Err(CheckInError::Update { check_in, .. })) => (true, false, check_in),
            Some(Err(CheckInError::Hello(_))) | None => (false, false, CheckIn::default()),
        };
        watch.outlet.emit(if stranger {
            Event::Stranger {
                agent: index,
                refused,
            }
        } else {
            Event::CheckIn {
                agent: index,
                os: self.scenario.os_of(index),
                registered,
                ok,
            }
        });
        let complied = compliance::orders(&self.scenario, &host, check_in.inventory_sent);
        for order in complied {
            watch.outlet.emit(Event::Complied { agent: index, order });
        }
        let CheckIn { jobs, ordered, .. } = check_in;
        watch.expect(&jobs);
        watch.outlet.flush().await;
        CheckedIn {
            host,
            agent,
            watch,
            jobs,
            ordered,
        }
    }

    fn load(&self, index: u32, host: &Arc<SimulatedHost>, watch: &Arc<Watch>) -> Option<Agent> {
        let paths = self.machines.paths(index)?;
        let client = self.connections.of(index)?.clone();
        match Agent::load(host.clone(), paths, |_| Ok(client), watch.clone()) {
            Ok(agent) => Some(agent),
            Err(error) => {
                tracing::error!(
                    agent.index = index,
                    error = &error as &dyn std::error::Error,
                    "agent cannot start"
                );
                watch.outlet.emit(Event::AgentFailed {
                    error: ErrorKind::AGENT,
                });
                None
            }
        }
    }
}

impl CheckedIn {
    /// Whether there are jobs to run.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty() && self.agent.is_some()
    }

    /// Runs the jobs, if there are any, and gives back what the agent keeps until its next check-in, and whether the
    /// machine restarts or shuts down now.
    pub async fn finish(self, site: &Site) -> (VirtualState, Option<PowerAction>) {
        let Self {
            host,
            agent,
            watch,
            jobs,
            ordered,
        } = self;
        if let Some(agent) = agent.filter(|_| !jobs.is_empty()) {
            let jobs = agent.run_jobs(jobs, ordered, || site.ends.stop.is_cancelled());
            if site.ends.cut_off.run_until_cancelled(jobs).await.is_none() {
                watch.jobs_unfinished(site.scenario.jobs.longest.get_ref().0);
            }
        }
        watch.outlet.flush().await;
        drop(watch);
        let power = host.power_orders().last().map(|(action, _)| *action);
        let state = Arc::try_unwrap(host).map_or_else(|shared| shared.state(), SimulatedHost::into_state);
        (state, power)
    }
}

/// Passes on what the production agent tells.
struct Watch {
    agent: u32,
    planned: Instant,
    outlet: Outlet,
    /// Whether the server has to refuse this agent: then its refusals are no errors.
    stranger: bool,
    /// When the hello was answered.
    greeted: OnceLock<Instant>,
    /// When the last request had its end.
    last: Mutex<Instant>,
    /// Which container each job belongs to.
    containers: Mutex<HashMap<Id, Option<Id>>>,
}

impl Watch {
    fn new(agent: u32, planned: Instant, outlet: Outlet, stranger: bool) -> Self {
        Self {
            agent,
            planned,
            outlet,
            stranger,
            greeted: OnceLock::new(),
            last: Mutex::new(Instant::now()),
            containers: Mutex::default(),
        }
    }

    /// The jobs are given up. An agent that was silent for longer than its procedures run is waiting for the server.
    fn jobs_unfinished(&self, longest: Duration) {
        let since = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + longest;
        if since < Instant::now() {
            let method = Method::UpdateJobState;
            self.outlet
                .emit(Event::unanswered(method, since, ErrorKind::UNFINISHED));
        }
    }

    /// The check-in is given up: whichever request it was at has no answer.
    fn unfinished(&self) {
        let (method, since) = match self.greeted.get() {
            Some(greeted) => (Method::Update, *greeted),
            None => (Method::Hello, self.planned),
        };
        self.outlet
            .emit(Event::unanswered(method, since, ErrorKind::UNFINISHED));
    }

    fn expect(&self, jobs: &[Job]) {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.extend(jobs.iter().map(|job| (job.id.clone(), job.container_id.clone())));
    }
}

impl Observer for Watch {
    fn exchange(&self, exchange: &Exchange) {
        let Exchange {
            method,
            started,
            elapsed,
            outcome,
        } = exchange;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = *started + *elapsed;
        if self.stranger && matches!(outcome, ExchangeOutcome::Refused { .. }) {
            return;
        }
        let waited = match method {
            Method::Hello => {
                // A second hello within a check-in changes nothing.
                let _ = self.greeted.set(*started + *elapsed);
                started.saturating_duration_since(self.planned)
            }
            _ => Duration::ZERO,
        };
        self.outlet.emit(Event::Exchange {
            method: *method,
            started: *started,
            latency: waited + *elapsed,
            service: Some(*elapsed),
            error: ErrorKind::of(outcome),
        });
    }

    fn job(&self, event: &JobEvent) {
        let containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        self.outlet.emit(Event::Job {
            agent: self.agent,
            job: event.id.clone(),
            container: containers.get(&event.id).cloned().flatten(),
            step: JobStep::new(event.state, event.succeeded),
        });
    }
}
