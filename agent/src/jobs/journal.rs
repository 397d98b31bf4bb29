//! The job journal: what has become of each job, on disk, so that no procedure runs twice and no outcome is lost.
//!
//! One file a job, in a folder only the agent can read. A job leaves these traces:
//!
//! 1. nothing while its package is downloaded: interrupted there, it simply starts again;
//! 2. `started`, written before its procedure starts. Found at the agent's next start, the job was interrupted: that is
//!    its outcome (an agent error), and it is never silently run again;
//! 3. `ended` with its outcome, written before that is reported. It is reported at every check-in until the server has
//!    accepted it, and whenever the server orders the job again meanwhile;
//! 4. nothing once the server has accepted the outcome.
//!
//! What to do with an order is decided by [`decide`]:
//! - A job whose outcome the server has not accepted is not run: its outcome is reported (again). A server that never
//!   accepts the report never sees the job run again.
//! - An order that was under way while the outcome was accepted is out of date and is ignored. A [`Ticket`] drawn before
//!   the hello tells: it is older than the acceptance.
//! - An order from a hello after the acceptance is a new one: the server knows the outcome and wants the job again (an
//!   administrator renewed it), so it is run.
//! - An order with the id of a journalled job but another procedure, package or container is another job: a server that
//!   was set up anew numbers its jobs anew.
//!
//! A damaged file counts as an interrupted job: it is reported when the server orders that job. Files are bounded in
//! number and age. An entry that the server still asks for does not age, and so none is given up before a hello has told
//! what it asks for: the computer may have been off for long, or its clock may be wrong.

use super::follow_up::FollowUp;
use crate::errors::with_causes;
use crate::host::{Host, HostError, Visibility};
use oco_protocol::job::{AGENT_ERROR_CODE, Job, JobReport, JobState};
use oco_protocol::lenient::Id;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

/// Most entries; the one the server has asked for the longest ago gives way.
const MAX_ENTRIES: usize = 256;
/// An outcome that the server has neither accepted nor asked for is given up after this time, s.
const MAX_AGE: u64 = 30 * 24 * 3600;
/// An entry's age is set back on disk when it is this old, s: not at each check-in.
const REFRESH_AFTER: u64 = 24 * 3600;
/// Accepted outcomes that are remembered (in memory, for orders under way).
const MAX_ACCEPTED: usize = 1024;
/// Bytes of a message that are kept on disk.
const MAX_MESSAGE: usize = 4 << 20;
/// Version of the files' form.
const VERSION: u32 = 1;

/// When an order was asked for, in outcomes accepted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(u64);

/// What the journal knows of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Its procedure was started, and nothing more.
    Started,
    /// It has an outcome that the server has not accepted.
    Ended,
    /// The server has accepted its outcome.
    Accepted {
        /// Which accepted outcome it was, counted from 1.
        number: u64,
        /// Whether the server counts it as succeeded.
        succeeded: bool,
    },
    /// There is something that cannot be read.
    Damaged,
}

/// What to do with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Run it.
    Run,
    /// Report the outcome that it has.
    Report,
    /// It was interrupted; record and report that.
    Interrupted,
    /// The order is out of date.
    Settled {
        /// Whether the server counts the job as succeeded.
        succeeded: bool,
    },
}

/// Decides what to do with an order that was asked for at `ticket`.
pub(super) fn decide(known: Option<Known>, ticket: Ticket) -> Decision {
    match known {
        None => Decision::Run,
        Some(Known::Started | Known::Damaged) => Decision::Interrupted,
        Some(Known::Ended) => Decision::Report,
        Some(Known::Accepted { number, succeeded }) if number > ticket.0 => Decision::Settled { succeeded },
        Some(Known::Accepted { .. }) => Decision::Run,
    }
}

/// How a job ended and what is to be done once the server has accepted that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// What the server is told.
    pub(super) report: JobReport,
    /// What comes after a success.
    #[serde(default)]
    pub(super) follow_up: FollowUp,
    /// When the job ended, UNIX seconds.
    pub(super) ended: u64,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// When the server last ordered it, UNIX seconds.
    ordered: u64,
    /// Tells whether an order is for the same job; none where that is unknown.
    #[serde(default)]
    fingerprint: Option<String>,
    state: RecordState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordState {
    Started(Id),
    Ended(Box<Outcome>),
    Damaged,
}

