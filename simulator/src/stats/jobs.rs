//! Software jobs as their agents report them.

use crate::event::JobStep;
use oco_protocol::lenient::Id;
use std::collections::HashMap;

/// Jobs by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// Ordered, not started yet.
    pub waiting: u64,
    /// Being downloaded.
    pub downloading: u64,
    /// Running.
    pub executing: u64,
    /// Ended with success.
    pub succeeded: u64,
    /// Ended without.
    pub failed: u64,
    /// Steps of jobs that had ended before: nothing should run twice.
    pub repeated: u64,
}

impl JobCounts {
    /// Jobs that have ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Jobs that have not.
    pub fn pending(&self) -> u64 {
        self.waiting + self.downloading + self.executing
    }
}

/// Every job of every agent, by its last step.
#[derive(Debug, Default)]
pub struct JobBook {
    /// The last step of each, and its container: outcomes may come when the agent has long forgotten the order.
    steps: HashMap<(u32, Id), (JobStep, Option<Id>)>,
    counts: JobCounts,
    ordered: u64,
    /// Jobs that never run, as one before them has failed.
    aborted: u64,
    deployments: HashMap<Id, Progress>,
}

/// How far a deployment is.
#[derive(Debug, Default)]
struct Progress {
    computers: u64,
    jobs_per_computer: u64,
    /// Whether a failed job fails those after it on the same computer.
    aborts: bool,
    /// Ended and succeeded jobs by agent.
    by_agent: HashMap<u32, (u64, u64)>,
    total: Standing,
}

/// How many computers are done, and how many jobs never run.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    finished: u64,
    succeeded: u64,
    aborted: u64,
}

impl Progress {
    /// Of a computer with so many ended and succeeded jobs.
    fn standing(&self, (ended, succeeded): (u64, u64)) -> Standing {
        let jobs = self.jobs_per_computer.max(1);
        let aborted = self.aborts && ended > succeeded;
        Standing {
            finished: u64::from(ended >= jobs || aborted),
            succeeded: u64::from(succeeded >= jobs),
            aborted: if aborted { jobs.saturating_sub(ended) } else { 0 },
        }
    }

    /// A job of an agent has ended.
    fn ended(&mut self, agent: u32, with_success: bool) {
        let counts = self.by_agent.entry(agent).or_default();
        let before = *counts;
        counts.0 += 1;
        counts.1 += u64::from(with_success);
        let after = *counts;
        let (before, after) = (self.standing(before), self.standing(after));
        let moved = |total: u64, before: u64, after: u64| (total + after).saturating_sub(before);
        self.total = Standing {
            finished: moved(self.total.finished, before.finished, after.finished),
            succeeded: moved(self.total.succeeded, before.succeeded, after.succeeded),
            aborted: moved(self.total.aborted, before.aborted, after.aborted),
        };
    }

    /// What a computer has to do is another now.
    fn recount(&mut self) {
        let standings = self.by_agent.values().map(|counts| self.standing(*counts));
        self.total = standings.fold(Standing::default(), |sum, one| Standing {
            finished: sum.finished + one.finished,
            succeeded: sum.succeeded + one.succeeded,
            aborted: sum.aborted + one.aborted,
        });
    }
}

impl JobBook {
    /// Takes in a step of a job.
    pub fn step(&mut self, agent: u32, job: Id, container: Option<&Id>, step: JobStep) {
        let before = self.steps.get(&(agent, job.clone())).cloned();
        let (before, known) = before.map_or((None, None), |(step, container)| (Some(step), container));
        if matches!(before, Some(JobStep::Ended { .. })) {
            self.counts.repeated += 1;
            return;
        }
        if let Some(before) = before {
            *self.count_of(before) -= 1;
        }
        *self.count_of(step) += 1;
        let container = container.cloned().or(known);
        self.steps.insert((agent, job), (step, container.clone()));
        if let (JobStep::Ended { succeeded }, Some(container)) = (step, container) {
            self.change(container, |progress| progress.ended(agent, succeeded));
        }
    }

    /// In this deployment a failed job fails those after it on the same computer.
    pub fn aborts(&mut self, container: &Id) {
        self.change(container.clone(), |progress| {
            progress.aborts = true;
            progress.recount();
        });
    }

    fn change(&mut self, container: Id, change: impl FnOnce(&mut Progress)) {
        let progress = self.deployments.entry(container).or_default();
        let before = progress.total.aborted;
        change(progress);
        self.aborted = (self.aborted + progress.total.aborted).saturating_sub(before);
    }

