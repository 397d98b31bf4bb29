//! Convergences: what every agent has to reach, and when it was reached.

use crate::scenario::{Goal, Scenario};
use crate::stats::JobBook;
use oco_protocol::lenient::Id;
use std::time::Duration;

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convergence {
    /// Its name in the report.
    pub name: String,
    /// Time limit.
    pub within: Duration,
    /// Agents that are there.
    pub agents: u64,
    /// Of so many; 0 while the deployment has not been ordered.
    pub of: u64,
    /// When it began, after the start of the run; none: the deployment has not been ordered yet.
    pub began: Option<Duration>,
    /// When it was reached, after the start of the run.
    pub reached: Option<Duration>,
    goal: Goal,
    deployment: Option<usize>,
    container: Option<Id>,
}

impl Convergence {
    /// How long it took, once it is reached.
    pub fn took(&self) -> Option<Duration> {
        Some(self.reached?.saturating_sub(self.began?))
    }

    /// Whether it was reached in time.
    pub fn ok(&self) -> bool {
        self.took().is_some_and(|took| took <= self.within)
    }
}

/// Everything that is waited for.
#[derive(Debug)]
pub struct Convergences(Vec<Convergence>);

impl Convergences {
    /// Those of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let deployments = &scenario.admin.deployments;
        let index = |name: &str| {
            deployments
                .iter()
                .position(|deployment| deployment.name.get_ref() == name)
        };
        let convergences = scenario.convergence.iter().map(|convergence| {
            let goal = *convergence.goal.get_ref();
            let registered = goal == Goal::Registered;
            Convergence {
                name: convergence.name.clone(),
                within: convergence.within.0,
                agents: 0,
                of: if registered {
                    scenario.fleet.own_size().into()
                } else {
                    0
                },
                began: registered.then_some(Duration::ZERO),
                reached: None,
                goal,
                deployment: convergence
                    .deployment
                    .as_ref()
                    .and_then(|name| index(name.get_ref())),
                container: None,
            }
        });
        Self(convergences.collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Convergence> {
        self.0.iter()
    }

    /// Whether there is one, and every one is reached (in time or not).
    pub fn all_reached(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|convergence| convergence.reached.is_some())
    }

    /// A deployment was ordered at `at` after the start.
    pub fn deployed(&mut self, deployment: usize, container: &Id, at: Duration) {
        for convergence in self
            .0
            .iter_mut()
            .filter(|convergence| convergence.deployment == Some(deployment))
        {
            convergence.began = Some(at);
            convergence.container = Some(container.clone());
        }
    }

    /// Looks how far all of them are, at `at` after the start.
    pub fn look(&mut self, at: Duration, registered: u32, jobs: &JobBook) {
        for convergence in self
            .0
            .iter_mut()
            .filter(|convergence| convergence.reached.is_none())
        {
            let (agents, of) = match (&convergence.container, convergence.goal) {
                (_, Goal::Registered) => (registered.into(), convergence.of),
                (Some(container), goal) => jobs.computers_done(container, goal == Goal::Succeeded),
                (None, _) => continue,
            };
            (convergence.agents, convergence.of) = (agents, of);
            if agents >= of && of > 0 {
                convergence.reached = Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::JobStep;

    #[test]
    fn a_deployment_converges_when_its_last_computer_is_done() {
        let text = "description = \"\"\n[[admin.package]]\nname = \"p\"\nprocedure = \"true\"\n[[admin.deployment]]\n\
                    name = \"d\"\npackages = [\"p\"]\nat = 1\n[[convergence]]\nname = \"c\"\ngoal = \"finished\"\n\
                    deployment = \"d\"\nwithin = 5";
        let mut convergences = Convergences::new(&Scenario::parse("x", "x", text).unwrap());
        let mut jobs = JobBook::default();
        convergences.look(Duration::from_secs(1), 0, &jobs);
        assert!(!convergences.all_reached());
        jobs.deployed(&Id::Number(1), 2, 2);
        convergences.deployed(0, &Id::Number(1), Duration::from_secs(2));
        for (agent, second) in [(0, 4), (1, 6)] {
            jobs.step(
                agent,
                Id::Number(agent.into()),
                Some(&Id::Number(1)),
                JobStep::Ended { succeeded: false },
            );
            convergences.look(Duration::from_secs(second), 0, &jobs);
        }
        let convergence = convergences.iter().next().unwrap();
        assert_eq!((convergence.agents, convergence.of), (2, 2));
        assert_eq!(convergence.took(), Some(Duration::from_secs(4)));
        assert!(convergence.ok() && convergences.all_reached());
    }

    #[test]
    fn late_is_reached_but_not_ok() {
        let text = "description = \"\"\n[fleet]\nsize = 1\n[[convergence]]\nname = \"c\"\ngoal = \"registered\"\nwithin = 5";
        let mut convergences = Convergences::new(&Scenario::parse("x", "x", text).unwrap());
        convergences.look(Duration::from_secs(6), 1, &JobBook::default());
        assert!(convergences.all_reached());
        assert!(!convergences.iter().next().unwrap().ok());
    }
}
