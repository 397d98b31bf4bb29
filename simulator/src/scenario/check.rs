//! What types alone cannot say about a scenario: names that are unique, names that exist, limits that fit together.

use super::{Convergence, Goal, Scenario};
use toml::Spanned;

impl Scenario {
    /// What types alone cannot say. An error is an offset in the text and a message.
    pub(super) fn check(&self) -> Result<(), (usize, String)> {
        let mix = &self.fleet.os;
        if mix.linux == 0 && mix.macos == 0 && mix.windows == 0 {
            return Err((
                0,
                "fleet.os: at least one of linux, macos and windows must be above 0".to_owned(),
            ));
        }
        if self.jobs.shortest > *self.jobs.longest.get_ref() {
            let message = format!(
                "jobs.longest: {} is below jobs.shortest ({}): expected at least that",
                self.jobs.longest.get_ref(),
                self.jobs.shortest
            );
            return Err((self.jobs.longest.span().start, message));
        }
        unique(
            "admin.package",
            self.admin.packages.iter().map(|package| &package.name),
        )?;
        unique(
            "admin.deployment",
            self.admin.deployments.iter().map(|deployment| &deployment.name),
        )?;
        for deployment in &self.admin.deployments {
            for package in &deployment.packages.0 {
                let known = self.admin.packages.iter().map(|package| &package.name);
                refers("admin.deployment.packages", "package", package, known)?;
            }
        }
        self.convergence
            .iter()
            .try_for_each(|convergence| self.check_convergence(convergence))
    }

    fn check_convergence(&self, convergence: &Convergence) -> Result<(), (usize, String)> {
        let goal_at = convergence.goal.span().start;
        match (convergence.goal.get_ref(), &convergence.deployment) {
            (Goal::Registered, None) => Ok(()),
            (Goal::Registered, Some(deployment)) => Err((
                deployment.span().start,
                "convergence.deployment: the goal \"registered\" is not about a deployment".to_owned(),
            )),
            (_, None) => Err((
                goal_at,
                "convergence.deployment: the goals \"finished\" and \"succeeded\" need a deployment's name"
                    .to_owned(),
            )),
            (_, Some(deployment)) => {
                let known = self.admin.deployments.iter().map(|deployment| &deployment.name);
                refers("convergence.deployment", "deployment", deployment, known)
            }
        }
    }
}

fn unique<'a>(key: &str, names: impl Iterator<Item = &'a Spanned<String>>) -> Result<(), (usize, String)> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.get_ref().is_empty() {
            return Err((
                name.span().start,
                format!("{key}.name: expected a name, found an empty one"),
            ));
        }
        if !seen.insert(name.get_ref()) {
            let message = format!(
                "{key}.name: {:?} is there twice: expected each name once",
                name.get_ref()
            );
            return Err((name.span().start, message));
        }
    }
    Ok(())
}

fn refers<'a>(
    key: &str,
    kind: &str,
    name: &Spanned<String>,
    known: impl Iterator<Item = &'a Spanned<String>>,
) -> Result<(), (usize, String)> {
    let known: Vec<_> = known.map(|known| format!("{:?}", known.get_ref())).collect();
    let wanted = format!("{:?}", name.get_ref());
    if known.contains(&wanted) {
        return Ok(());
    }
    let accepted = if known.is_empty() {
        "the scenario has none".to_owned()
    } else {
        format!("expected {}", known.join(" or "))
    };
    Err((
        name.span().start,
        format!("{key}: no {kind} {wanted}: {accepted}"),
    ))
}
