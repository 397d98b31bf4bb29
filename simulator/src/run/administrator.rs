//! The administrator: settings and packages before the run, everything else at its moment.

use super::RunError;
use super::faults::Faults;
use super::server::RunningServer;
use crate::admin::{Admin, AdminError, ClientApi, Deployed, Targets};
use crate::draw::{Purpose, generator};
use crate::event::{Event, Order, Sender};
use crate::lot::Lots;
use crate::scenario::{Deployment, Moment, Package, PasswordRule, PolicySet, Scenario};
use crate::stats::Snapshot;
use crate::virtual_agent::Site;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an administrator waits for a server that is away on purpose,
const PATIENCE: Duration = Duration::from_secs(600);
/// and between two attempts.
const RETRY: Duration = Duration::from_millis(250);

/// The administrator of a run, with the packages created.
pub(super) struct Administrator {
    scenario: Arc<Scenario>,
    means: Means,
    packages: BTreeMap<String, i64>,
    faults: Faults,
}

/// What the administrator works with.
#[derive(Debug, Clone, Default)]
struct Means {
    /// The client API, which every server has.
    client: Option<ClientApi>,
    /// A mock server's REST API.
    mock: Option<Admin>,
}

/// What the administrator needs to know of the run.
#[derive(Clone)]
struct Scene {
    site: Arc<Site>,
    start: Instant,
    snapshots: watch::Receiver<Snapshot>,
    events: Sender,
    targets: Targets,
}

impl Means {
    fn of(scenario: &Scenario, server: &RunningServer) -> Result<Self, RunError> {
        let mock_only = scenario.mock_only();
        if scenario.admin.is_empty() && mock_only.is_empty() {
            return Ok(Self::default());
        }
        let (url, ca) = (server.agent_url(), server.ca());
        let mock = server.api_key().map(|key| Admin::new(url, key.clone(), ca));
        let client = server.client_api();
        let client = client.map(|credentials| ClientApi::new(url, credentials.clone(), ca));
        let means = Self {
            client: client.transpose()?,
            mock: mock.transpose()?,
        };
        if means.mock.is_none() && !mock_only.is_empty() {
            return Err(RunError::NeedsMockServer {
                scenario: scenario.name.clone(),
                sections: mock_only.join(", "),
            });
        }
        if means.mock.is_none() && means.client.is_none() {
            return Err(RunError::NoAdministrator {
                scenario: scenario.name.clone(),
            });
        }
        Ok(means)
    }

