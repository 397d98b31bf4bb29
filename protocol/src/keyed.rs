//! The keyed generation: what agents before 1.1.7 and the servers of 2022 speak.
//!
//! Nothing is signed. Each request carries the agent key and each answer the server key, both in clear: whoever reads
//! along can be either. Timestamps are not sent; a server of today that serves an old agent puts one into its answers
//! and signs them, a server of 2022 does neither. Which generation a server of today speaks with a computer is decided
//! by the `agent_version` of its last hello.
//!
//! Errors of a server of 2022 are reason phrases of the HTTP status line, with empty bodies. A download is a GET with a
//! query ([`DownloadQuery`]) instead of a method.

use crate::Key;
use crate::inventory::{self, Inventory, Network, OrFalse, Service};
use crate::job::{JobReport, JobState};
use crate::lenient::{Id, Success};
use crate::{Timestamp, rpc};
use serde::de::{DeserializeOwned, Deserializer};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// What a keyed agent says its version is: the last one that servers of today speak this generation with.
pub const AGENT_VERSION: &str = "1.1.6";

/// How a server refuses a method it does not know; servers of 2022 write it in other letter case.
pub const UNKNOWN_METHOD: &str = "Unknown method";

const SERVER_KEY: &str = "server-key";

/// A method of the keyed generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The check-in itself.
    Hello,
    /// The inventory.
    Update,
    /// How far a job is, as in the signed generation; servers of 2022 do not know it.
    UpdateJobState,
    /// How far a job is ([`DeployStatus`]); servers of today do not know it.
    UpdateDeployStatus,
    /// Events the server asked for; servers of 2022 never ask.
    Events,
    /// Rotated passwords; servers of 2022 never ask.
    Passwords,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Hello,
        Self::Update,
        Self::UpdateJobState,
        Self::UpdateDeployStatus,
        Self::Events,
        Self::Passwords,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => rpc::Method::Hello.as_str(),
            Self::Update => rpc::Method::Update.as_str(),
            Self::UpdateJobState => rpc::Method::UpdateJobState.as_str(),
            Self::UpdateDeployStatus => "oco.agent.update_deploy_status",
            Self::Events => rpc::Method::Events.as_str(),
            Self::Passwords => rpc::Method::Passwords.as_str(),
        }
    }

    /// The method of a name on the wire, in its usual or in its earliest spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "oco.agent_hello" => Some(Self::Hello),
            "oco.agent_update" => Some(Self::Update),
            "oco.update_deploy_status" => Some(Self::UpdateDeployStatus),
            _ => Self::ALL.into_iter().find(|method| method.as_str() == name),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parameters of every method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Params<D> {
    /// The machine's UUID, or its host name where it has none; the first agents did not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Host name, at most 200 characters, compared case-insensitively.
    pub hostname: String,
    /// The registration key, later this agent's own.
    pub agent_key: Key,
    /// What the method is about.
    pub data: D,
}

/// `data` of a hello. The first agents sent version and networks only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloData {
    /// Version of the agent: before 1.1.7.
    pub agent_version: String,
    /// Addresses of the computer.
    pub networks: Option<Vec<Network>>,
    /// As in the signed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<Service>>,
    /// As in the signed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
    /// As in the signed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery_level: Option<OrFalse<f64>>,
    /// As in the signed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery_status: Option<OrFalse<u8>>,
    /// As in the signed generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_update: Option<bool>,
}

impl From<rpc::HelloData> for HelloData {
    /// The same facts, under the version that servers speak this generation with.
    fn from(data: rpc::HelloData) -> Self {
        Self {
            agent_version: AGENT_VERSION.to_owned(),
            networks: data.networks,
            services: data.services,
            uptime: data.uptime,
            battery_level: data.battery_level,
            battery_status: data.battery_status,
            force_update: Some(data.force_update),
        }
    }
}

/// `data` of an update: the inventory, with partitions in words that servers of 2022 understand, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateData {
    /// Mounted file systems; those of `inventory` stay empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<Partition>>,
    /// All the rest.
    #[serde(flatten)]
    pub inventory: Inventory,
}

impl UpdateData {
    /// The same facts, under the version that servers speak this generation with.
    pub fn of(inventory: &Inventory) -> Self {
        let mut inventory = inventory.clone();
        let partitions = inventory.partitions.take();
        inventory.agent_version = Some(AGENT_VERSION.to_owned());
        Self {
            partitions: partitions.map(|partitions| partitions.into_iter().map(Partition::from).collect()),
            inventory,
        }
    }
}

/// One mounted file system. The first agents sent `serial` where later ones send `uuid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Device or drive letter.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// Type of the file system.
    pub filesystem: String,
    /// Bytes, used and available.
    pub size: u64,
    /// Bytes.
    pub free: u64,
    /// Label.
    pub name: String,
    /// UUID or volume serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Whether the volume is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
}