/// The journal of one agent.
pub(super) struct Journal {
    host: Arc<dyn Host>,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: bool,
    records: BTreeMap<String, Record>,
    accepted: BTreeMap<String, (u64, bool)>,
    count: u64,
    claimed: BTreeSet<String>,
}

/// The right to deal with one job; given back on drop.
///
/// What reads or writes files here blocks: on a runtime it belongs on a thread of its own.
pub(super) struct Claim {
    journal: Arc<Journal>,
    name: String,
}

impl Journal {
    /// The journal in `folder`. Jobs that it shows as started were interrupted, for this agent has just started.
    pub(super) fn load(host: Arc<dyn Host>, folder: &Path) -> Arc<Self> {
        let journal = Arc::new(Self {
            host,
            folder: folder.to_owned(),
            state: Mutex::default(),
        });
        if let Err(error) = journal.ensure_loaded() {
            tracing::error!(error = %with_causes(&error), "the job journal cannot be read; no job is run until it can");
        }
        journal
    }

    /// A ticket for a hello that is about to be sent.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.state().count)
    }

    /// Claims a job, unless somebody deals with it already.
    pub(super) fn claim(self: &Arc<Self>, id: &Id) -> Option<Claim> {
        let name = file_name(id);
        let new = self.state().claimed.insert(name.clone());
        new.then(|| Claim {
            journal: self.clone(),
            name,
        })
    }

    /// The jobs with an outcome that the server has not accepted, oldest first. Those that `orders` shows to be other
    /// jobs of the same id are left out.
    pub(super) fn unaccepted(&self, orders: &[Job]) -> Vec<Id> {
        let state = self.state();
        let mut ended: Vec<_> = state
            .records
            .iter()
            .filter_map(|(name, record)| match &record.state {
                RecordState::Ended(outcome) => Some((outcome.ended, name, record, &outcome.report.job_id)),
                _ => None,
            })
            .filter(|(_, name, record, _)| {
                let order = orders.iter().find(|order| file_name(&order.id) == **name);
                order.is_none_or(|order| record.is_of(order))
            })
            .collect();
        ended.sort_by_key(|(at, name, ..)| (*at, *name));
        ended.into_iter().map(|(.., id)| id.clone()).collect()
    }

    /// Entries that are old and that the server, by the `orders` of its latest answer, does not ask for.
    pub(super) fn outdated(&self, orders: &[Job]) -> Vec<String> {
        let (now, state) = (self.now(), self.state());
        let old = state.records.iter().filter(|(name, record)| {
            now > record.ordered.saturating_add(MAX_AGE)
                && !state.claimed.contains(*name)
                && !orders.iter().any(|order| file_name(&order.id) == **name)
        });
        old.map(|(name, _)| name.clone()).collect()
    }

    /// Gives up entries.
    pub(super) fn give_up(&self, names: &[String]) {
        for name in names {
            tracing::warn!(
                file = name,
                "an old outcome that the server never accepted is given up"
            );
            self.state().records.remove(name);
            self.remove(name);
        }
    }

    fn ensure_loaded(&self) -> Result<(), HostError> {
        if self.state().loaded {
            return Ok(());
        }
        let names = match self.host.list_folder(&self.folder) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        for name in names {
            if name.starts_with(".oco-agent-") && name.ends_with(".tmp") {
                // Left by a write that a crash ended.
                self.remove(&name);
            } else if name.starts_with("job") && name.ends_with(".json") {
                self.load_one(name);
            }
        }
        self.state().loaded = true;
        Ok(())
    }

    fn load_one(&self, name: String) {
        let now = self.now();
        let content = self.host.read_file(&self.folder.join(&name));
        let parsed = content.map_err(|error| with_causes(&error)).and_then(|content| {
            serde_json::from_slice::<Record>(&content).map_err(|error| error.to_string())
        });
        let record = match parsed {
            Ok(record) if record.version == VERSION => record.after_restart(now),
            Ok(record) => {
                tracing::error!(
                    file = name,
                    version = record.version,
                    "a job journal entry is of another version: its job counts as interrupted"
                );
                Record::damaged(now)
            }
            Err(reason) => {
                tracing::error!(
                    file = name,
                    reason,
                    "a job journal entry is damaged: its job counts as interrupted"
                );
                Record::damaged(now)
            }
        };
        self.put_logged(name, record);
    }

    fn put(&self, name: String, record: Record) -> Result<(), HostError> {
        let content = serde_json::to_vec(&record)
            .map_err(|error| HostError::new("write", &name, std::io::Error::other(error)))?;
        let written = self
            .host
            .write_file(&self.folder.join(&name), &content, Visibility::Private);
        // In memory it holds in any case.
        self.state().records.insert(name, record);
        written
    }

    fn put_logged(&self, name: String, record: Record) {
        if let Err(error) = self.put(name, record) {
            tracing::error!(error = %with_causes(&error), "the job journal cannot be written");
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.host.remove_file(&self.folder.join(name)) {
            tracing::warn!(error = %with_causes(&error), "cannot remove an entry of the job journal");
        }
    }

    /// Makes room for the entry `name`.
    fn make_room(&self, name: &str) {
        let oldest = {
            let state = self.state();
            if state.records.len() < MAX_ENTRIES || state.records.contains_key(name) {
                return;
            }
            let free = state
                .records
                .iter()
                .filter(|(name, _)| !state.claimed.contains(*name));
            free.min_by_key(|(name, record)| (record.ordered, *name))
                .map(|(name, _)| name.clone())
        };
        if let Some(name) = oldest {
            tracing::warn!(
                file = name,
                "the job journal is full: its oldest outcome is given up"
            );
            self.state().records.remove(&name);
            self.remove(&name);
        }
    }

    fn now(&self) -> u64 {
        let since = self.host.now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Decides what to do with an order. Fails while the journal cannot be read, for then nobody knows.
    pub(super) fn decide(&self, job: &Job, ticket: Ticket) -> Result<Decision, HostError> {
        self.journal.ensure_loaded()?;
        Ok(decide(self.known(job), ticket))
    }

    fn known(&self, job: &Job) -> Option<Known> {
        let state = self.journal.state();
        if let Some(record) = state.records.get(&self.name).filter(|record| record.is_of(job)) {
            return Some(match record.state {
                RecordState::Started(_) => Known::Started,
                RecordState::Ended(_) => Known::Ended,
                RecordState::Damaged => Known::Damaged,
            });
        }
        let (number, succeeded) = *state.accepted.get(&self.name)?;
        Some(Known::Accepted { number, succeeded })
    }

    /// Records that the procedure is about to start. If that cannot be written, it must not.
    pub(super) fn start(&self, job: &Job) -> Result<(), HostError> {
        self.journal.make_room(&self.name);
        let record = Record {
            version: VERSION,
            ordered: self.journal.now(),
            fingerprint: Some(fingerprint(job)),
            state: RecordState::Started(job.id.clone()),
        };
        self.journal.put(self.name.clone(), record).inspect_err(|_| {
            self.journal.state().records.remove(&self.name);
        })
    }

    /// The outcome of a job that ends now.
    pub(super) fn ends(&self, report: JobReport, follow_up: FollowUp) -> Outcome {
        Outcome {
            report,
            follow_up,
            ended: self.journal.now(),
        }
    }

    /// Records the outcome, to be reported afterwards.
    pub(super) fn end(&self, job: &Job, mut outcome: Outcome) {
        self.journal.make_room(&self.name);
        shorten(&mut outcome.report.message);
        let record = Record {
            version: VERSION,
            ordered: outcome.ended,
            fingerprint: Some(fingerprint(job)),
            state: RecordState::Ended(Box::new(outcome)),
        };
        self.journal.put_logged(self.name.clone(), record);
    }

    /// The outcome on record.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match &self.journal.state().records.get(&self.name)?.state {
            RecordState::Ended(outcome) => Some((**outcome).clone()),
            _ => None,
        }
    }

    /// Notes that the server still asks for this job, so that its entry does not age.
    pub(super) fn ordered_again(&self) {
        let now = self.journal.now();
        let record = self.journal.state().records.get(&self.name).cloned();
        if let Some(mut record) = record.filter(|record| now > record.ordered.saturating_add(REFRESH_AFTER)) {
            record.ordered = now;
            self.journal.put_logged(self.name.clone(), record);
        }
    }

    /// Notes that the server has accepted the outcome. [`Claim::forget`] is to be called when all that follows is done.
    pub(super) fn accepted(&self, succeeded: bool) {
        let mut state = self.journal.state();
        state.count += 1;
        let number = state.count;
        state.accepted.insert(self.name.clone(), (number, succeeded));
        if state.accepted.len() > MAX_ACCEPTED {
            let oldest = state.accepted.iter().min_by_key(|(_, (number, _))| *number);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                state.accepted.remove(&oldest);
            }
        }
    }

    /// Removes the entry.
    pub(super) fn forget(&self) {
        self.journal.state().records.remove(&self.name);
        self.journal.remove(&self.name);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.journal.state().claimed.remove(&self.name);
    }
}