    async fn package(
        &self,
        package: &Package,
        random: &mut impl rand::Rng,
    ) -> Result<Option<i64>, AdminError> {
        match (&self.client, &self.mock) {
            (Some(client), _) => client.package(package, random).await.map(Some),
            (None, Some(mock)) => mock.package(package, random).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    async fn deploy(
        &self,
        deployment: &Deployment,
        packages: &[i64],
        targets: &Targets,
    ) -> Result<Option<Deployed>, AdminError> {
        match (&self.client, &self.mock) {
            (Some(client), _) => client.deploy(deployment, packages, targets).await.map(Some),
            (None, Some(mock)) => mock.deploy(deployment, packages, targets).await.map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl Administrator {
    /// Changes the settings and creates the packages.
    pub(super) async fn prepare(scenario: &Arc<Scenario>, server: &RunningServer) -> Result<Self, RunError> {
        let means = Means::of(scenario, server)?;
        if let Some(mock) = &means.mock {
            mock.change_settings(scenario.admin.settings).await?;
        }
        let mut packages = BTreeMap::new();
        for (number, package) in (0..).zip(&scenario.admin.packages) {
            let mut random = generator(scenario.fleet.seed, Purpose::Package, number, 0);
            if let Some(id) = means.package(package, &mut random).await? {
                packages.insert(package.name.get_ref().clone(), id);
            }
        }
        Ok(Self {
            faults: Faults::new(scenario, means.mock.as_ref()),
            scenario: scenario.clone(),
            means,
            packages,
        })
    }

    /// A mock server's REST API, where there is one and the scenario needs it.
    pub(super) fn mock(&self) -> Option<&Admin> {
        self.means.mock.as_ref()
    }

    /// The faults that it asks for.
    pub(super) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Does everything at its moment; ends when all of it is done.
    pub(super) async fn act(
        self,
        site: Arc<Site>,
        embedded: bool,
        start: Instant,
        snapshots: watch::Receiver<Snapshot>,
        events: Sender,
    ) -> Result<(), AdminError> {
        // A server of somebody else may have other computers, which are none of this run's business, and adversaries
        // and copies may have registered ones that never run a job.
        let alone = embedded && self.scenario.adversary.is_empty() && self.scenario.churn.clone.is_none();
        let targets = match self.scenario.admin.deployments.is_empty() || alone {
            true => Targets::All,
            false => Targets::Named(site.clone().hostnames().await),
        };
        let scene = Scene {
            site,
            start,
            snapshots,
            events,
            targets,
        };
        let actions = self
            .deployments(&scene)
            .chain(self.rules(&scene))
            .chain(self.instruments(&scene));
        try_join_all(actions).await.map(drop)
    }

    fn deployments<'a>(
        &'a self,
        scene: &'a Scene,
    ) -> impl Iterator<Item = BoxFuture<'a, Result<(), AdminError>>> {
        let deployments = self.scenario.admin.deployments.iter().enumerate();
        deployments.map(move |(place, deployment)| {
            let action = async move {
                scene.wait(deployment.at).await;
                self.deploy(place, deployment, scene).await
            };
            action.boxed()
        })
    }

    fn rules<'a>(&'a self, scene: &'a Scene) -> impl Iterator<Item = BoxFuture<'a, Result<(), AdminError>>> {
        let admin = &self.scenario.admin;
        let policies = admin.policies.iter().enumerate().map(move |(place, policies)| {
            let action = async move {
                scene.wait(policies.at).await;
                self.set_policies(place, policies, scene).await
            };
            action.boxed()
        });
        let passwords = admin.password_rules.iter().enumerate().map(move |(place, rule)| {
            let action = async move {
                scene.wait(rule.at).await;
                self.add_password_rule(place, rule, scene).await
            };
            action.boxed()
        });
        policies.chain(passwords)
    }

    fn instruments<'a>(
        &'a self,
        scene: &'a Scene,
    ) -> impl Iterator<Item = BoxFuture<'a, Result<(), AdminError>>> {
        let faults = self.scenario.fault.iter().enumerate().map(move |(place, fault)| {
            let action = async move {
                scene.wait(fault.at).await;
                self.faults.commit(place, fault).await
            };
            action.boxed()
        });
        let events = self.scenario.admin.event_rules.iter().map(move |rule| {
            let action = async move {
                scene.wait(rule.at).await;
                match self.leader() {
                    Some(mock) => patiently(|| mock.add_event_rule(rule)).await,
                    None => Ok(()),
                }
            };
            action.boxed()
        });
        faults.chain(events)
    }

    /// Of a fleet's shards the first one does what must be done once.
    fn leader(&self) -> Option<&Admin> {
        let leads = self.scenario.fleet.shard.index() == 0;
        self.means.mock.as_ref().filter(|_| leads)
    }

    async fn deploy(&self, place: usize, deployment: &Deployment, scene: &Scene) -> Result<(), AdminError> {
        let names = deployment.packages.0.iter();
        let packages: Vec<_> = names
            .filter_map(|name| self.packages.get(name.get_ref()).copied())
            .collect();
        let at = Instant::now();
        let deployed = patiently(|| self.means.deploy(deployment, &packages, &scene.targets)).await?;
        let Some(deployed) = deployed else {
            return Ok(());
        };
        let each = u64::try_from(packages.len()).unwrap_or(1).max(1);
        let event = Event::Deployed {
            deployment: place,
            container: deployed.id,
            jobs: deployed.jobs,
            computers: deployed.computers.unwrap_or(deployed.jobs / each),
            at,
        };
        scene.events.send(event).await;
        Ok(())
    }

    async fn set_policies(
        &self,
        place: usize,
        policies: &PolicySet,
        scene: &Scene,
    ) -> Result<(), AdminError> {
        let scenario = &self.scenario;
        let concerned = |agent: &u32| {
            Lots(scenario).copy_of(*agent).is_none() && policies.concerns(scenario.os_of(*agent))
        };
        let of = scenario.fleet.own_agents().filter(concerned).count() as u64;
        let at = Instant::now();
        if let Some(mock) = self.leader() {
            patiently(|| mock.set_policies(policies)).await?;
        }
        scene.ordered(Order::Policies(place), of, at).await;
        Ok(())
    }

    async fn add_password_rule(
        &self,
        place: usize,
        rule: &PasswordRule,
        scene: &Scene,
    ) -> Result<(), AdminError> {
        let of = scene.site.clone().with_account(rule.username.clone()).await;
        let at = Instant::now();
        if let Some(mock) = self.leader() {
            patiently(|| mock.add_password_rule(rule)).await?;
        }
        scene.ordered(Order::Password(place), of, at).await;
        Ok(())
    }
}

impl Scene {
    async fn wait(&self, moment: Moment) {
        match moment {
            Moment::After(span) => tokio::time::sleep_until(self.start + span.0).await,
            Moment::AllRegistered => {
                let all = |snapshot: &Snapshot| snapshot.agents > 0 && snapshot.registered >= snapshot.agents;
                if self.snapshots.clone().wait_for(all).await.is_err() {
                    // Without a collector the run is over.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    async fn ordered(&self, order: Order, of: u64, at: Instant) {
        self.events.send(Event::Ordered { order, of, at }).await;
    }
}

/// Tries again while the server cannot be reached: a scenario may have it away when something is to be done.
pub(super) async fn patiently<T, F: Future<Output = Result<T, AdminError>>>(
    mut action: impl FnMut() -> F,
) -> Result<T, AdminError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match action().await {
            Err(AdminError::Request { .. }) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            result => return result,
        }
    }
}
