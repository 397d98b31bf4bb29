//! The daemon: check-ins at intervals until a signal, with jobs running beside them so that a long job never makes the
//! computer look offline.

use crate::agent::{Agent, CheckIn, CheckInError};
use crate::host::Host;
use crate::jobs::{JobsSummary, Ticket, with_causes};
use crate::pacing;
use oco_protocol::job::Job;
use oco_protocol::lenient::Id;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Checks in until `stop` is cancelled or a job wants the agent to end, then waits for the running job. No failure ends
/// it.
pub async fn run(agent: Arc<Agent>, host: Arc<dyn Host>, force_first: bool, stop: CancellationToken) {
    let queue = JobQueue::default();
    let (orders, received) = mpsc::unbounded_channel();
    // The caller's signal is left alone: whoever waits for it must not take a job's wish for one.
    let stop = stop.child_token();
    let worker = tokio::spawn(work(agent.clone(), queue.clone(), received, stop.clone()));
    let (mut failures, mut force) = (0, force_first);
    while !stop.is_cancelled() {
        // A registration that is under way is waited for: the server gives its keys out once.
        let registered = agent.is_registered().await;
        let result = tokio::select! {
            result = agent.check_in(force) => result,
            () = stop.cancelled(), if registered => break,
        };
        let CheckIn { jobs, ordered, .. } = log(result, &mut failures);
        force &= failures > 0;
        if agent.is_leaving() {
            break;
        }
        let new = queue.add(jobs);
        if !new.is_empty() && orders.send((new, ordered)).is_err() {
            tracing::error!("jobs can no longer be run: their worker has ended");
        }
        let pause = pacing::next_check_in(
            agent.config().query_interval,
            failures,
            pacing::chance(host.as_ref()),
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    stop.cancel();
    drop(orders);
    tracing::info!("stopping; a running job is let finish");
    if let Err(error) = worker.await {
        tracing::error!(%error, "the job worker ended early");
    }
    agent.settle().await;
}

/// Checks in once and runs the jobs that come of it.
pub async fn run_once(
    agent: &Agent,
    force_update: bool,
    stop: &CancellationToken,
) -> Result<JobsSummary, CheckInError> {
    let (check_in, failure) = match agent.check_in(force_update).await {
        Ok(check_in) => (check_in, None),
        // A failure in one part must not stop the others.
        Err(CheckInError::Update { source, check_in }) => {
            (check_in.clone(), Some(CheckInError::Update { source, check_in }))
        }
        Err(error) => return Err(error),
    };
    log_success(&check_in);
    let summary = agent
        .run_jobs(check_in.jobs, check_in.ordered, || stop.is_cancelled())
        .await;
    failure.map_or(Ok(summary), Err)
}

/// The jobs that wait or run. The server sends a job again until it has ended, so its id decides.
#[derive(Debug, Clone, Default)]
struct JobQueue(Arc<Mutex<HashSet<Id>>>);

impl JobQueue {
    /// Takes note of jobs and gives back those that are new, in their order.
    fn add(&self, jobs: Vec<Job>) -> Vec<Job> {
        let mut known = self.ids();
        jobs.into_iter()
            .filter(|job| known.insert(job.id.clone()))
            .collect()
    }

    /// Forgets jobs that have ended: what becomes of them when they are sent again, the journal decides.
    fn remove(&self, ids: &[Id]) {
        let mut known = self.ids();
        for id in ids {
            known.remove(id);
        }
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<Id>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(
    agent: Arc<Agent>,
    queue: JobQueue,
    mut orders: mpsc::UnboundedReceiver<(Vec<Job>, Ticket)>,
    stop: CancellationToken,
) {
    while let Some((jobs, ordered)) = orders.recv().await {
        let ids: Vec<Id> = jobs.iter().map(|job| job.id.clone()).collect();
        agent.run_jobs(jobs, ordered, || stop.is_cancelled()).await;
        queue.remove(&ids);
        if agent.is_leaving() {
            stop.cancel();
        }
    }
}

fn log(result: Result<CheckIn, CheckInError>, failures: &mut u32) -> CheckIn {
    match result {
        Ok(check_in) => {
            *failures = 0;
            log_success(&check_in);
            check_in
        }
        Err(CheckInError::Update { source, check_in }) => {
            // The hello got through: the computer is online, and stays so at its usual pace.
            *failures = 0;
            tracing::error!(error = %with_causes(&source), "checked in, but the inventory was not accepted");
            check_in
        }
        Err(CheckInError::Hello(error)) => {
            *failures = failures.saturating_add(1);
            tracing::error!(error = %with_causes(&error), failures = *failures, "check-in failed");
            CheckIn::default()
        }
    }
}

fn log_success(check_in: &CheckIn) {
    tracing::info!(
        registered = check_in.registered,
        inventory_sent = check_in.inventory_sent,
        jobs = check_in.jobs.len(),
        "checked in"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: i64) -> Job {
        serde_json::from_value(serde_json::json!({"id": id, "procedure": "x"})).unwrap()
    }

    #[test]
    fn a_job_that_is_sent_again_while_it_runs_is_not_queued_twice() {
        let queue = JobQueue::default();
        assert_eq!(queue.add(vec![job(1), job(2)]).len(), 2);
        assert_eq!(queue.add(vec![job(2), job(3)]), [job(3)]);
        queue.remove(&[Id::Text("2".into())]);
        assert_eq!(queue.add(vec![job(1), job(2), job(3)]), [job(2)]);
    }
}