impl Record {
    fn damaged(now: u64) -> Self {
        Self {
            version: VERSION,
            ordered: now,
            fingerprint: None,
            state: RecordState::Damaged,
        }
    }

    /// What this entry means to an agent that finds it when it starts.
    fn after_restart(self, now: u64) -> Self {
        let state = match self.state {
            RecordState::Started(id) => RecordState::Ended(Box::new(Outcome {
                report: interrupted(id),
                follow_up: FollowUp::None,
                ended: now,
            })),
            RecordState::Ended(mut outcome) => {
                // The program that runs now is the new one.
                if outcome.follow_up == FollowUp::Exit {
                    outcome.follow_up = FollowUp::None;
                }
                RecordState::Ended(outcome)
            }
            RecordState::Damaged => RecordState::Damaged,
        };
        Self { state, ..self }
    }

    /// Whether an order with its id is for this very job.
    fn is_of(&self, job: &Job) -> bool {
        self.fingerprint
            .as_ref()
            .is_none_or(|known| *known == fingerprint(job))
    }
}

/// The report of a job that was interrupted half-way.
pub(super) fn interrupted(id: Id) -> JobReport {
    JobReport {
        job_id: id,
        state: JobState::AgentError,
        return_code: Some(AGENT_ERROR_CODE),
        download_progress: None,
        message: "the agent or the computer was stopped while the job was running: how far it got is not known, so it is \
                  not run again by itself; check the computer and renew the job if need be"
            .to_owned(),
    }
}

/// The name of a job's file: readable for the usual ids, and never two jobs' on systems that ignore letter case.
fn file_name(id: &Id) -> String {
    let id = id.to_string();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=60).contains(&id.len()) && id.chars().all(plain) {
        format!("job-{id}.json")
    } else {
        format!("job_{}.json", hex(&Sha256::digest(id.as_bytes())))
    }
}

fn fingerprint(job: &Job) -> String {
    let text = |id: &Option<Id>| id.as_ref().map(Id::to_string).unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [&text(&job.container_id), &text(&job.package_id), &job.procedure] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    hex(&digest.finalize())
}

/// Half a SHA-256 is more than enough where nobody gains from a collision.
fn hex(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Cuts the middle out of a message that is too long to be kept.
fn shorten(message: &mut String) {
    if message.len() <= MAX_MESSAGE {
        return;
    }
    let head = message.floor_char_boundary(MAX_MESSAGE / 2);
    let tail = message.ceil_char_boundary(message.len() - MAX_MESSAGE / 2);
    let cut = format!("\n[... {} bytes of output left out ...]\n", tail - head);
    message.replace_range(head..tail, &cut);
}

#[cfg(test)]
mod tests;
