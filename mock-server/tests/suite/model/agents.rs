//! What agents do, what they have to be answered, and what the reference makes of it.

use super::ops::{Form, Op, Proof, Secret, Time};
use super::reference::{Computer, Owner};
use super::wire::{Wire, assert_phrase, assert_refused};
use super::world::World;
use crate::support::{REGISTRATION_KEY, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oco_protocol::Key;
use oco_protocol::password::EncryptedPassword;
use serde_json::{Value, json};
use std::collections::BTreeMap;

type Refused = (u16, &'static str);

const WRONG_SIGNATURE: Refused = (401, "Invalid agent signature");
const TOO_OLD: Refused = (401, "Agent timestamp too old");
const NO_SIGNATURE: Refused = (401, "Signature header missing");
const WRONG_KEY: Refused = (401, "Agent key mismatch");

pub(super) const SYSTEMS: [Option<&str>; 3] = [Some("Debian"), Some("Windows 11"), None];
pub(super) const ACCOUNTS: [&str; 2] = ["root", "admin"];

impl World {
    /// Performs what an agent does.
    pub(super) async fn agent(&mut self, op: &Op) {
        match *op {
            Op::Hello {
                agent,
                form,
                old,
                proof,
                time,
                force,
                service,
            } => {
                self.hello(agent, (form, old), (proof, time), (force, service))
                    .await;
            }
            Op::Update {
                agent,
                form,
                proof,
                os,
            } => self.update(agent, form, proof, os).await,
            Op::Report {
                agent,
                form,
                job,
                state,
                code,
            } => self.report(agent, form, job, (state, code)).await,
            Op::Download {
                agent,
                form,
                proof,
                package,
            } => self.download(agent, form, proof, package).await,
            Op::Events {
                agent,
                form,
                first,
                count,
            } => self.events(agent, form, first, count).await,
            Op::Passwords {
                agent,
                form,
                account,
                password,
                revoke,
                secret,
            } => {
                let password = (ACCOUNTS[usize::from(account)], format!("password {password}"));
                self.passwords(agent, form, (password.0, &password.1), revoke, secret)
                    .await;
            }
            _ => unreachable!("{op:?} is no agent's"),
        }
    }

    fn name(&self, agent: usize) -> String {
        self.wires[agent].hostname.to_lowercase()
    }

    fn known(&self, agent: usize) -> Option<&Computer> {
        self.reference.computers.get(&self.name(agent))
    }

    /// Whether a request is keyed, and whether it must be.
    fn form(&self, agent: usize, form: Form) -> (bool, bool) {
        let keyed = self
            .known(agent)
            .is_some_and(|computer| computer.keys.is_some() && computer.keyed);
        (keyed != (form == Form::Other), keyed)
    }

    /// Whether the server has to refuse any method but hello.
    fn refuses(&self, agent: usize, (keyed, must): (bool, bool), key: Option<&str>) -> Option<Refused> {
        let Some(computer) = self.known(agent) else {
            return Some((401, "Computer not found"));
        };
        let own = computer.keys.as_ref().map(|(agent, _)| agent.as_str());
        let right = own.is_some() && own == key && keyed == must;
        match must {
            _ if right => None,
            false if keyed || key.is_none() => Some(NO_SIGNATURE),
            false => Some(WRONG_SIGNATURE),
            true => Some(WRONG_KEY),
        }
    }

    /// Calls a method: `success` and `params` of the answer, if it is not to be refused before anything is looked at.
    async fn ask(&mut self, agent: usize, form: Form, proof: Proof, call: (&str, Value)) -> Option<Response> {
        let form = self.form(agent, form);
        let key = Wire::key_of(&self.wires, agent, proof);
        let expected = self.refuses(agent, form, key.as_deref());
        let wire = &mut self.wires[agent];
        let response = wire
            .call(&self.server, (form.0, key.as_deref()), Time::Newer, call)
            .await;
        self.assert_no_foreign_keys(agent, &response);
        if let Some(refused) = expected {
            assert_refused(&response, refused);
            return None;
        }
        Some(response)
    }

    fn accept(&mut self, agent: usize, response: &Response) -> (Value, Value) {
        let (keys, keyed) = self
            .known(agent)
            .map(|known| (known.keys.clone(), known.keyed))
            .unwrap();
        self.wires[agent].accept(response, keys.as_ref().map(|(_, server)| server.as_str()), keyed)
    }

    /// No answer has the keys of another computer in it.
    fn assert_no_foreign_keys(&self, agent: usize, response: &Response) {
        let text = response.text();
        let own = self.name(agent);
        for (name, computer) in self.reference.computers.iter().filter(|(name, _)| **name != own) {
            if let Some((agent_key, server_key)) = &computer.keys {
                assert!(
                    !text.contains(agent_key) && !text.contains(server_key),
                    "a key of {name}: {text}"
                );
            }
        }
    }

    /// Whether a hello is a registration; or how it has to be refused.
    fn standing(
        &self,
        agent: usize,
        (keyed, must): (bool, bool),
        key: Option<&str>,
    ) -> Result<bool, Refused> {
        let known = self.known(agent);
        let own = known
            .and_then(|computer| computer.keys.as_ref())
            .map(|(key, _)| key.as_str());
        if !must && (keyed || key.is_none()) {
            return Err(NO_SIGNATURE);
        }
        let proves = |wanted: &str| keyed == must && key == Some(wanted);
        match own {
            Some(own) if proves(own) => Ok(false),
            Some(_) if must => Err(WRONG_KEY),
            None if proves(REGISTRATION_KEY) && (known.is_some() || self.reference.open) => Ok(true),
            None if proves(REGISTRATION_KEY) => Err((401, "Client self-registration is disabled")),
            None if must => Err((401, "Agent registration key mismatch")),
            _ => Err(WRONG_SIGNATURE),
        }
    }

    async fn hello(
        &mut self,
        agent: usize,
        (form, old): (Form, bool),
        (proof, time): (Proof, Time),
        (force, service): (bool, Option<u8>),
    ) {
        let signed_before = self
            .known(agent)
            .is_some_and(|computer| computer.keys.is_some() && !computer.keyed);
        let must = old && !signed_before;
        let form = (must != (form == Form::Other), must);
        let key = Wire::key_of(&self.wires, agent, proof);
        let services = service.map(|n| json!([{"status": "0", "name": "disk", "details": format!("{n} %")}]));
        let version = if old { "0.13.8" } else { "1.2.0" };
        let data = json!({"agent_version": version, "networks": [], "services": services, "uptime": 5.5,
            "battery_level": false, "battery_status": false, "force_update": force});
        let standing = self.standing(agent, form, key.as_deref());
        let response = self.wires[agent]
            .call(&self.server, (form.0, key.as_deref()), time, ("hello", data))
            .await;
        self.assert_no_foreign_keys(agent, &response);
        let last = self.known(agent).map_or(0, |computer| computer.timestamp);
        let is_new = time != Time::Missing && self.wires[agent].timestamp > last;
        let registers = match standing {
            Ok(_) if !must && !is_new => return assert_refused(&response, TOO_OLD),
            Err(refused) => return assert_refused(&response, refused),
            Ok(registers) => registers,
        };
        let server_key = self.known(agent).and_then(|known| Some(known.keys.clone()?.1));
        let (_, params) = self.wires[agent].accept(&response, server_key.as_deref(), must);
        self.check_hello(agent, &params, force);
        self.welcome(
            agent,
            registers.then_some(&params),
            must || old,
            service,
            is_new && !old,
        )
        .await;
        if !registers {
            assert_eq!(params["agent-key"], Value::Null);
            assert!(must || params["server-key"].is_null(), "{params}");
        }
    }

    /// What the reference makes of a hello that was accepted.
    async fn welcome(
        &mut self,
        agent: usize,
        keys: Option<&Value>,
        keyed: bool,
        service: Option<u8>,
        timed: bool,
    ) {
        let name = self.name(agent);
        if self.known(agent).is_none() {
            let id = self.computer_id(&name).await;
            self.reference.computers.insert(
                name.clone(),
                Computer {
                    id,
                    ..Computer::default()
                },
            );
        }
        let timestamp = self.wires[agent].timestamp;
        let computer = self.reference.computers.get_mut(&name).unwrap();
        if let Some(params) = keys {
            let key = |name: &str| params[name].as_str().unwrap().to_owned();
            let keys = (key("agent-key"), key("server-key"));
            assert!(keys.0.len() == 30 && keys.1.len() == 30 && keys.0 != keys.1);
            self.wires[agent].key.clone_from(&keys.0);
            computer.keys = Some(keys);
        }
        computer.keyed = keyed;
        computer.timestamp = if timed { timestamp } else { 0 };
        computer.service = service.or(computer.service);
    }

    /// Compares the answer to a hello with what the reference knows.
    fn check_hello(&self, agent: usize, params: &Value, asked: bool) {
        let unknown = Computer {
            id: -1,
            ..Computer::default()
        };
        let computer = self.known(agent).unwrap_or(&unknown);
        let wanted = self.reference.wants_update(computer, asked);
        assert_eq!(params["update"], json!(u8::from(wanted)), "update");
        let jobs = params["software-jobs"].as_array().unwrap();
        self.check_jobs(&self.reference.sent_jobs(computer.id), jobs);
        let since = computer
            .events
            .last()
            .map_or_else(|| "1970-01-01 00:00:00".into(), |last| event_time(*last));
        let queries: Vec<_> = self
            .reference
            .event_rules
            .iter()
            .map(|log| json!({"since": since, "log": log, "query": ""}))
            .collect();
        assert_eq!(params["events"], json!(queries), "events");
        let accounts: Vec<_> = params["update-passwords"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["username"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            accounts,
            self.reference.due_passwords(computer),
            "passwords to rotate"
        );
    }

    fn check_jobs(&self, expected: &BTreeMap<i64, (bool, i64, u64)>, sent: &[Value]) {
        let ids: Vec<i64> = sent.iter().map(|job| self.job_number(&job["id"])).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            expected.keys().copied().collect::<Vec<_>>(),
            "jobs sent: {sent:?}"
        );
        for pair in ids.windows(2) {
            let (first, second) = (expected[&pair[0]], expected[&pair[1]]);
            assert!(
                first <= second,
                "job {} before {}: {first:?} {second:?}",
                pair[0],
                pair[1]
            );
            let (one, other) = (&self.reference.jobs[&pair[0]], &self.reference.jobs[&pair[1]]);
            let in_sequence = (one.position, pair[0]) < (other.position, pair[1]);
            assert!(
                one.owner != other.owner || in_sequence,
                "{one:?} before {other:?}"
            );
        }
        for (job, id) in sent.iter().zip(ids) {
            let known = &self.reference.jobs[&id];
            assert_eq!(job["package-id"], known.package);
            assert_eq!(job["download"], known.download(&self.reference), "{job}");
        }
    }

    /// The number of a job's id on the wire.
    fn job_number(&self, id: &Value) -> i64 {
        let number = match id.as_str() {
            Some(text) => text.strip_prefix("dynamic-").unwrap().parse().unwrap(),
            None => id.as_i64().unwrap(),
        };
        let dynamic = self
            .reference
            .jobs
            .get(&number)
            .is_some_and(|job| matches!(job.owner, Owner::Rule(_)));
        assert_eq!(id.is_string(), dynamic, "job {id}");
        number
    }

    async fn update(&mut self, agent: usize, form: Form, proof: Proof, os: u8) {
        let os = SYSTEMS[usize::from(os)];
        let mut data = json!({"hostname": self.wires[agent].hostname, "ram": 1});
        if let Some(os) = os {
            data["os"] = os.into();
        }
        let Some(response) = self.ask(agent, form, proof, ("update", data)).await else {
            return;
        };
        let computer = self.known(agent).unwrap().clone();
        if self.reference.refuses_update(&computer) {
            return assert_refused(&response, (400, "Update refused (too often or invalid data)"));
        }
        let (_, params) = self.accept(agent, &response);
        let mut policies = self.reference.policies_of(computer.id);
        if computer.last_update.is_none() {
            policies.clear();
        }
        let expected = if policies.is_empty() {
            json!([])
        } else {
            json!(policies)
        };
        assert_eq!(params["policies"]["machine"], expected, "policies");
        let now = self.reference.now;
        let name = self.name(agent);
        let computer = self.reference.computers.get_mut(&name).unwrap();
        computer.last_update = Some(now);
        computer.force_update = false;
        computer.os = os.map(str::to_owned);
    }

    async fn report(&mut self, agent: usize, form: Form, job: u8, (state, code): (i64, Option<i64>)) {
        let id = self.pick_job(job);
        let known = self.reference.jobs.get(&id).cloned();
        let dynamic = self.dynamic_jobs.contains(&id);
        let shown = if dynamic {
            json!(format!("dynamic-{id}"))
        } else {
            json!(id)
        };
        let text = shown.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let data = json!({"job-id": shown, "state": state, "return-code": code, "message": "output"});
        let Some(response) = self
            .ask(agent, form, Proof::Own, ("update_job_state", data))
            .await
        else {
            return;
        };
        let own = self.known(agent).unwrap().id;
        match known {
            None => assert_refused(&response, (400, &format!("Job »{text}« not found"))),
            Some(job) if job.computer != own => {
                assert_refused(
                    &response,
                    (401, &format!("Computer not allowed to update job »{text}«")),
                );
            }
            Some(_) => {
                let (_, params) = self.accept(agent, &response);
                let succeeded = self.reference.report(id, state, code);
                assert_eq!(params["job-succeeded"], succeeded);
            }
        }
    }

    async fn download(&mut self, agent: usize, form: Form, proof: Proof, package: u8) {
        let id = self.pick_package(package);
        let has_file = self
            .reference
            .packages
            .get(&id)
            .is_some_and(|package| package.file);
        let may = self
            .known(agent)
            .is_some_and(|computer| self.reference.may_download(computer.id, id));
        let (keyed, must) = self.form(agent, form);
        if !keyed {
            let Some(response) = self.ask(agent, form, proof, ("download", json!(id))).await else {
                return;
            };
            match (has_file, may) {
                (false, _) => assert_refused(&response, (400, "Package not found")),
                (true, false) => assert_refused(&response, (400, "No active job for this package")),
                (true, true) => assert_archive(&response),
            }
            return;
        }
        let Some(key) = Wire::key_of(&self.wires, agent, proof) else {
            return;
        };
        let response = self.wires[agent].fetch(&self.server, &key, id).await;
        let own = self
            .known(agent)
            .map(|known| known.keys.as_ref().is_some_and(|(own, _)| *own == key));
        match own {
            None => assert_phrase(&response, (404, "Not Found")),
            Some(right) if !right || !must => assert_phrase(&response, (401, "Client Not Authorized")),
            _ if !has_file => assert_phrase(&response, (404, "Not Found")),
            _ if !may => assert_phrase(&response, (401, "No Active Job")),
            _ => assert_archive(&response),
        }
    }

    async fn events(&mut self, agent: usize, form: Form, first: u8, count: u8) {
        let events = first..first + count;
        let data = events.clone().map(|n| {
            json!({"log": "System", "provider": "p", "event_id": n, "level": 4,
            "timestamp": event_time(n), "data": {}})
        });
        let data = json!({"events": data.collect::<Vec<_>>()});
        let Some(response) = self.ask(agent, form, Proof::Own, ("events", data)).await else {
            return;
        };
        let (success, params) = self.accept(agent, &response);
        let name = self.name(agent);
        let computer = self.reference.computers.get_mut(&name).unwrap();
        let before = computer.events.len();
        computer.events.extend(events);
        assert_eq!(
            success.is_string(),
            computer.events.len() > before,
            "an id for what is new: {success}"
        );
        assert!(computer.keyed || params == json!([]), "{params}");
    }

    async fn passwords(
        &mut self,
        agent: usize,
        form: Form,
        (account, password): (&str, &str),
        revoke: bool,
        secret: Secret,
    ) {
        let key = Key::new(self.wires[agent].key.as_str());
        let encrypted = match secret {
            Secret::Encrypted => json!(EncryptedPassword::encrypt(&key, [7; 16], password)),
            Secret::Plain => json!(password),
            Secret::Broken => json!({"iv": STANDARD.encode([7; 16]), "data": STANDARD.encode([1; 16])}),
        };
        let data = json!({"passwords": [{"username": account, "password": encrypted, "revoke": revoke}]});
        let Some(response) = self.ask(agent, form, Proof::Own, ("passwords", data)).await else {
            return;
        };
        if secret == Secret::Broken {
            return assert_refused(&response, (400, "Invalid password data"));
        }
        let (success, _) = self.accept(agent, &response);
        let name = self.name(agent);
        let done = self.reference.password(&name, account, password, revoke);
        match (done, revoke) {
            (false, _) => assert_eq!(success, false),
            (true, false) => assert!(success.is_string(), "{success}"),
            (true, true) => assert_eq!(success, true),
        }
        self.check_passwords(&name).await;
    }
}

fn event_time(number: u8) -> String {
    format!("2026-01-01 00:00:{number:02}")
}

fn assert_archive(response: &Response) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.body.starts_with(b"PK"));
}
