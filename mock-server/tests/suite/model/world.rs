//! A server with its agents and the reference beside it, and what is compared after every step.

use super::ops::{AGENTS, Op, Pick};
use super::reference::{Job, Owner, Reference};
use super::wire::Wire;
use crate::support::{START, TestServer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const ADMIN: &str = "admin:admin";
/// s.
const INTERVAL: u64 = 600;

/// All of it.
pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) reference: Reference,
    pub(super) wires: Vec<Wire>,
    /// Jobs that there ever were, and those of rules among them.
    pub(super) jobs_seen: BTreeSet<i64>,
    pub(super) dynamic_jobs: BTreeSet<i64>,
    pub(super) packages_seen: BTreeSet<i64>,
    /// Names of versions that were used.
    pub(super) versions: usize,
}

impl World {
    pub(super) async fn new() -> Self {
        let server = TestServer::start_with(|config| {
            config.update_interval = Some(std::time::Duration::from_secs(INTERVAL));
        })
        .await;
        Self {
            server,
            reference: Reference::new(START * 1_000_000, INTERVAL),
            wires: (0..AGENTS).map(Wire::new).collect(),
            jobs_seen: BTreeSet::new(),
            dynamic_jobs: BTreeSet::new(),
            packages_seen: BTreeSet::new(),
            versions: 0,
        }
    }

    /// Takes one step on both sides and compares them.
    pub(super) async fn step(&mut self, op: &Op) {
        self.reference.expire();
        match op {
            Op::Hello { .. }
            | Op::Update { .. }
            | Op::Report { .. }
            | Op::Download { .. }
            | Op::Events { .. }
            | Op::Passwords { .. } => self.agent(op).await,
            Op::Forward { seconds } => {
                self.server.clock.forward(*seconds);
                self.reference.now += seconds * 1_000_000;
            }
            _ => self.administer(op).await,
        }
        self.reference.expire();
        self.check_job_list(Vec::new()).await;
    }

    /// Compares all that can be asked for.
    pub(super) async fn finish(mut self) {
        self.learn_installations().await;
        let names: Vec<String> = self.reference.computers.keys().cloned().collect();
        let listed = self.server.get("/computers?limit=100").await;
        assert_eq!(listed["total"], names.len());
        for name in names {
            self.check_passwords(&name).await;
            let computer = &self.reference.computers[&name];
            let shown = self.server.get(&format!("/computers/{}", computer.id)).await;
            let service = &shown["inventory"]["services"][0]["details"];
            assert_eq!(
                *service,
                json!(computer.service.map(|n| format!("{n} %"))),
                "{shown}"
            );
            let events = self
                .server
                .get(&format!("/computers/{}/events", computer.id))
                .await;
            assert_eq!(events["events"].as_array().unwrap().len(), computer.events.len());
        }
        let findings = self.server.get("/conformance").await;
        assert!(findings["checked"].as_u64().is_some());
        self.server.stop().await;
    }

    /// The number of a computer.
    pub(super) async fn computer_id(&self, name: &str) -> i64 {
        let listed = self.server.get(&format!("/computers?hostname={name}")).await;
        listed["computers"][0]["id"]
            .as_i64()
            .expect("a computer of that name")
    }

    /// The list of jobs is what the reference has, and beside it `new` ones, which get their numbers here.
    pub(super) async fn check_job_list(&mut self, mut new: Vec<Job>) {
        let listed = self.server.get("/jobs?limit=1000").await;
        let rows = listed["jobs"].as_array().unwrap();
        let known: BTreeMap<i64, &Value> = rows
            .iter()
            .map(|row| (row["id"].as_i64().unwrap(), row))
            .collect();
        new.sort_by_key(|job| job.position);
        for (id, row) in &known {
            if self.reference.jobs.contains_key(id) {
                continue;
            }
            assert!(self.jobs_seen.insert(*id), "the number of job {id} is used again");
            let position = new.iter().position(|job| same(job, row));
            let position = position.unwrap_or_else(|| panic!("nobody ordered {row}; ordered: {new:?}"));
            let job = new.remove(position);
            if matches!(job.owner, Owner::Rule(_)) {
                self.dynamic_jobs.insert(*id);
            }
            self.reference.jobs.insert(*id, job);
        }
        assert!(new.is_empty(), "not ordered: {new:?}");
        for (id, job) in &self.reference.jobs {
            let row = known
                .get(id)
                .unwrap_or_else(|| panic!("job {id} is gone: {job:?}"));
            assert!(same(job, row), "{job:?} is listed as {row}");
        }
        self.reference.expire();
    }

