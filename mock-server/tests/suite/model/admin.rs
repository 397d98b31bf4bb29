//! What administrators do, over the client API and over REST, and what the reference makes of it.

use super::agents::{ACCOUNTS, SYSTEMS};
use super::ops::{By, Kind, Op, Pick, Window};
use super::reference::{Computer, Container, Group, Job, Owner, Package, PasswordRule, Rule};
use super::world::{ADMIN, World, pick_of};
use serde_json::{Value, json};

/// Success codes of packages.
const CODES: [&str; 3] = ["0", "0,3", ""];
/// A name that is not in the list is in no conflict.
const LOGS: [&str; 2] = ["System", "journalctl"];
const RANGES: [&[&str]; 3] = [&[], &["127.0.0.0/8"], &["!127.0.0.1/32", "0.0.0.0/0"]];

/// Error of the client API where something is in use.
const IN_USE: i64 = -32001;

impl World {
    /// Performs what an administrator does; what is about nothing does nothing.
    pub(super) async fn administer(&mut self, op: &Op) {
        match op.clone() {
            Op::Create { agent, by } => self.create_computer(agent, by).await,
            Op::Remove { agent, by, force } => self.remove_computer(agent, by, force).await,
            Op::Force { agent, on } => self.force_update(agent, on).await,
            Op::Package {
                family,
                codes,
                file,
                upgrade,
                os,
            } => {
                let os = SYSTEMS
                    .get(usize::from(os))
                    .copied()
                    .flatten()
                    .unwrap_or_default();
                let codes = CODES[usize::from(codes)];
                self.add_package(Package {
                    family,
                    codes,
                    file,
                    upgrade,
                    os: os.to_uppercase(),
                })
                .await;
            }
            Op::RemovePackage { package, by, force } => self.remove_package(package, by, force).await,
            Op::Deploy {
                by,
                packages,
                computers,
                priority,
                abort,
                again,
                window,
            } => {
                self.deploy(by, (&packages, &computers), (priority, abort, again), window)
                    .await;
            }
            Op::Uninstall { installation, abort } => self.uninstall(installation, abort).await,
            Op::RemoveContainer { container } => {
                let Some(id) = pick_of(self.reference.containers.keys().copied(), container) else {
                    return;
                };
                self.client("oco.job_container.remove", json!({"id": id})).await;
                self.reference.containers.remove(&id);
                self.reference
                    .jobs
                    .retain(|_, job| job.owner != Owner::Container(id));
            }
            Op::RemoveJob { job } => {
                let jobs = self.reference.jobs.iter();
                let jobs = jobs.filter(|(_, job)| matches!(job.owner, Owner::Container(_)));
                let Some(id) = pick_of(jobs.map(|(id, _)| *id), job) else {
                    return;
                };
                self.client("oco.job_container.job.remove", json!({"id": id}))
                    .await;
                self.reference.jobs.remove(&id);
            }
            Op::RemoveInstallation { installation } => self.forget_installation(installation).await,
            Op::Settings { interval, open } => self.change_settings(interval, open).await,
            _ => self.set_up(op).await,
        }
    }

