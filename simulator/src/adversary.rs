//! Adversaries: requests that a server has to refuse. They are no agents, so they have nothing of an agent's code: raw
//! requests, made of the protocol's own types.

mod requests;
mod slow_reader;

use crate::draw::{Purpose, generator};
use crate::event::{Attempt, Event, Sender};
use crate::http::{self, ClientError};
use crate::scenario::{Adversary, AdversaryKind, Scenario};
use crate::simulated_host::VirtualClock;
use crate::virtual_agent::Ends;
use bytes::Bytes;
use oco_protocol::rpc::{CONTENT_TYPE, HelloAnswer, Response};
use oco_protocol::signature::{AGENT_SIGNATURE_HEADER, sign};
use oco_protocol::{Key, Timestamp};
use reqwest::Url;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest wait for an answer.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How much older an old timestamp is.
const OLDER: u64 = 3_600_000_000;

/// The server, as adversaries see it.
#[derive(Debug, Clone)]
pub struct Target {
    http: reqwest::Client,
    url: Url,
    registration_key: Key,
    clock: VirtualClock,
}

impl Target {
    /// The server whose agent API is at `url`; `ca` is a PEM file of certificates to trust.
    pub fn new(
        url: &Url,
        registration_key: &Key,
        ca: Option<&Path>,
        clock: VirtualClock,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            http: http::client(url, ca, TIME_LIMIT)?,
            url: url.clone(),
            registration_key: registration_key.clone(),
            clock,
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(self.clock.now())
    }

    /// Sends a body with its signature; the status and the body of the answer.
    async fn send(&self, body: Bytes, signature: &str) -> Result<(u16, Bytes), reqwest::Error> {
        let request = self
            .http
            .post(self.url.clone())
            .header("content-type", CONTENT_TYPE)
            .header(AGENT_SIGNATURE_HEADER, signature)
            .body(body);
        let response = request.send().await?;
        let status = response.status().as_u16();
        // What refuses a request says so in its status, whatever becomes of the rest.
        Ok((status, response.bytes().await.unwrap_or_default()))
    }
}

/// Starts the adversaries of a scenario; of a fleet's shards the first one has them. They end when the run does, or when the set is dropped.
pub fn start(
    scenario: &Arc<Scenario>,
    target: &Target,
    start: Instant,
    events: &Sender,
    ends: &Ends,
) -> JoinSet<()> {
    let mut attackers = JoinSet::new();
    let leads = scenario.fleet.shard.index() == 0;
    for (place, adversary) in scenario.adversary.iter().enumerate().filter(|_| leads) {
        for number in 0..adversary.count.0 {
            let attacker = Attacker {
                adversary: adversary.clone(),
                place,
                number,
                seed: scenario.fleet.seed,
                target: target.clone(),
                identity: None,
            };
            let (events, stop) = (events.clone(), ends.stop.clone());
            attackers.spawn(async move {
                stop.run_until_cancelled(attacker.attack(start, events)).await;
            });
        }
    }
    attackers
}

/// One of an adversary's attackers.
struct Attacker {
    adversary: Adversary,
    place: usize,
    number: u16,
    seed: u64,
    target: Target,
    identity: Option<Identity>,
}

/// A computer that the server knows, for those who attack as one.
#[derive(Clone)]
struct Identity {
    hostname: String,
    key: Key,
    /// The last hello that the server has accepted, its signature and its timestamp.
    accepted: (Bytes, String, Timestamp),
}

impl Attacker {
    async fn attack(mut self, start: Instant, events: Sender) {
        let (from, every) = (self.adversary.from.0, self.adversary.every.0.0);
        let end = self.adversary.lasts.map(|lasts| start + from + lasts.0);
        // Attackers of one kind take turns.
        let turn = every * u32::from(self.number) / u32::from(self.adversary.count.0);
        let mut due = start + from + turn;
        for round in 0.. {
            tokio::time::sleep_until(due).await;
            if end.is_some_and(|end| Instant::now() >= end) {
                return;
            }
            let outcome = self.attempt(round).await;
            let adversary = self.place;
            events.send(Event::Attack { adversary, outcome }).await;
            due = (due + every).max(Instant::now());
        }
    }

    async fn attempt(&mut self, round: u32) -> Attempt {
        let kind = self.adversary.kind;
        if kind == AdversaryKind::SlowReader {
            let request = self.request(round);
            return slow_reader::attempt(&self.target.url, &request.0, &request.1).await;
        }
        if kind.is_registered() && self.identity.is_none() {
            self.identity = self.register().await;
            if self.identity.is_none() {
                return Attempt::Unanswered;
            }
        }
        let (body, signature) = self.request(round);
        let sent = self.target.send(body, &signature).await;
        judge(kind, sent.map(|(status, _)| status).as_ref())
    }

