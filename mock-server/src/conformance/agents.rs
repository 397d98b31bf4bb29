//! What is remembered of each agent from one exchange to the next: what it was asked for, and where its jobs are.

use super::rules::Rule;
use super::walk::{Notes, Values};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};

/// Agents that are remembered; more are checked without a memory.
const MAX_AGENTS: usize = 200_000;
/// Jobs of one agent that are remembered, the latest.
const MAX_JOBS: usize = 64;
/// States of jobs in reports.
const DOWNLOAD: i64 = 1;
const EXECUTION: i64 = 2;
const FINISHED: i64 = 3;
const AGENT_ERROR: i64 = -1;
const AGENT_ERROR_CODE: i64 = -9999;

/// All agents by lower-case host name.
#[derive(Debug, Default)]
pub(super) struct Agents(HashMap<String, Agent>);

/// One agent. Nothing is held against it that happened before it was first seen, such as before a restart of the server.
#[derive(Debug, Default)]
struct Agent {
    timestamp: Option<f64>,
    /// What the answer to its last hello asked for.
    asked: Option<Asked>,
    /// Jobs whose procedures have begun and not ended.
    begun: VecDeque<String>,
    /// Jobs that ended, with their outcomes.
    ended: VecDeque<(String, i64, Option<i64>)>,
}

/// What the answer to a hello asks for.
#[derive(Debug)]
pub(super) struct Asked {
    update: bool,
    packages: Vec<String>,
}

impl Asked {
    /// None: it is no such answer.
    pub(super) fn by(answer: &[u8]) -> Option<Self> {
        let answer: HelloAnswer = serde_json::from_slice(answer).ok()?;
        let params = answer.result.params;
        let wanted = params.software_jobs.into_iter().filter(|job| job.download);
        Some(Self {
            update: params.update,
            packages: wanted
                .filter_map(|job| Some(job.package_id?.to_string()))
                .collect(),
        })
    }
}

/// What rules need of the answer to a hello.
#[derive(Deserialize)]
struct HelloAnswer {
    result: HelloResult,
}

#[derive(Deserialize)]
struct HelloResult {
    params: HelloParams,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct HelloParams {
    #[serde(default, deserialize_with = "oco_protocol::lenient::flag")]
    update: bool,
    #[serde(default)]
    software_jobs: Vec<OrderedJob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OrderedJob {
    #[serde(default)]
    package_id: Option<oco_protocol::lenient::Id>,
    #[serde(default, deserialize_with = "oco_protocol::lenient::flag")]
    download: bool,
}

impl Agents {
    fn get(&self, hostname: &str) -> Option<&Agent> {
        // Host names are mostly lower-case.
        self.0
            .get(hostname)
            .or_else(|| self.0.get(&hostname.to_lowercase()))
    }

    /// The agent of that name, who is remembered from now on if there is room.
    fn remember(&mut self, hostname: &str) -> Option<&mut Agent> {
        // Twice, as the checker of borrows wants it.
        if self.0.contains_key(hostname) {
            return self.0.get_mut(hostname);
        }
        let key = hostname.to_lowercase();
        let room = self.0.len() < MAX_AGENTS || self.0.contains_key(&key);
        room.then(|| self.0.entry(key).or_default())
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Checks a request against what came before it. It may be anybody's, so nobody is remembered for it.
    pub(super) fn check(&self, method: &str, hostname: &str, values: &Values, notes: &mut Notes) {
        let Some(agent) = self.get(hostname) else { return };
        // Of a hello the server itself says whether its timestamp is newer.
        if let (Some(last), Some(now), true) = (agent.timestamp, values.timestamp, method != "hello")
            && now <= last
        {
            notes.add(Rule::TimestampNotNewer, || format!("{now} after {last}"));
        }
        match (method, &agent.asked) {
            ("update", Some(asked)) if !asked.update => {
                notes.add(Rule::UpdateNotAsked, || {
                    "the last hello's answer has no update".into()
                });
            }
            ("download", Some(asked)) => {
                if let Some(package) = values
                    .package
                    .as_ref()
                    .filter(|package| !asked.packages.contains(package))
                {
                    notes.add(Rule::DownloadNotOrdered, || format!("package {package}"));
                }
            }
            ("update_job_state" | "update_deploy_status", _) => agent.check_job(values, notes),
            _ => {}
        }
    }

    /// Remembers what an exchange that succeeded means for later ones. `asked` is what the answer to a hello asks for.
    pub(super) fn served(&mut self, method: &str, hostname: &str, values: &Values, asked: Option<Asked>) {
        let Some(agent) = self.remember(hostname) else {
            return;
        };
        if values.timestamp > agent.timestamp {
            agent.timestamp = values.timestamp;
        }
        if asked.is_some() {
            agent.asked = asked;
        }
        if matches!(method, "update_job_state" | "update_deploy_status") {
            agent.follow_job(values);
        }
    }
}

impl Agent {
    fn check_job(&self, values: &Values, notes: &mut Notes) {
        let (Some(job), Some(state)) = (&values.job_id, values.job_state) else {
            return;
        };
        let code = values.return_code;
        match (state, code) {
            (FINISHED, None) => notes.add(Rule::JobOutcome, || "state 3 without a return code".into()),
            (AGENT_ERROR, code) if code != Some(AGENT_ERROR_CODE) => {
                notes.add(Rule::JobOutcome, || {
                    format!("state -1 with the return code {code:?}")
                });
            }
            // Keyed servers take no null.
            (DOWNLOAD | EXECUTION, Some(code)) if code != 0 => {
                notes.add(Rule::JobOutcome, || {
                    format!("state {state} with the return code {code}")
                });
            }
            _ => {}
        }
        if state == DOWNLOAD && self.begun.contains(job) {
            notes.add(Rule::JobBackwards, || format!("job {job}: state 1 after state 2"));
        }
        let Some((_, ended, outcome)) = self.ended.iter().find(|(id, ..)| id == job) else {
            return;
        };
        if matches!(state, DOWNLOAD | EXECUTION) {
            notes.add(Rule::JobReopened, || {
                format!("job {job}: state {state} after state {ended}")
            });
        } else if (*ended, *outcome) != (state, code) {
            notes.add(Rule::JobEndedTwice, || {
                format!("job {job}: state {state} and code {code:?} after state {ended} and code {outcome:?}")
            });
        }
    }

    fn follow_job(&mut self, values: &Values) {
        let (Some(job), Some(state)) = (&values.job_id, values.job_state) else {
            return;
        };
        match state {
            EXECUTION if !self.begun.contains(job) => push(&mut self.begun, job.clone()),
            FINISHED | AGENT_ERROR => {
                self.begun.retain(|id| id != job);
                if !self.ended.iter().any(|(id, ..)| id == job) {
                    push(&mut self.ended, (job.clone(), state, values.return_code));
                }
            }
            _ => {}
        }
    }
}

/// Adds the latest job and forgets the oldest one beyond [`MAX_JOBS`].
fn push<T>(jobs: &mut VecDeque<T>, latest: T) {
    if jobs.len() == MAX_JOBS {
        jobs.pop_front();
    }
    jobs.push_back(latest);
}
