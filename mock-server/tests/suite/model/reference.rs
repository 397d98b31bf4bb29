//! The server as the specification has it: plain data, and what each event makes of them.

use super::ops::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Age within which a password can be revoked, µs.
const REVOCABLE: u64 = 300_000_000;
/// Time after an update within which a forced one is refused, µs.
const PAUSE: u64 = 25_000_000;

/// Everything that a server knows.
#[derive(Debug)]
pub(super) struct Reference {
    /// µs.
    pub(super) now: u64,
    /// s.
    pub(super) interval: u64,
    pub(super) open: bool,
    /// By lower-case host name.
    pub(super) computers: BTreeMap<String, Computer>,
    pub(super) packages: BTreeMap<i64, Package>,
    pub(super) containers: BTreeMap<i64, Container>,
    pub(super) rules: BTreeMap<i64, Rule>,
    pub(super) jobs: BTreeMap<i64, Job>,
    /// (computer, package) by id.
    pub(super) installations: BTreeMap<i64, (i64, i64)>,
    pub(super) computer_groups: BTreeMap<i64, Group>,
    pub(super) package_groups: BTreeMap<i64, Group>,
    pub(super) policies: BTreeMap<Option<i64>, BTreeMap<String, i64>>,
    pub(super) event_rules: Vec<String>,
    pub(super) password_rules: Vec<PasswordRule>,
    /// What rules have ever wanted kept of an account beside its current password.
    pub(super) histories: Vec<(String, usize)>,
}

/// A computer.
#[derive(Debug, Default, Clone)]
pub(super) struct Computer {
    pub(super) id: i64,
    /// Agent key and server key.
    pub(super) keys: Option<(String, String)>,
    /// Whether its last hello was of an agent before 1.1.7.
    pub(super) keyed: bool,
    /// Of the last hello, in 1/10000 s.
    pub(super) timestamp: u64,
    pub(super) last_update: Option<u64>,
    pub(super) force_update: bool,
    pub(super) os: Option<String>,
    pub(super) service: Option<u8>,
    pub(super) events: BTreeSet<u8>,
    /// (account, password, when), in the order of their storing, without those revoked.
    pub(super) passwords: Vec<(String, String, u64)>,
}

#[derive(Debug, Clone)]
pub(super) struct Package {
    pub(super) family: u8,
    pub(super) codes: &'static str,
    pub(super) file: bool,
    pub(super) upgrade: u8,
    pub(super) os: String,
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) priority: i64,
    pub(super) abort: bool,
    pub(super) start: u64,
    pub(super) end: Option<u64>,
    pub(super) allows: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) computers: i64,
    pub(super) packages: i64,
    pub(super) priority: i64,
    pub(super) abort: bool,
    pub(super) enabled: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) parent: Option<i64>,
    /// With their positions.
    pub(super) members: Vec<(i64, usize)>,
}

impl Group {
    pub(super) fn has(&self, member: i64) -> bool {
        self.members.iter().any(|(one, _)| *one == member)
    }

    /// Puts a member behind the others, or takes it out.
    pub(super) fn change(&mut self, member: i64, belongs: bool) {
        let last = self.members.last().map_or(0, |(_, position)| *position);
        match (belongs, self.has(member)) {
            (true, false) => self.members.push((member, last + 1)),
            (false, true) => self.members.retain(|(one, _)| *one != member),
            _ => {}
        }
    }
}

/// What has a job done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Rule(i64),
    Container(i64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) owner: Owner,
    pub(super) computer: i64,
    pub(super) package: i64,
    pub(super) position: usize,
    pub(super) uninstall: bool,
    pub(super) codes: &'static str,
    /// By its name in the REST surface.
    pub(super) state: &'static str,
    pub(super) code: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct PasswordRule {
    pub(super) account: String,
    pub(super) group: Option<i64>,
    /// s.
    pub(super) valid_for: u64,
    pub(super) history: Option<usize>,
}

impl Job {
    pub(super) fn is_active(&self) -> bool {
        ["pending", "downloading", "executing"].contains(&self.state)
    }