    /// The request of an attempt, with its signature.
    fn request(&self, round: u32) -> (Bytes, String) {
        let (now, registration_key) = (self.target.now(), &self.target.registration_key);
        let number = u32::from(self.number);
        let mut random = generator(self.seed, Purpose::Adversary, number, round);
        let signed = |body: Bytes, key: &Key| {
            let signature = sign(key, &body);
            (body, signature)
        };
        match (self.adversary.kind, &self.identity) {
            (AdversaryKind::Replay, Some(identity)) => {
                let (body, signature, _) = identity.accepted.clone();
                (body, signature)
            }
            (AdversaryKind::OldTimestamp, Some(identity)) => {
                let old = identity.accepted.2.as_micros().saturating_sub(OLDER).max(1);
                let body = requests::hello(&identity.hostname, Timestamp::from_micros(old));
                signed(body, &identity.key)
            }
            (AdversaryKind::Oversized, _) => (requests::oversized(), sign(registration_key, b"")),
            (AdversaryKind::Malformed, _) => signed(requests::malformed(round, now), registration_key),
            (AdversaryKind::HostileHostname, _) => signed(requests::hostile(round, now), registration_key),
            (
                AdversaryKind::WrongKey
                | AdversaryKind::SlowReader
                | AdversaryKind::Replay
                | AdversaryKind::OldTimestamp,
                _,
            ) => {
                let body = requests::hello(&self.hostname(), now);
                signed(body, &requests::random_key(&mut random))
            }
        }
    }

    /// Registers a computer of its own, as everybody may who knows the registration key, and says hello once more with
    /// the key that it gets for it. None: the server does not let it, or does not answer.
    async fn register(&self) -> Option<Identity> {
        let hostname = self.hostname();
        let body = requests::hello(&hostname, self.target.now());
        let signature = sign(&self.target.registration_key, &body);
        let (status, answer) = self.target.send(body, &signature).await.ok()?;
        let answer: Response<HelloAnswer> = serde_json::from_slice(&answer).ok().filter(|_| status == 200)?;
        let key = answer.result.params.agent_key?;
        let timestamp = self.target.now();
        let body = requests::hello(&hostname, timestamp);
        let signature = sign(&key, &body);
        let (status, _) = self.target.send(body.clone(), &signature).await.ok()?;
        (status == 200).then_some(Identity {
            hostname,
            key,
            accepted: (body, signature, timestamp),
        })
    }

    /// A name that no agent of the fleet has, and another one in each run: the server keeps it.
    fn hostname(&self) -> String {
        let run = self.target.clock.started().as_micros();
        format!("{}-{}-{}-{run}", self.adversary.kind, self.place, self.number)
    }
}

/// What the answer to an attempt means.
fn judge(kind: AdversaryKind, answer: Result<&u16, &reqwest::Error>) -> Attempt {
    match answer {
        Ok(200..300) => Attempt::Accepted,
        Ok(status) if kind.refusals().contains(status) => Attempt::Refused(*status),
        Ok(status) => Attempt::Otherwise(*status),
        Err(error) if kind.may_be_cut_off() && !error.is_connect() && !error.is_timeout() => Attempt::CutOff,
        Err(_) => Attempt::Unanswered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_refusals_count_as_such() {
        for (kind, status, attempt) in [
            (AdversaryKind::WrongKey, 401, Attempt::Refused(401)),
            (AdversaryKind::WrongKey, 200, Attempt::Accepted),
            (AdversaryKind::WrongKey, 500, Attempt::Otherwise(500)),
            (AdversaryKind::Malformed, 401, Attempt::Otherwise(401)),
            (AdversaryKind::Oversized, 413, Attempt::Refused(413)),
        ] {
            assert_eq!(judge(kind, Ok(&status)), attempt, "{kind} {status}");
        }
    }

    #[test]
    fn every_kind_is_named_as_scenarios_name_it() {
        for kind in AdversaryKind::ALL {
            let text = format!("description = \"\"\n[[adversary]]\nname = \"a\"\nkind = \"{kind}\"");
            let scenario = Scenario::parse("x", "x", &text).unwrap();
            assert_eq!(scenario.adversary[0].kind, kind);
            assert!(!kind.refusals().contains(&200));
        }
    }
}