    /// Takes in an order of `jobs` jobs on `computers` computers. Agents may have reported some of them already.
    pub fn deployed(&mut self, container: &Id, jobs: u64, computers: u64) {
        self.ordered += jobs;
        self.change(container.clone(), |progress| {
            progress.computers = computers;
            progress.jobs_per_computer = jobs / computers.max(1);
            progress.recount();
        });
    }

    /// Jobs by state.
    pub fn counts(&self) -> JobCounts {
        let known = self.counts.pending() + self.counts.ended() + self.aborted;
        JobCounts {
            waiting: self.ordered.saturating_sub(known),
            failed: self.counts.failed + self.aborted,
            ..self.counts
        }
    }

    /// On how many computers, of how many, a deployment has ended; only with success if that is asked for.
    pub fn computers_done(&self, container: &Id, with_success: bool) -> (u64, u64) {
        let Some(progress) = self.deployments.get(container) else {
            return (0, 0);
        };
        let total = progress.total;
        let agents = if with_success {
            total.succeeded
        } else {
            total.finished
        };
        (agents, progress.computers)
    }

    fn count_of(&mut self, step: JobStep) -> &mut u64 {
        match step {
            JobStep::Downloading => &mut self.counts.downloading,
            JobStep::Executing => &mut self.counts.executing,
            JobStep::Ended { succeeded: true } => &mut self.counts.succeeded,
            JobStep::Ended { succeeded: false } => &mut self.counts.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: Id = Id::Number(9);
    const SUCCESS: JobStep = JobStep::Ended { succeeded: true };

    #[test]
    fn jobs_move_from_state_to_state_and_end_once() {
        let mut book = JobBook::default();
        book.deployed(&CONTAINER, 2, 2);
        for step in [JobStep::Downloading, JobStep::Executing, JobStep::Executing] {
            book.step(0, Id::Number(1), Some(&CONTAINER), step);
        }
        assert_eq!(
            book.counts(),
            JobCounts {
                waiting: 1,
                executing: 1,
                ..JobCounts::default()
            }
        );
        book.step(0, Id::Number(1), Some(&CONTAINER), SUCCESS);
        book.step(0, Id::Number(1), Some(&CONTAINER), SUCCESS);
        book.step(
            1,
            Id::Number(2),
            Some(&CONTAINER),
            JobStep::Ended { succeeded: false },
        );
        assert_eq!(
            book.counts(),
            JobCounts {
                succeeded: 1,
                failed: 1,
                repeated: 1,
                ..JobCounts::default()
            }
        );
        assert_eq!(book.computers_done(&CONTAINER, false), (2, 2));
        assert_eq!(book.computers_done(&CONTAINER, true), (1, 2));
    }

    #[test]
    fn an_outcome_that_is_accepted_at_a_later_check_in_counts_for_its_deployment() {
        let mut book = JobBook::default();
        book.deployed(&CONTAINER, 1, 1);
        book.step(0, Id::Number(1), Some(&CONTAINER), JobStep::Executing);
        book.step(0, Id::Number(1), None, SUCCESS);
        assert_eq!(book.computers_done(&CONTAINER, true), (1, 1));
    }

    #[test]
    fn a_failure_ends_what_comes_after_it_where_the_deployment_says_so() {
        let mut book = JobBook::default();
        book.step(
            0,
            Id::Number(1),
            Some(&CONTAINER),
            JobStep::Ended { succeeded: false },
        );
        book.deployed(&CONTAINER, 6, 2);
        book.aborts(&CONTAINER);
        assert_eq!(book.computers_done(&CONTAINER, false), (1, 2));
        let counts = book.counts();
        assert_eq!((counts.failed, counts.pending()), (3, 3));
        for job in 4..=6 {
            book.step(1, Id::Number(job), Some(&CONTAINER), SUCCESS);
        }
        assert_eq!(book.computers_done(&CONTAINER, false), (2, 2));
        assert_eq!(book.computers_done(&CONTAINER, true), (1, 2));
        assert_eq!(book.counts().pending(), 0);
    }

    #[test]
    fn reports_before_the_order_is_known_count_all_the_same() {
        let mut book = JobBook::default();
        for job in 1..=2 {
            book.step(0, Id::Number(job), Some(&CONTAINER), SUCCESS);
        }
        book.step(1, Id::Number(3), Some(&CONTAINER), SUCCESS);
        book.deployed(&CONTAINER, 4, 2);
        assert_eq!(book.computers_done(&CONTAINER, true), (1, 2));
        assert_eq!(book.counts().pending(), 1);
    }
}