    /// Whether there is something to download for it.
    pub(super) fn download(&self, reference: &Reference) -> bool {
        !self.uninstall && reference.packages[&self.package].file
    }
}

impl Reference {
    pub(super) fn new(now: u64, interval: u64) -> Self {
        Self {
            now,
            interval,
            open: true,
            computers: BTreeMap::new(),
            packages: BTreeMap::new(),
            containers: BTreeMap::new(),
            rules: BTreeMap::new(),
            jobs: BTreeMap::new(),
            installations: BTreeMap::new(),
            computer_groups: BTreeMap::new(),
            package_groups: BTreeMap::new(),
            policies: BTreeMap::new(),
            event_rules: Vec::new(),
            password_rules: Vec::new(),
            histories: Vec::new(),
        }
    }

    pub(super) fn groups(&mut self, kind: Kind) -> &mut BTreeMap<i64, Group> {
        match kind {
            Kind::Computers => &mut self.computer_groups,
            Kind::Packages => &mut self.package_groups,
        }
    }

    pub(super) fn is_installed(&self, computer: i64, package: i64) -> bool {
        self.installations.values().any(|one| *one == (computer, package))
    }

    /// Jobs that nobody began before the end of their container have expired.
    pub(super) fn expire(&mut self) {
        for job in self.jobs.values_mut().filter(|job| job.state == "pending") {
            if let Owner::Container(id) = job.owner
                && self.containers[&id].end.is_some_and(|end| end <= self.now)
            {
                job.state = "expired";
            }
        }
    }

    /// Whether a job may be worked on now, and whether it is sent.
    fn is_due(&self, job: &Job) -> (bool, bool) {
        match job.owner {
            Owner::Rule(id) => (self.rules[&id].enabled, self.rules[&id].enabled),
            Owner::Container(id) => {
                let container = &self.containers[&id];
                let due = container.start <= self.now && container.end.is_none_or(|end| end > self.now);
                (due, due && container.allows)
            }
        }
    }

    /// The jobs that a computer is sent, with what their order depends on: rules before containers, the higher priority
    /// first, the earlier start first.
    pub(super) fn sent_jobs(&self, computer: i64) -> BTreeMap<i64, (bool, i64, u64)> {
        let active = self
            .jobs
            .iter()
            .filter(|(_, job)| job.computer == computer && job.is_active());
        let sent = active.filter(|(_, job)| self.is_due(job).1);
        sent.map(|(id, job)| {
            let rank = match job.owner {
                Owner::Rule(id) => (false, -self.rules[&id].priority, 0),
                Owner::Container(id) => (true, -self.containers[&id].priority, self.containers[&id].start),
            };
            (*id, rank)
        })
        .collect()
    }

    pub(super) fn may_download(&self, computer: i64, package: i64) -> bool {
        let mut jobs = self.jobs.values();
        jobs.any(|job| {
            (job.computer, job.package) == (computer, package) && job.is_active() && self.is_due(job).0
        })
    }

    pub(super) fn wants_update(&self, computer: &Computer, asked: bool) -> bool {
        let old = |last: u64| self.now - last >= self.interval * 1_000_000;
        asked || computer.force_update || computer.last_update.is_none_or(old)
    }

    pub(super) fn refuses_update(&self, computer: &Computer) -> bool {
        computer.force_update && computer.last_update.is_some_and(|last| self.now - last < PAUSE)
    }

    /// What a report makes of a job: whether it has succeeded.
    pub(super) fn report(&mut self, id: i64, state: i64, code: Option<i64>) -> bool {
        let job = self.jobs.get_mut(&id).unwrap();
        let listed = |code: i64| job.codes.split(',').any(|one| one.parse() == Ok(code));
        job.state = match state {
            1 => "downloading",
            2 => "executing",
            3 if job.codes.is_empty() || code.is_some_and(listed) => "succeeded",
            _ => "failed",
        };
        job.code = code;
        let job = job.clone();
        match job.state {
            "failed" => self.abort_rest(id, &job),
            "succeeded" => self.installed(&job),
            _ => {}
        }
        job.state == "succeeded"
    }