    /// Groups, rules and policies.
    async fn set_up(&mut self, op: &Op) {
        match op.clone() {
            Op::Group { kind, parent } => {
                let parent =
                    parent.and_then(|pick| pick_of(self.reference.groups(kind).keys().copied(), pick));
                let id = self.server.group(kind.name(), "g", parent, &[]).await;
                self.reference.groups(kind).insert(
                    id,
                    Group {
                        parent,
                        ..Group::default()
                    },
                );
            }
            Op::RemoveGroup { kind, group } => {
                let Some(id) = pick_of(self.reference.groups(kind).keys().copied(), group) else {
                    return;
                };
                self.server
                    .change("DELETE", &format!("/groups/{}/{id}", kind.name()), None)
                    .await;
                self.reference.remove_group(kind, id);
            }
            Op::Member {
                kind,
                group,
                member,
                belongs,
            } => self.change_member(kind, group, member, belongs).await,
            Op::Rule {
                computers,
                packages,
                priority,
                abort,
                enabled,
            } => {
                let computers = pick_of(self.reference.computer_groups.keys().copied(), computers);
                let packages = pick_of(self.reference.package_groups.keys().copied(), packages);
                let (Some(computers), Some(packages)) = (computers, packages) else {
                    return;
                };
                let rule = json!({"name": "r", "computer_group": computers, "package_group": packages,
                    "priority": priority, "sequence_mode": u8::from(abort), "enabled": enabled});
                let id = self.server.create("/deployment-rules", rule).await["id"]
                    .as_i64()
                    .unwrap();
                let rule = Rule {
                    computers,
                    packages,
                    priority,
                    abort,
                    enabled,
                };
                self.reference.rules.insert(id, rule);
                self.apply_rules().await;
            }
            Op::Enable { rule, on } => {
                let Some(id) = pick_of(self.reference.rules.keys().copied(), rule) else {
                    return;
                };
                let path = format!("/deployment-rules/{id}");
                self.server
                    .change("PUT", &path, Some(json!({"enabled": on})))
                    .await;
                self.reference.rules.get_mut(&id).unwrap().enabled = on;
                self.apply_rules().await;
            }
            Op::Policies { owner, keys } => {
                let groups = self.reference.computer_groups.keys().copied();
                let owner = owner.and_then(|pick| pick_of(groups, pick));
                let path = owner.map_or("/policies".into(), |id| {
                    format!("/groups/computers/{id}/policies")
                });
                let policies = keys
                    .iter()
                    .map(|(key, value)| (format!("JSON:/p.json:{key}"), i64::from(*value)));
                let policies = policies.collect();
                self.server
                    .change("PUT", &path, Some(json!({"machine": policies})))
                    .await;
                self.reference.policies.insert(owner, policies);
            }
            Op::EventRule { log } => {
                let log = LOGS[usize::from(log)];
                self.server.create("/event-rules", json!({"log": log})).await;
                self.reference.event_rules.push(log.into());
            }
            Op::PasswordRule {
                account,
                group,
                valid_for,
                history,
            } => {
                let groups = self.reference.computer_groups.keys().copied();
                let group = group.and_then(|pick| pick_of(groups, pick));
                let account = ACCOUNTS[usize::from(account)].to_owned();
                self.add_password_rule(PasswordRule {
                    account,
                    group,
                    valid_for,
                    history,
                })
                .await;
            }
            _ => unreachable!("{op:?} is no administrator's"),
        }
    }

    async fn client(&self, method: &str, data: Value) -> Value {
        self.server.client(ADMIN, method, data).await.unwrap()
    }

    /// The jobs that rules make now are there.
    async fn apply_rules(&mut self) {
        let new = self.reference.apply_rules();
        self.check_job_list(new).await;
    }

    async fn create_computer(&mut self, agent: usize, by: By) {
        // In another letter case than the agent's.
        let name = self.wires[agent].hostname.to_lowercase();
        let known = self.reference.computers.contains_key(&name);
        let id = match by {
            By::Rest => {
                let (status, answer) = self
                    .server
                    .rest("POST", "/computers", Some(json!({"hostname": name})))
                    .await;
                assert_eq!(status, if known { 409 } else { 201 });
                answer["id"].as_i64()
            }
            By::Client => {
                let data = json!({"hostname": name, "notes": ""});
                let created = self.server.client(ADMIN, "oco.computer.create", data).await;
                assert_eq!(created.as_ref().err().copied(), known.then_some(-32001));
                created.ok().and_then(|created| number(&created["id"]))
            }
        };
        if !known {
            let id = id.unwrap();
            self.reference.computers.insert(
                name,
                Computer {
                    id,
                    ..Computer::default()
                },
            );
        }
    }

    async fn remove_computer(&mut self, agent: usize, by: By, force: bool) {
        let name = self.wires[agent].hostname.to_lowercase();
        let Some(computer) = self.reference.computers.get(&name) else {
            return;
        };
        let id = computer.id;
        let busy = self
            .reference
            .jobs
            .values()
            .any(|job| job.computer == id && job.is_active());
        match by {
            By::Rest => {
                self.server
                    .change("DELETE", &format!("/computers/{id}"), None)
                    .await;
            }
            By::Client => {
                let data = json!({"id": id, "force": force});
                let removed = self.server.client(ADMIN, "oco.computer.remove", data).await;
                let kept = busy && !force;
                assert_eq!(removed.err(), kept.then_some(IN_USE), "computer {id}");
                if kept {
                    return;
                }
            }
        }
        self.reference.remove_computer(&name);
    }

    async fn force_update(&mut self, agent: usize, on: bool) {
        let name = self.wires[agent].hostname.to_lowercase();
        if let Some(computer) = self.reference.computers.get_mut(&name) {
            let path = format!("/computers/{}", computer.id);
            self.server
                .change("PUT", &path, Some(json!({"force_update": on})))
                .await;
            computer.force_update = on;
        }
    }