impl From<inventory::Partition> for Partition {
    fn from(partition: inventory::Partition) -> Self {
        Self {
            device: partition.device,
            mountpoint: partition.mountpoint,
            filesystem: partition.filesystem,
            size: partition.size,
            free: partition.free,
            name: partition.name,
            serial: Some(partition.uuid.clone()),
            uuid: Some(partition.uuid),
            encrypted: Some(partition.encrypted),
        }
    }
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "P: Serialize", deserialize = "P: DeserializeOwned"))]
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
#[serde(bound(serialize = "P: Serialize", deserialize = "P: DeserializeOwned"))]
pub struct Outcome<P> {
    /// Whether the server did what was asked.
    pub success: Success,
    /// What the method answers, and the server key.
    pub params: Answer<P>,
    /// Greater than in the answer before; none from servers of 2022.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// `params` of an answer: those of the signed generation and, beside them, the server key.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<P> {
    /// What the agent recognises its server by.
    pub server_key: Option<Key>,
    /// What the method answers. A server key of its own stays empty.
    pub params: P,
}

impl<P: Serialize> Serialize for Answer<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut params = match serde_json::to_value(&self.params).map_err(S::Error::custom)? {
            Value::Object(params) => params,
            Value::Array(items) if items.is_empty() => Map::new(),
            other => return Err(S::Error::custom(format_args!("{other} is no object"))),
        };
        if let Some(key) = &self.server_key {
            params.insert(SERVER_KEY.to_owned(), Value::String(key.expose().to_owned()));
        }
        params.serialize(serializer)
    }
}

impl<'de, P: DeserializeOwned> Deserialize<'de> for Answer<P> {
    /// Accepts an empty list for an empty object.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut params: Map<String, Value> = crate::lenient::empty_list_as_default(deserializer)?;
        let server_key = match params.remove(SERVER_KEY) {
            Some(Value::String(key)) => Some(Key::new(key)),
            None | Some(Value::Null) => None,
            // Not shown: it may be one after all.
            Some(_) => return Err(serde::de::Error::custom("the server key is no text")),
        };
        let params = P::deserialize(Value::Object(params)).map_err(serde::de::Error::custom)?;
        Ok(Self { server_key, params })
    }
}

/// `data` of `oco.agent.update_deploy_status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeployStatus {
    /// The job's id exactly as received.
    pub job_id: Id,
    /// How far it is.
    pub state: JobState,
    /// The procedure's return code; 0 while there is none, for servers refuse null.
    pub return_code: i64,
    /// The whole output, or the reason of an agent error.
    pub message: String,
}

impl DeployStatus {
    /// What a report is in these words; none for progress within a state, which they have no words for.
    pub fn of(report: &JobReport) -> Option<Self> {
        let within_state = match report.state {
            JobState::Downloading => report.download_progress.is_some_and(|percent| percent > 0.0),
            JobState::Executing => !report.message.is_empty(),
            JobState::AgentError | JobState::Finished => false,
        };
        (!within_state).then(|| Self {
            job_id: report.job_id.clone(),
            state: report.state,
            return_code: report.return_code.unwrap_or(0),
            message: report.message.clone(),
        })
    }
}

/// The query of a download: `GET URL?hostname=..&agent-key=..&id=..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DownloadQuery {
    /// As in [`Params`].
    pub hostname: String,
    /// As in [`Params`].
    pub agent_key: Key,
    /// The package whose archive is wanted.
    pub id: Id,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::HelloAnswer;
    use serde_json::json;

    #[test]
    fn method_names_are_known_in_both_spellings() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.as_str()), Some(method));
        }
        assert_eq!(Method::from_name("oco.agent_hello"), Some(Method::Hello));
        assert_eq!(Method::from_name("oco.agent_update"), Some(Method::Update));
        assert_eq!(
            Method::from_name("oco.update_deploy_status"),
            Some(Method::UpdateDeployStatus)
        );
        assert_eq!(Method::from_name("oco.agent.download"), None);
    }

    #[test]
    fn the_server_key_stands_beside_what_a_method_answers() {
        let wire = json!({"server-key": "s", "agent-key": null, "update": "0", "software-jobs": []});
        let answer: Answer<HelloAnswer> = serde_json::from_value(wire).unwrap();
        assert_eq!(answer.server_key, Some(Key::new("s")));
        assert_eq!(answer.params.server_key, None);
        assert_eq!(serde_json::to_value(&answer).unwrap()["server-key"], "s");
        let empty: Answer<Value> = serde_json::from_value(json!([])).unwrap();
        assert_eq!((empty.server_key, empty.params), (None, json!({})));
        for wrong in [json!({"server-key": 7}), json!([1]), json!("x")] {
            assert!(serde_json::from_value::<Answer<Value>>(wrong).is_err());
        }
    }

    #[test]
    fn a_deploy_status_has_a_return_code_always_and_no_words_for_progress() {
        let report = |state, progress, message: &str| JobReport {
            job_id: Id::Number(1),
            state,
            return_code: None,
            download_progress: progress,
            message: message.into(),
        };
        let status = DeployStatus::of(&report(JobState::Downloading, Some(0.0), "")).unwrap();
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"job-id":1,"state":1,"return-code":0,"message":""}"#
        );
        assert!(DeployStatus::of(&report(JobState::Executing, Some(100.0), "")).is_some());
        for progress in [
            report(JobState::Downloading, Some(17.0), ""),
            report(JobState::Downloading, Some(101.0), ""),
            report(JobState::Executing, Some(100.0), "output so far"),
        ] {
            assert_eq!(DeployStatus::of(&progress), None);
        }
        let failed = JobReport {
            return_code: Some(-9999),
            ..report(JobState::AgentError, None, "reason")
        };
        assert_eq!(
            DeployStatus::of(&failed).map(|status| status.return_code),
            Some(-9999)
        );
    }
}
