//! Convergences: what every agent has to reach, and when it was reached.

use crate::event::Order;
use crate::lot::Lots;
use crate::scenario::{Goal, Scenario};
use crate::stats::JobBook;
use oco_protocol::lenient::Id;
use std::collections::HashSet;
use std::time::Duration;
use toml::Spanned;

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
    order: Option<Order>,
    complied: HashSet<u32>,
}

impl Convergence {
    /// How long it took, once it is reached.
    pub fn took(&self) -> Option<Duration> {
        Some(self.reached?.saturating_sub(self.began?))
    }

    /// How many of its agents are there, 0 to 1.
    #[allow(clippy::cast_precision_loss)] // numbers of agents
    pub fn share(&self) -> f64 {
        (self.agents as f64 / self.of.max(1) as f64).min(1.0)
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
        let convergences = scenario.convergence.iter().map(|convergence| {
            let goal = *convergence.goal.get_ref();
            let registered = goal == Goal::Registered;
            let (policies, rules) = (&scenario.admin.policies, &scenario.admin.password_rules);
            let policies = place(&convergence.policies, policies.iter().map(|one| &one.name));
            let rule = place(&convergence.password_rule, rules.iter().map(|one| &one.name));
            Convergence {
                name: convergence.name.clone(),
                within: convergence.within.0,
                agents: 0,
                of: if registered {
                    Lots(scenario).expected().into()
                } else {
                    0
                },
                began: registered.then_some(Duration::ZERO),
                reached: None,
                goal,
                deployment: place(&convergence.deployment, deployments.iter().map(|one| &one.name)),
                container: None,
                order: policies.map(Order::Policies).or(rule.map(Order::Password)),
                complied: HashSet::new(),
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

    /// Something that `of` agents can follow was ordered at `at` after the start.
    pub fn ordered(&mut self, order: Order, of: u64, at: Duration) {
        for convergence in self.0.iter_mut().filter(|one| one.order == Some(order)) {
            convergence.began = Some(at);
            convergence.of = of;
        }
    }

    /// An agent follows what was ordered.
    pub fn complied(&mut self, agent: u32, order: Order) {
        for convergence in self.0.iter_mut().filter(|one| one.order == Some(order)) {
            convergence.complied.insert(agent);
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
                (_, Goal::Applied | Goal::Rotated) => (convergence.complied.len() as u64, convergence.of),
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

/// Which of the scenario's things a convergence names.
fn place<'a>(
    name: &Option<Spanned<String>>,
    mut known: impl Iterator<Item = &'a Spanned<String>>,
) -> Option<usize> {
    let name = name.as_ref()?;
    known.position(|known| known.get_ref() == name.get_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::JobStep;

    #[test]
    fn policies_converge_when_everybody_who_can_follows_them() {
        let text = "description = \"\"\n[[admin.policies]]\nname = \"p\"\nat = 1\nmachine = { \"JSON:/x:y\" = 1 }\n\
                    [[convergence]]\nname = \"c\"\ngoal = \"applied\"\npolicies = \"p\"\nwithin = 5";
        let mut convergences = Convergences::new(&Scenario::parse("x", "x", text).unwrap());
        let (jobs, order) = (JobBook::default(), Order::Policies(0));
        let second = Duration::from_secs(1);
        convergences.look(second, 9, &jobs);
        convergences.ordered(order, 2, second);
        for (agent, after) in [(3, 2), (3, 3), (4, 4)] {
            assert!(!convergences.all_reached());
            convergences.complied(agent, order);
            convergences.complied(agent, Order::Password(0));
            convergences.look(second * after, 9, &jobs);
        }
        assert_eq!(convergences.iter().next().unwrap().took(), Some(second * 3));
    }

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