    fn abort_rest(&mut self, id: i64, failed: &Job) {
        let aborts = match failed.owner {
            Owner::Rule(id) => self.rules[&id].abort,
            Owner::Container(id) => self.containers[&id].abort,
        };
        for (other, job) in self.jobs.iter_mut().filter(|_| aborts) {
            let later = (job.position, *other) > (failed.position, id);
            if (job.owner, job.computer) == (failed.owner, failed.computer) && later && job.is_active() {
                (job.state, job.code) = ("failed", Some(-8888));
            }
        }
    }

    fn installed(&mut self, job: &Job) {
        let here = (job.computer, job.package);
        if job.uninstall {
            self.installations.retain(|_, one| *one != here);
            return;
        }
        let package = self.packages[&job.package].clone();
        if package.upgrade == 1 {
            let packages = &self.packages;
            self.installations.retain(|_, (computer, other)| {
                *computer != job.computer || *other == job.package || packages[other].family != package.family
            });
        }
        if !self.is_installed(job.computer, job.package) {
            // The server's number for it is not known yet.
            let id = self
                .installations
                .keys()
                .next()
                .map_or(-1, |least| least.min(&0) - 1);
            self.installations.insert(id, here);
        }
    }

    /// The state in which a new job begins.
    pub(super) fn first_state(&self, computer: i64, package: i64, again: bool) -> &'static str {
        let wanted = &self.packages[&package].os;
        let os = self.computer(computer).os.as_ref();
        if !wanted.is_empty() && os.is_some_and(|os| os.to_lowercase() != wanted.to_lowercase()) {
            "incompatible"
        } else if !again && self.is_installed(computer, package) {
            "already-installed"
        } else {
            "pending"
        }
    }

    pub(super) fn computer(&self, id: i64) -> &Computer {
        self.computers
            .values()
            .find(|computer| computer.id == id)
            .unwrap()
    }

    /// The jobs that deployment rules want and that are not there. Those that wait and are wanted no more go.
    pub(super) fn apply_rules(&mut self) -> Vec<Job> {
        let (rules, computers, packages) = (&self.rules, &self.computer_groups, &self.package_groups);
        self.jobs.retain(|_, job| match job.owner {
            Owner::Rule(id) if job.state == "pending" => {
                computers[&rules[&id].computers].has(job.computer)
                    && packages[&rules[&id].packages].has(job.package)
            }
            _ => true,
        });
        let mut wanted = Vec::new();
        for (id, rule) in self.rules.iter().filter(|(_, rule)| rule.enabled) {
            for (computer, _) in &self.computer_groups[&rule.computers].members {
                for (package, position) in &self.package_groups[&rule.packages].members {
                    let there = self.jobs.values().any(|job| {
                        (job.owner, job.computer, job.package) == (Owner::Rule(*id), *computer, *package)
                    });
                    if !there && !self.is_installed(*computer, *package) {
                        wanted.push(self.new_job(Owner::Rule(*id), *computer, *package, *position, true));
                    }
                }
            }
        }
        wanted
    }

    pub(super) fn new_job(
        &self,
        owner: Owner,
        computer: i64,
        package: i64,
        position: usize,
        again: bool,
    ) -> Job {
        Job {
            owner,
            computer,
            package,
            position,
            uninstall: false,
            codes: self.packages[&package].codes,
            state: self.first_state(computer, package, again),
            code: None,
        }
    }

    /// A group and those above it, the topmost first.
    fn lineage(&self, group: i64) -> Vec<i64> {
        let mut lineage = vec![group];
        while let Some(parent) = self.computer_groups[&lineage[0]].parent {
            lineage.insert(0, parent);
        }
        lineage
    }

    fn groups_of(&self, computer: i64) -> impl Iterator<Item = i64> {
        let groups = self.computer_groups.iter();
        groups
            .filter(move |(_, group)| group.has(computer))
            .map(|(id, _)| *id)
    }

    /// The policies of a computer: those for all, then those of its groups, the nearer ones over the others.
    pub(super) fn policies_of(&self, computer: i64) -> BTreeMap<String, i64> {
        let mut merged = self.policies.get(&None).cloned().unwrap_or_default();
        for group in self.groups_of(computer) {
            for group in self.lineage(group) {
                merged.extend(self.policies.get(&Some(group)).cloned().unwrap_or_default());
            }
        }
        merged
    }

    /// The password rules of a computer: of several for one account the first.
    pub(super) fn password_rules_of(&self, computer: i64) -> Vec<&PasswordRule> {
        let within: BTreeSet<i64> = self
            .groups_of(computer)
            .flat_map(|group| self.lineage(group))
            .collect();
        let mut rules: Vec<&PasswordRule> = Vec::new();
        for rule in &self.password_rules {
            let holds = rule.group.is_none_or(|group| within.contains(&group));
            if holds && rules.iter().all(|other| other.account != rule.account) {
                rules.push(rule);
            }
        }
        rules
    }

    /// Accounts whose password is missing or too old.
    pub(super) fn due_passwords(&self, computer: &Computer) -> Vec<String> {
        let rules = self.password_rules_of(computer.id);
        let due = rules.into_iter().filter(|rule| {
            let last = computer
                .passwords
                .iter()
                .rfind(|(account, ..)| *account == rule.account);
            last.is_none_or(|(_, _, at)| self.now - at >= rule.valid_for * 1_000_000)
        });
        due.map(|rule| rule.account.clone()).collect()
    }

    /// Stores or revokes a password: whether anything happened.
    pub(super) fn password(&mut self, hostname: &str, account: &str, password: &str, revoke: bool) -> bool {
        let id = self.computers[hostname].id;
        if !self
            .password_rules_of(id)
            .iter()
            .any(|rule| rule.account == account)
        {
            return false;
        }
        let now = self.now;
        let passwords = &mut self.computers.get_mut(hostname).unwrap().passwords;
        let before = passwords.len();
        if revoke {
            passwords.retain(|(user, text, at)| {
                (user.as_str(), text.as_str()) != (account, password) || now - at >= REVOCABLE
            });
        } else {
            passwords.push((account.to_owned(), password.to_owned(), now));
        }
        passwords.len() != before
    }

    /// How many passwords of an account are always there: the current one and the shortest history beside it.
    pub(super) fn kept_passwords(&self, account: &str) -> usize {
        let histories = self.histories.iter().filter(|(user, _)| user == account);
        histories
            .map(|(_, history)| *history)
            .min()
            .map_or(usize::MAX, |history| history + 1)
    }

    pub(super) fn remove_computer(&mut self, hostname: &str) {
        let id = self.computers.remove(hostname).unwrap().id;
        self.jobs.retain(|_, job| job.computer != id);
        self.installations.retain(|_, (computer, _)| *computer != id);
        for group in self.computer_groups.values_mut() {
            group.change(id, false);
        }
    }

    pub(super) fn remove_package(&mut self, id: i64) {
        self.packages.remove(&id);
        self.jobs.retain(|_, job| job.package != id);
        self.installations.retain(|_, (_, package)| *package != id);
        for group in self.package_groups.values_mut() {
            group.change(id, false);
        }
    }

    /// Removes a group with those in it, and with what was about them.
    pub(super) fn remove_group(&mut self, kind: Kind, id: i64) {
        let groups = self.groups(kind);
        groups.remove(&id);
        let inside: Vec<i64> = groups
            .iter()
            .filter(|(_, group)| group.parent == Some(id))
            .map(|(id, _)| *id)
            .collect();
        self.rules.retain(|_, rule| match kind {
            Kind::Computers => rule.computers != id,
            Kind::Packages => rule.packages != id,
        });
        let rules = &self.rules;
        self.jobs
            .retain(|_, job| !matches!(job.owner, Owner::Rule(id) if !rules.contains_key(&id)));
        if kind == Kind::Computers {
            self.policies.remove(&Some(id));
            self.password_rules.retain(|rule| rule.group != Some(id));
        }
        for group in inside {
            self.remove_group(kind, group);
        }
    }
}