    /// The passwords of a computer: all are acknowledged ones, the latest first, and none of the latest is missing.
    pub(super) async fn check_passwords(&self, name: &str) {
        let computer = &self.reference.computers[name];
        let shown = self
            .server
            .get(&format!("/computers/{}/passwords", computer.id))
            .await;
        let shown: Vec<(String, String)> = shown["passwords"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (text(&row["username"]), text(&row["password"])))
            .collect();
        let accounts: BTreeSet<&String> = computer.passwords.iter().map(|(account, ..)| account).collect();
        let mut found = 0;
        for account in accounts {
            let acknowledged: Vec<&String> = computer
                .passwords
                .iter()
                .rev()
                .filter(|(user, ..)| user == account)
                .map(|(_, password, _)| password)
                .collect();
            let shown: Vec<&String> = shown
                .iter()
                .filter(|(user, _)| user == account)
                .map(|(_, password)| password)
                .collect();
            let kept = self.reference.kept_passwords(account).min(acknowledged.len());
            assert!(shown.len() >= kept, "of {acknowledged:?} only {shown:?} are left");
            assert_eq!(shown[..], acknowledged[..shown.len()], "{account} of {name}");
            found += shown.len();
        }
        assert_eq!(found, shown.len(), "passwords that nobody stored: {shown:?}");
    }

    /// Compares installations, and learns the server's numbers for them.
    pub(super) async fn learn_installations(&mut self) {
        let mut learnt = BTreeMap::new();
        for computer in self.reference.computers.values() {
            let shown = self
                .server
                .client(ADMIN, "oco.computer.get", json!({"id": computer.id}))
                .await
                .unwrap();
            for row in shown["installed_packages"].as_array().unwrap() {
                learnt.insert(
                    row["id"].as_i64().unwrap(),
                    (computer.id, row["package_id"].as_i64().unwrap()),
                );
            }
        }
        let set = |map: &BTreeMap<i64, (i64, i64)>| map.values().copied().collect::<BTreeSet<_>>();
        assert_eq!(set(&learnt), set(&self.reference.installations), "installations");
        self.reference.installations = learnt;
    }

    /// A job that there is or was; or the number of none.
    pub(super) fn pick_job(&self, pick: Pick) -> i64 {
        pick_of(self.jobs_seen.iter().copied(), pick).unwrap_or(77)
    }

    /// A package that there is or was; or the number of none.
    pub(super) fn pick_package(&self, pick: Pick) -> i64 {
        pick_of(self.packages_seen.iter().copied(), pick).unwrap_or(77)
    }
}

/// One of some, counted around.
pub(super) fn pick_of<T>(from: impl Iterator<Item = T>, pick: Pick) -> Option<T> {
    let mut all: Vec<T> = from.collect();
    (!all.is_empty()).then(|| all.swap_remove(usize::from(pick) % all.len()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Whether a job is what a list shows.
fn same(job: &Job, row: &Value) -> bool {
    let (container, rule) = match job.owner {
        Owner::Container(id) => (json!(id), Value::Null),
        Owner::Rule(id) => (Value::Null, json!(id)),
    };
    row["container_id"] == container
        && row["rule_id"] == rule
        && row["computer_id"] == job.computer
        && row["package_id"] == job.package
        && row["uninstall"] == job.uninstall
        && row["state"] == job.state
        && row["return_code"] == json!(job.code)
}
