//! Faults on the server's side: asked for at their moments, taken back after their time, and counted at the end.

use super::administrator::patiently;
use crate::admin::{Admin, AdminError};
use crate::scenario::{Scenario, ServerFault};
use crate::verdict::FaultFigures;
use reqwest::StatusCode;
use std::sync::{Arc, Mutex, PoisonError};

/// The faults of a run.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    scenario: Arc<Scenario>,
    admin: Option<Admin>,
    states: Arc<Mutex<Vec<State>>>,
}

/// What has become of a fault.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Its moment has not come.
    Due,
    /// The server commits it, under this id.
    Added(i64),
    /// Taken back, after it was committed so often.
    Removed(u64),
}

impl Faults {
    /// Those of a scenario. Of a fleet's shards the first one asks for them.
    pub(super) fn new(scenario: &Arc<Scenario>, admin: Option<&Admin>) -> Self {
        let leads = scenario.fleet.shard.index() == 0;
        let states = vec![State::Due; scenario.fault.len()];
        Self {
            scenario: scenario.clone(),
            admin: admin.filter(|_| leads).cloned(),
            states: Arc::new(Mutex::new(states)),
        }
    }

    /// Has the server commit a fault for its time.
    pub(super) async fn commit(&self, place: usize, fault: &ServerFault) -> Result<(), AdminError> {
        let Some(admin) = &self.admin else {
            return Ok(());
        };
        let id = patiently(|| admin.add_fault(fault)).await?;
        self.set(place, State::Added(id));
        if let Some(lasts) = fault.lasts {
            tokio::time::sleep(lasts.0).await;
            self.take_back(admin, place, fault, id).await?;
        }
        Ok(())
    }

    async fn take_back(
        &self,
        admin: &Admin,
        place: usize,
        fault: &ServerFault,
        id: i64,
    ) -> Result<(), AdminError> {
        let committed = match patiently(|| admin.remove_fault(fault, id)).await {
            // An answer that was lost took the number with it.
            Err(AdminError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => fault.at_least.into(),
            committed => committed?,
        };
        self.set(place, State::Removed(committed));
        Ok(())
    }

    /// Takes back what is left at the end of the run; how often each fault was committed.
    pub(super) async fn finish(self) -> Result<Vec<FaultFigures>, AdminError> {
        let Some(admin) = &self.admin else {
            return Ok(Vec::new());
        };
        let mut figures = Vec::new();
        for (place, fault) in self.scenario.fault.iter().enumerate() {
            if let State::Added(id) = self.state(place) {
                self.take_back(admin, place, fault, id).await?;
            }
            let committed = match self.state(place) {
                State::Removed(committed) => committed,
                State::Due | State::Added(_) => 0,
            };
            figures.push(FaultFigures {
                name: fault.name.get_ref().clone(),
                committed,
                at_least: fault.at_least.into(),
            });
        }
        Ok(figures)
    }

    fn state(&self, place: usize) -> State {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.get(place).copied().unwrap_or(State::Due)
    }

    fn set(&self, place: usize, state: State) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = states.get_mut(place) {
            *slot = state;
        }
    }
}