    async fn add_package(&mut self, package: Package) {
        self.versions += 1;
        let files = if package.file {
            json!([{"name": "a", "content": "YQ=="}])
        } else {
            json!([])
        };
        let new = json!({"name": format!("family {}", package.family), "version": self.versions.to_string(),
            "procedure": "install", "success_codes": package.codes, "upgrade_behavior": package.upgrade,
            "uninstall_procedure": "uninstall", "compatible_os": package.os, "files": files});
        let id = self.server.create("/packages", new).await["id"].as_i64().unwrap();
        assert!(
            self.packages_seen.insert(id),
            "the number of package {id} is used again"
        );
        self.reference.packages.insert(id, package);
    }

    async fn remove_package(&mut self, package: Pick, by: By, force: bool) {
        let Some(id) = pick_of(self.reference.packages.keys().copied(), package) else {
            return;
        };
        let busy = self
            .reference
            .jobs
            .values()
            .any(|job| job.package == id && job.is_active())
            || self
                .reference
                .installations
                .values()
                .any(|(_, package)| *package == id);
        match by {
            By::Rest => {
                self.server
                    .change("DELETE", &format!("/packages/{id}"), None)
                    .await;
            }
            By::Client => {
                let data = json!({"id": id, "force": force});
                let removed = self.server.client(ADMIN, "oco.package.remove", data).await;
                let kept = busy && !force;
                assert_eq!(removed.err(), kept.then_some(IN_USE), "package {id}");
                if kept {
                    return;
                }
            }
        }
        self.reference.remove_package(id);
    }

    async fn deploy(
        &mut self,
        by: By,
        (packages, computers): (&[Pick], &[Pick]),
        (priority, abort, again): (i64, bool, bool),
        window: Window,
    ) {
        let all = self.reference.packages.keys();
        let packages = packages
            .iter()
            .filter_map(|pick| pick_of(all.clone().copied(), *pick));
        let mut packages: Vec<i64> = packages.collect();
        let all = self.reference.computers.values().map(|computer| computer.id);
        let computers = computers.iter().filter_map(|pick| pick_of(all.clone(), *pick));
        let mut computers: Vec<i64> = computers.collect();
        computers.sort_unstable();
        computers.dedup();
        packages.dedup();
        if packages.is_empty() || computers.is_empty() {
            return;
        }
        let now = self.reference.now;
        let start = now.checked_add_signed(window.start * 1_000_000).unwrap();
        let end = window
            .length
            .map(|length| start + length * 1_000_000)
            .filter(|_| by == By::Rest);
        let ranges = RANGES[usize::from(window.ranges)];
        let (id, start) = match by {
            By::Rest => {
                let deployment = json!({"name": "d", "packages": packages, "computers": computers,
                    "priority": priority, "sequence_mode": u8::from(abort), "agent_ip_ranges": ranges,
                    "force_install_same_version": again, "start": start / 1_000_000,
                    "end": end.map(|end| end / 1_000_000)});
                let created = self.server.create("/deployments", deployment).await;
                (created["id"].as_i64().unwrap(), start)
            }
            By::Client => {
                let data = json!({"name": "d", "package_ids": packages, "computer_ids": computers,
                    "priority": priority, "sequence_mode": u8::from(abort), "agent_ip_ranges": ranges,
                    "force_install_same_version": again});
                let created = self.client("oco.job_container.deploy", data).await;
                (number(&created["id"]).unwrap(), now)
            }
        };
        let container = Container {
            priority,
            abort,
            start,
            end,
            allows: window.ranges < 2,
        };
        self.reference.containers.insert(id, container);
        let mut new = Vec::new();
        for (position, package) in packages.iter().enumerate() {
            for computer in &computers {
                new.extend(self.replaced(Owner::Container(id), *computer, *package, position, again));
                new.push(
                    self.reference
                        .new_job(Owner::Container(id), *computer, *package, position, again),
                );
            }
        }
        self.reference.expire();
        expire_at_once(&mut new, end, now);
        self.check_job_list(new).await;
    }

