//! The JSON-RPC envelope, the methods of the signed generation and their parameters.

use crate::inventory::{Network, OrFalse, Service};
use crate::job::Job;
use crate::lenient::{self, Id, Item, Success};
use crate::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Path of the agent API on a server.
pub const AGENT_API_PATH: &str = "/api-agent.php";
/// The only content type that servers accept, to the letter.
pub const CONTENT_TYPE: &str = "application/json";
/// The only version of the envelope.
pub const JSONRPC_VERSION: &str = "2.0";

/// A method of the agent API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `oco.agent.hello`: the check-in itself.
    Hello,
    /// `oco.agent.update`: the inventory.
    Update,
    /// `oco.agent.download`: a package's archive.
    Download,
    /// `oco.agent.update_job_state`: how far a job is.
    UpdateJobState,
    /// `oco.agent.events`: events the server asked for.
    Events,
    /// `oco.agent.passwords`: rotated passwords.
    Passwords,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Hello,
        Self::Update,
        Self::Download,
        Self::UpdateJobState,
        Self::Events,
        Self::Passwords,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "oco.agent.hello",
            Self::Update => "oco.agent.update",
            Self::Download => "oco.agent.download",
            Self::UpdateJobState => "oco.agent.update_job_state",
            Self::Events => "oco.agent.events",
            Self::Passwords => "oco.agent.passwords",
        }
    }

    /// The method of a name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request. `P` is [`Params`] of some data, or [`DownloadParams`], or [`keyed::Params`](crate::keyed::Params).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request<P> {
    /// Always [`JSONRPC_VERSION`].
    pub jsonrpc: String,
    /// Echoed by the server; anything but null.
    pub id: Value,
    /// Name of the method.
    pub method: String,
    /// Its parameters.
    pub params: P,
}

impl<P> Request<P> {
    /// A request of `method` with the id 1.
    pub fn new(method: Method, params: P) -> Self {
        Self::named(method.as_str(), params)
    }

    /// A request of the method called `name` with the id 1.
    pub fn named(name: &str, params: P) -> Self {
        Self {
            jsonrpc: JSONRPC_VERSION.into(),
            id: 1.into(),
            method: name.into(),
            params,
        }
    }
}

/// Parameters of every method but the download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Params<D> {
    /// The machine's UUID, or its host name where it has none.
    pub uid: String,
    /// Host name, at most 200 characters, compared case-insensitively.
    pub hostname: String,
    /// Greater than the one before.
    pub timestamp: Timestamp,
    /// What the method is about.
    pub data: D,
}

/// Parameters of the download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DownloadParams {
    /// As in [`Params`].
    pub uid: String,
    /// As in [`Params`].
    pub hostname: String,
    /// As in [`Params`].
    pub timestamp: Timestamp,
    /// The package whose archive is wanted.
    #[serde(rename = "package-id")]
    pub package_id: Id,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response<P> {
    /// Echo of the request's id.
    pub id: Value,
    /// Null on success; anything else makes the answer a failure.
    #[serde(default)]
    pub error: Option<Value>,
    /// The outcome.
    pub result: Outcome<P>,
}

/// The outcome inside an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome<P> {
    /// Whether the server did what was asked.
    pub success: Success,
    /// What the method answers.
    pub params: P,
    /// Greater than in the answer before.
    pub timestamp: Timestamp,
}

/// `data` of a hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloData {
    /// Version of the agent; servers choose the protocol generation by it.
    pub agent_version: String,
    /// Addresses of the computer.
    pub networks: Option<Vec<Network>>,
    /// Results of the service checks.
    pub services: Option<Vec<Service>>,
    /// Seconds since the last start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
    /// 0..1, or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery_level: Option<OrFalse<f64>>,
    /// 1 plugged in, 2 on battery, or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery_status: Option<OrFalse<u8>>,
    /// Asks the server to ask for an inventory.
    pub force_update: bool,
}

/// `params` of the answer to a hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HelloAnswer {
    /// The key the server signs with, on registration.
    #[serde(default)]
    pub server_key: Option<Key>,
    /// The key this agent has to sign with from now on, on registration.
    #[serde(default)]
    pub agent_key: Option<Key>,
    /// Whether an inventory is wanted.
    #[serde(default, with = "lenient::numeric_flag")]
    pub update: bool,
    /// UTC, `YYYY-MM-DD HH:MM:SS`: logins before that are known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logins_since: Option<String>,
    /// Software jobs in the order of execution.
    #[serde(default, deserialize_with = "lenient::null_as_empty")]
    pub software_jobs: Vec<Item<Job>>,
    /// Events the server wants to hear of.
    #[serde(default, deserialize_with = "lenient::null_as_empty")]
    pub events: Vec<Item<EventQuery>>,
    /// Passwords to rotate.
    #[serde(default, deserialize_with = "lenient::null_as_empty")]
    pub update_passwords: Vec<Item<PasswordRule>>,
}

/// A query for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventQuery {
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub since: String,
    /// `journalctl`, or a Windows channel.
    pub log: String,
    /// A JSON object as text for journald, XML or XPath for Windows.
    pub query: String,
}

/// A rule for a password to rotate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordRule {
    /// The local account.
    pub username: String,
    /// Characters to draw from.
    pub alphabet: String,
    /// How many to draw.
    #[serde(deserialize_with = "lenient::integer")]
    pub length: i64,
    /// The current password, which macOS needs to set a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_password: Option<Key>,
}

impl fmt::Debug for PasswordRule {
    /// Alphabet and length are left out: they tell how strong the password is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordRule")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// `data` of `oco.agent.events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventsData {
    /// What was found.
    pub events: Vec<Event>,
}

/// One event of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Log or unit it comes from.
    pub log: String,
    /// What wrote it.
    pub provider: String,
    /// Must look like a number.
    pub event_id: Value,
    /// Severity.
    pub level: Value,
    /// UTC, `YYYY-MM-DD HH:MM:SS`.
    pub timestamp: String,
    /// Its fields.
    #[serde(deserialize_with = "lenient::empty_list_as_default")]
    pub data: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_job_costs_itself_only() {
        let answer: HelloAnswer = serde_json::from_str(
            r#"{"server-key":null,"agent-key":null,"update":"1","software-jobs":[{"id":1},{"id":2,"procedure":"x"}],"events":null}"#,
        )
        .unwrap();
        assert!(answer.update);
        assert_eq!(answer.software_jobs.iter().filter_map(Item::valid).count(), 1);
        assert!(
            matches!(&answer.software_jobs[0], Item::Malformed { reason, .. } if reason.contains("procedure"))
        );
    }

    #[test]
    fn lists_that_php_numbers_with_gaps_keep_their_order() {
        let answer: HelloAnswer = serde_json::from_str(
            r#"{"software-jobs":{"11":{"id":5,"procedure":"a"},"2":{"id":4,"procedure":"b"}},
                "events":{"1":{"since":"2026-01-01 00:00:00","log":"journalctl","query":"{}"}},
                "update-passwords":{"3":{"username":"u","alphabet":"ab","length":"9"}}}"#,
        )
        .unwrap();
        let jobs = answer.software_jobs.iter().filter_map(Item::valid);
        assert_eq!(jobs.map(|job| job.id.to_string()).collect::<Vec<_>>(), ["5", "4"]);
        assert!(answer.events[0].valid().is_some() && answer.update_passwords[0].valid().is_some());
    }

    #[test]
    fn method_names_are_unique_and_known() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.as_str()), Some(method));
        }
        assert_eq!(Method::from_name("oco.agent.nonsense"), None);
    }
}
