//! The administrator: packages before the run, deployments at their moments.

use super::server::RunningServer;
use super::{RunError, admin};
use crate::admin::{Admin, AdminError, Targets};
use crate::draw::{Purpose, generator};
use crate::event::{Event, Sender};
use crate::scenario::{Deployment, Moment, Scenario};
use crate::stats::Snapshot;
use crate::virtual_agent::Site;
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// The administrator of a run, with the packages created.
pub(super) struct Administrator {
    scenario: Arc<Scenario>,
    admin: Option<Admin>,
    packages: BTreeMap<String, i64>,
}

impl Administrator {
    /// Creates the packages.
    pub(super) async fn prepare(scenario: &Arc<Scenario>, server: &RunningServer) -> Result<Self, RunError> {
        let admin = admin(scenario, server.agent_url(), server.api_key())?;
        let mut packages = BTreeMap::new();
        if let Some(admin) = &admin {
            for (number, package) in (0..).zip(&scenario.admin.packages) {
                let mut random = generator(scenario.fleet.seed, Purpose::Package, number, 0);
                let id = admin.package(package, &mut random).await?;
                packages.insert(package.name.get_ref().clone(), id);
            }
        }
        Ok(Self {
            scenario: scenario.clone(),
            admin,
            packages,
        })
    }

    /// Makes every deployment at its moment; ends when all of them are made.
    pub(super) async fn act(
        self,
        site: Arc<Site>,
        embedded: bool,
        start: Instant,
        snapshots: watch::Receiver<Snapshot>,
        events: Sender,
    ) -> Result<(), AdminError> {
        let Some(admin) = &self.admin else {
            return Ok(());
        };
        // A server of somebody else may have other computers, which are none of this run's business.
        let targets = if embedded {
            Targets::All
        } else {
            Targets::Named(site.hostnames().await)
        };
        let deployments = self
            .scenario
            .admin
            .deployments
            .iter()
            .enumerate()
            .map(|(number, deployment)| {
                let (this, snapshots, targets, events) = (&self, snapshots.clone(), &targets, &events);
                async move {
                    wait(deployment.at, start, snapshots).await;
                    this.deploy(admin, number, deployment, targets, events).await
                }
            });
        try_join_all(deployments).await.map(drop)
    }

    async fn deploy(
        &self,
        admin: &Admin,
        number: usize,
        deployment: &Deployment,
        targets: &Targets,
        events: &Sender,
    ) -> Result<(), AdminError> {
        let names = deployment.packages.0.iter();
        let packages: Vec<_> = names
            .filter_map(|name| self.packages.get(name.get_ref()).copied())
            .collect();
        let at = Instant::now();
        let deployed = admin
            .deploy(deployment.name.get_ref(), &packages, targets)
            .await?;
        let computers = deployed.jobs / u64::try_from(packages.len()).unwrap_or(1).max(1);
        let event = Event::Deployed {
            deployment: number,
            container: deployed.id,
            jobs: deployed.jobs,
            computers,
            at,
        };
        events.send(event).await;
        Ok(())
    }
}

async fn wait(moment: Moment, start: Instant, mut snapshots: watch::Receiver<Snapshot>) {
    match moment {
        Moment::After(span) => tokio::time::sleep_until(start + span.0).await,
        Moment::AllRegistered => {
            let all = |snapshot: &Snapshot| snapshot.agents > 0 && snapshot.registered >= snapshot.agents;
            if snapshots.wait_for(all).await.is_err() {
                // Without a collector the run is over.
                std::future::pending::<()>().await;
            }
        }
    }
}