    /// The jobs that remove other versions of a package before it is installed, where it wants that.
    fn replaced(&self, owner: Owner, computer: i64, package: i64, position: usize, again: bool) -> Vec<Job> {
        let known = &self.reference.packages[&package];
        let others = self.reference.installations.values().filter(|(on, other)| {
            *on == computer && *other != package && self.reference.packages[other].family == known.family
        });
        let jobs = others.filter(|_| known.upgrade == 2).map(|(_, other)| Job {
            package: *other,
            uninstall: true,
            codes: "0",
            ..self.reference.new_job(owner, computer, package, position, again)
        });
        jobs.collect()
    }

    async fn uninstall(&mut self, installation: Pick, abort: bool) {
        self.learn_installations().await;
        let Some(id) = pick_of(self.reference.installations.keys().copied(), installation) else {
            return;
        };
        let data = json!({"name": "u", "installation_ids": [id], "sequence_mode": u8::from(abort)});
        let created = self.client("oco.job_container.uninstall", data).await;
        let container = number(&created["id"]).unwrap();
        let start = self.reference.now;
        let with = Container {
            priority: 0,
            abort,
            start,
            end: None,
            allows: true,
        };
        self.reference.containers.insert(container, with);
        let (computer, package) = self.reference.installations[&id];
        let job = Job {
            uninstall: true,
            codes: "0",
            state: "pending",
            ..self
                .reference
                .new_job(Owner::Container(container), computer, package, 0, true)
        };
        self.check_job_list(vec![job]).await;
    }

    async fn forget_installation(&mut self, installation: Pick) {
        self.learn_installations().await;
        let Some(id) = pick_of(self.reference.installations.keys().copied(), installation) else {
            return;
        };
        self.client("oco.remove_installation_assignment", json!({"id": id}))
            .await;
        let (computer, package) = self.reference.installations.remove(&id).unwrap();
        // A rule that wants it there makes a new job.
        self.reference.jobs.retain(|_, job| {
            let about_it = (job.computer, job.package) == (computer, package);
            !(about_it && matches!(job.owner, Owner::Rule(_)) && !job.is_active())
        });
        self.apply_rules().await;
    }

    async fn change_member(&mut self, kind: Kind, group: Pick, member: Pick, belongs: bool) {
        let members: Vec<i64> = match kind {
            Kind::Computers => self
                .reference
                .computers
                .values()
                .map(|computer| computer.id)
                .collect(),
            Kind::Packages => self.reference.packages.keys().copied().collect(),
        };
        let group = pick_of(self.reference.groups(kind).keys().copied(), group);
        let (Some(group), Some(member)) = (group, pick_of(members.into_iter(), member)) else {
            return;
        };
        let path = format!("/groups/{}/{group}/members/{member}", kind.name());
        let method = if belongs { "PUT" } else { "DELETE" };
        self.server.change(method, &path, None).await;
        self.reference
            .groups(kind)
            .get_mut(&group)
            .unwrap()
            .change(member, belongs);
        self.apply_rules().await;
    }

    async fn add_password_rule(&mut self, rule: PasswordRule) {
        let new = json!({"username": rule.account, "alphabet": "ab", "length": 8, "valid_for": rule.valid_for,
            "computer_group": rule.group, "history": rule.history});
        let (status, answer) = self.server.rest("POST", "/password-rules", Some(new)).await;
        let mut others = self.reference.password_rules.iter();
        let again = others.any(|other| (&other.account, other.group) == (&rule.account, rule.group));
        assert_eq!(status, if again { 409 } else { 201 }, "{answer}");
        if !again {
            let account = rule.account.clone();
            self.reference
                .histories
                .extend(rule.history.map(|history| (account, history)));
            self.reference.password_rules.push(rule);
        }
    }

    async fn change_settings(&mut self, interval: Option<u64>, open: Option<bool>) {
        let mut change = json!({});
        if let Some(interval) = interval {
            change["update_interval"] = interval.into();
            self.reference.interval = interval;
        }
        if let Some(open) = open {
            change["self_registration"] = open.into();
            self.reference.open = open;
        }
        let (status, settings) = self.server.rest("PUT", "/settings", Some(change)).await;
        let expected =
            json!({"update_interval": self.reference.interval, "self_registration": self.reference.open});
        assert_eq!((status, settings), (200, expected));
    }
}

/// Jobs of a container that was over before it was made.
fn expire_at_once(jobs: &mut [Job], end: Option<u64>, now: u64) {
    for job in jobs
        .iter_mut()
        .filter(|job| job.state == "pending" && end.is_some_and(|end| end <= now))
    {
        job.state = "expired";
    }
}

/// A number, or a text of digits.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
