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
    deployments: HashMap<Id, Progress>,
}

/// How far a deployment is.
#[derive(Debug, Default)]
struct Progress {
    computers: u64,
    jobs_per_computer: u64,
    /// Ended and succeeded jobs by agent.
    by_agent: HashMap<u32, (u64, u64)>,
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
            let progress = self.deployments.entry(container).or_default();
            let (ended, succeeded_jobs) = progress.by_agent.entry(agent).or_default();
            *ended += 1;
            *succeeded_jobs += u64::from(succeeded);
        }
    }

    /// Takes in an order of `jobs` jobs on `computers` computers. Agents may have reported some of them already.
    pub fn deployed(&mut self, container: &Id, jobs: u64, computers: u64) {
        self.ordered += jobs;
        let progress = self.deployments.entry(container.clone()).or_default();
        progress.computers = computers;
        progress.jobs_per_computer = jobs / computers.max(1);
    }

    /// Jobs by state.
    pub fn counts(&self) -> JobCounts {
        let known = self.counts.pending() + self.counts.ended();
        JobCounts {
            waiting: self.ordered.saturating_sub(known),
            ..self.counts
        }
    }

    /// On how many computers, of how many, a deployment has ended; only with success if that is asked for.
    pub fn computers_done(&self, container: &Id, with_success: bool) -> (u64, u64) {
        let Some(progress) = self.deployments.get(container) else {
            return (0, 0);
        };
        let done = |(ended, succeeded): &(u64, u64)| {
            let count = if with_success { *succeeded } else { *ended };
            count >= progress.jobs_per_computer.max(1)
        };
        let agents = progress.by_agent.values().filter(|counts| done(counts)).count();
        (agents as u64, progress.computers)
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
