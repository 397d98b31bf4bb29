//! What types alone cannot say about a scenario: names that are unique, names that exist, limits that fit together.

use super::{Clock, Convergence, Goal, Jobs, Package, PolicySet, Scenario, ServerFault};
use oco_agent::host::Os;
use std::collections::BTreeSet;
use toml::Spanned;

/// An offset in the text and a message.
type Wrong = (usize, String);

/// A value and where it stands.
fn wrong<T>(at: &Spanned<T>, message: impl Into<String>) -> Wrong {
    (at.span().start, message.into())
}

impl Scenario {
    /// What types alone cannot say. An error is an offset in the text and a message.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.check_fleet()?;
        check_jobs("jobs", &self.jobs)?;
        self.clock.iter().try_for_each(check_clock)?;
        self.check_shares()?;
        for offline in &self.offline {
            if let Some(every) = offline
                .every
                .as_ref()
                .filter(|every| *every.get_ref() <= offline.lasts)
            {
                let message = format!(
                    "offline.every: {} is not longer than offline.for ({}): expected more than that",
                    every.get_ref(),
                    offline.lasts
                );
                return Err(wrong(every, message));
            }
        }
        self.check_names()?;
        self.admin
            .packages
            .iter()
            .try_for_each(|package| self.check_package(package))?;
        for deployment in &self.admin.deployments {
            for package in &deployment.packages.0 {
                let known = self.admin.packages.iter().map(|package| &package.name);
                refers("admin.deployment.packages", "package", package, known)?;
            }
        }
        self.admin.policies.iter().try_for_each(check_policies)?;
        self.fault.iter().try_for_each(check_fault)?;
        self.convergence
            .iter()
            .try_for_each(|convergence| self.check_convergence(convergence))
    }

    fn check_fleet(&self) -> Result<(), Wrong> {
        let mix = &self.fleet.os;
        if mix.linux == 0 && mix.macos == 0 && mix.windows == 0 {
            let message = "fleet.os: at least one of linux, macos and windows must be above 0";
            return Err((0, message.to_owned()));
        }
        let generations = &self.fleet.generations;
        if generations.get_ref().signed == 0 && generations.get_ref().keyed == 0 {
            let message = "fleet.generations: expected signed or keyed to be above 0";
            return Err(wrong(generations, message));
        }
        let Some(hardware) = &self.fleet.hardware else {
            return Ok(());
        };
        for os in Os::ALL.into_iter().filter(|os| mix.weight(*os) > 0) {
            if hardware
                .get_ref()
                .kinds(os)
                .iter()
                .all(|(_, weight)| *weight == 0)
            {
                let kinds = match os {
                    Os::Linux => "laptop, desktop, server, virtual or board",
                    Os::MacOs => "laptop or desktop",
                    Os::Windows => "laptop, desktop, server or virtual",
                };
                let message = format!(
                    "fleet.hardware: there is nothing for {os} to run on: expected {kinds} to be above 0"
                );
                return Err(wrong(hardware, message));
            }
        }
        Ok(())
    }

    /// Each machine has one clock, and one lot.
    fn check_shares(&self) -> Result<(), Wrong> {
        let mut total = 0.0;
        for clock in &self.clock {
            total += clock.share.get_ref().0;
            if total > 1.0 + 1e-9 {
                let message = format!("clock.share: all of them together are {total}: expected at most 1");
                return Err(wrong(&clock.share, message));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Wrong> {
        let admin = &self.admin;
        let software = self.fleet.software.packages.iter().map(|package| &package.name);
        unique("fleet.software.package", software)?;
        unique(
            "admin.package",
            admin.packages.iter().map(|package| &package.name),
        )?;
        unique("admin.deployment", admin.deployments.iter().map(|one| &one.name))?;
        unique(
            "admin.policies",
            admin.policies.iter().map(|policies| &policies.name),
        )?;
        unique(
            "admin.event_rule",
            admin.event_rules.iter().map(|rule| &rule.name),
        )?;
        unique(
            "admin.password_rule",
            admin.password_rules.iter().map(|rule| &rule.name),
        )?;
        unique(
            "adversary",
            self.adversary.iter().map(|adversary| &adversary.name),
        )?;
        unique("fault", self.fault.iter().map(|fault| &fault.name))
    }

    fn check_package(&self, package: &Package) -> Result<(), Wrong> {
        check_jobs("admin.package.jobs", &self.jobs.of_package(&package.jobs))?;
        // What a machine sees of a job is its procedure.
        let same = self.admin.packages.iter().find(|other| {
            other.procedure.get_ref() == package.procedure.get_ref() && other.jobs != package.jobs
        });
        if let Some(other) = same {
            let message = format!(
                "admin.package.procedure: package {:?} has the same one and other jobs: expected a procedure of its own",
                other.name.get_ref()
            );
            return Err(wrong(&package.procedure, message));
        }
        Ok(())
    }

    fn check_convergence(&self, convergence: &Convergence) -> Result<(), Wrong> {
        let subjects = [
            ("deployment", &convergence.deployment),
            ("policies", &convergence.policies),
            ("password_rule", &convergence.password_rule),
        ];
        let goal = *convergence.goal.get_ref();
        let wanted = match goal {
            Goal::Registered => None,
            Goal::Finished | Goal::Succeeded => Some("deployment"),
            Goal::Applied => Some("policies"),
            Goal::Rotated => Some("password_rule"),
        };
        for (key, subject) in subjects {
            match subject {
                Some(subject) if wanted != Some(key) => {
                    let message = format!(
                        "convergence.{key}: the goal {:?} is not about that: expected {}",
                        goal.as_str(),
                        wanted.map_or_else(|| "none".to_owned(), |wanted| format!("convergence.{wanted}"))
                    );
                    return Err(wrong(subject, message));
                }
                None if wanted == Some(key) => {
                    let message = format!("convergence.{key}: the goal {:?} needs its name", goal.as_str());
                    return Err(wrong(&convergence.goal, message));
                }
                _ => {}
            }
        }
        let admin = &self.admin;
        if let Some(name) = &convergence.deployment {
            let known = admin.deployments.iter().map(|deployment| &deployment.name);
            refers("convergence.deployment", "deployment", name, known)?;
        }
        if let Some(name) = &convergence.policies {
            let known = admin.policies.iter().map(|policies| &policies.name);
            refers("convergence.policies", "policies", name, known)?;
            self.check_followers(name)?;
        }
        if let Some(name) = &convergence.password_rule {
            let known = admin.password_rules.iter().map(|rule| &rule.name);
            refers("convergence.password_rule", "password rule", name, known)?;
        }
        Ok(())
    }

    /// What no machine of the fleet can apply would be waited for in vain.
    fn check_followers(&self, name: &Spanned<String>) -> Result<(), Wrong> {
        let mut sets = self.admin.policies.iter();
        let set = sets.find(|set| set.name.get_ref() == name.get_ref());
        let systems = Os::ALL.into_iter().filter(|os| self.fleet.os.weight(*os) > 0);
        let systems: Vec<Os> = systems.collect();
        if set.is_none_or(|set| systems.iter().any(|os| set.concerns(*os))) {
            return Ok(());
        }
        let systems: Vec<String> = systems.iter().map(Os::to_string).collect();
        let message = format!(
            "convergence.policies: policies {:?} have nothing for the fleet's systems ({}): expected some that have",
            name.get_ref(),
            systems.join(", ")
        );
        Err(wrong(name, message))
    }
}

/// A set without policies takes back those before it.
fn check_policies(policies: &PolicySet) -> Result<(), Wrong> {
    let machine = &policies.machine;
    let Some((key, _)) = machine.get_ref().first_key_value() else {
        return Ok(());
    };
    if Os::ALL.into_iter().any(|os| policies.concerns(os)) {
        return Ok(());
    }
    let message = format!(
        "admin.policies.machine: {:?} has nothing for any system, such as {key:?}: expected keys such as \
         JSON:/etc/x.json:Name, JSON:C:\\x.json:Name, REGISTRY:Software\\X:Name or DEFAULTS:com.example.x:Name",
        policies.name.get_ref()
    );
    Err(wrong(machine, message))
}

fn check_jobs(key: &str, jobs: &Jobs) -> Result<(), Wrong> {
    if jobs.shortest > *jobs.longest.get_ref() {
        let message = format!(
            "{key}.longest: {} is below {key}.shortest ({}): expected at least that",
            jobs.longest.get_ref(),
            jobs.shortest
        );
        return Err(wrong(&jobs.longest, message));
    }
    Ok(())
}

fn check_clock(clock: &Clock) -> Result<(), Wrong> {
    if clock.ahead.is_some() == clock.behind.is_some() {
        let message = "clock: expected either ahead or behind, such as ahead = \"2h\"";
        return Err(wrong(&clock.share, message));
    }
    Ok(())
}

fn check_fault(fault: &ServerFault) -> Result<(), Wrong> {
    if fault.select.from.is_some() || fault.select.until.is_some() {
        let message = "fault.select: from and until are times of a clock: expected fault.at and fault.for";
        return Err(wrong(&fault.name, message));
    }
    fault
        .rule()
        .check()
        .map_err(|error| wrong(&fault.name, format!("fault {:?}: {error}", fault.name.get_ref())))
}

fn unique<'a>(key: &str, names: impl Iterator<Item = &'a Spanned<String>>) -> Result<(), Wrong> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.get_ref().is_empty() {
            return Err(wrong(
                name,
                format!("{key}.name: expected a name, found an empty one"),
            ));
        }
        if !seen.insert(name.get_ref()) {
            let message = format!(
                "{key}.name: {:?} is there twice: expected each name once",
                name.get_ref()
            );
            return Err(wrong(name, message));
        }
    }
    Ok(())
}

fn refers<'a>(
    key: &str,
    kind: &str,
    name: &Spanned<String>,
    known: impl Iterator<Item = &'a Spanned<String>>,
) -> Result<(), Wrong> {
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
    Err(wrong(name, format!("{key}: no {kind} {wanted}: {accepted}")))
}
