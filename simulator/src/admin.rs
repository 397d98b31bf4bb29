//! The administrator's side of a scenario: a server's client API, which every OCO server has, and a mock server's REST
//! API, which has what the other lacks.

mod client_api;
mod mock;

pub use client_api::{ClientApi, Credentials, InvalidCredentials};
pub use mock::{REGISTRATIONS, Registration};

use crate::http::{self, ClientError};
use crate::redact::redacted;
use crate::scenario::{Deployment, Package, Sequence};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oco_protocol::Key;
use oco_protocol::lenient::Id;
use rand::Rng;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Path of the REST API on a mock server.
const API_PATH: &str = "/mock/v1/";
/// Limit for one request: a deployment to a large fleet writes a row for each computer.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Computers asked for at a time; the server's limit.
const PAGE: usize = 1000;

/// An administrator's action that failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The request did not get through.
    #[error("cannot {action}: the server's administration at {url} cannot be reached")]
    Request {
        /// What was to be done.
        action: String,
        /// Where.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("cannot {action}: the server answered {status}: {reason}")]
    Refused {
        /// What was to be done.
        action: String,
        /// HTTP status.
        status: StatusCode,
        /// Its message.
        reason: String,
    },
    /// The answer makes no sense.
    #[error("cannot {action}: the server's answer is not understood: {reason}")]
    Answer {
        /// What was to be done.
        action: String,
        /// Why not.
        reason: String,
    },
    /// The server has a computer of that name, or its uid, already.
    #[error(
        "cannot register {hostname:?} for fleet.registered: {reason}; use an empty database, another --seed, or the \
         --state file of the run that has registered it"
    )]
    NotRegistered {
        /// Which computer.
        hostname: String,
        /// Why not.
        reason: String,
    },
    /// None of the fleet's computers is known to the server.
    #[error("cannot {action}: the server knows none of the fleet's computers")]
    NoComputers {
        /// What was to be done.
        action: String,
    },
}

impl AdminError {
    fn answer(action: &str, reason: impl fmt::Display) -> Self {
        Self::Answer {
            action: action.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn request(action: &str, url: &Url, source: reqwest::Error) -> Self {
        Self::Request {
            action: action.to_owned(),
            url: redacted(url),
            source: source.without_url(),
        }
    }
}

/// Which computers a deployment is for.
#[derive(Debug, Clone)]
pub enum Targets {
    /// All that the server knows.
    All,
    /// Those with these host names (in lower case), where a server has others, too.
    Named(BTreeSet<String>),
}

/// A deployment as the server made it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployed {
    /// Its id, which jobs name as their container.
    pub id: Id,
    /// How many jobs it made.
    pub jobs: u64,
    /// On how many computers; none: the server does not tell.
    #[serde(default)]
    pub computers: Option<u64>,
}

/// Talks to the REST API.
#[derive(Debug, Clone)]
pub struct Admin {
    http: reqwest::Client,
    base: Url,
    key: Key,
}

#[derive(Deserialize)]
struct Created {
    id: i64,
}

#[derive(Deserialize)]
struct Computers {
    total: usize,
    computers: Vec<Computer>,
}

#[derive(Deserialize)]
struct Computer {
    id: i64,
    hostname: String,
}

#[derive(Deserialize)]
struct Packages {
    packages: Vec<KnownPackage>,
}

#[derive(Deserialize)]
struct KnownPackage {
    id: i64,
    name: String,
    version: String,
}

impl Admin {
    /// For the server whose agent API is at `agent_url`; `ca` is a PEM file of certificates to trust.
    pub fn new(agent_url: &Url, key: Key, ca: Option<&Path>) -> Result<Self, ClientError> {
        let base = beside(agent_url, API_PATH);
        let http = http::client(agent_url, ca, TIME_LIMIT)?;
        Ok(Self { http, base, key })
    }

    /// Creates a package, or finds the one of that name and version. `random` fills its file.
    pub async fn package(&self, package: &Package, random: &mut impl Rng) -> Result<i64, AdminError> {
        let name = package.name.get_ref();
        let body = json!({
            "name": name,
            "version": package.version,
            "procedure": package.procedure.get_ref(),
            "success_codes": "0",
            "post_action": package.post_action.number(),
            "files": files(package, random),
        });
        let action = format!("create package {name:?}");
        match self
            .call::<Created>(&action, Method::POST, "packages", Some(&body))
            .await
        {
            Ok(created) => Ok(created.id),
            Err(AdminError::Refused {
                status: StatusCode::CONFLICT,
                reason,
                ..
            }) => {
                let known: Packages = self.call(&action, Method::GET, "packages", None).await?;
                let same = |known: &&KnownPackage| known.name == *name && known.version == package.version;
                let refused = || AdminError::Refused {
                    action: action.clone(),
                    status: StatusCode::CONFLICT,
                    reason,
                };
                known
                    .packages
                    .iter()
                    .find(same)
                    .map(|known| known.id)
                    .ok_or_else(refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Deploys packages, in their order.
    pub async fn deploy(
        &self,
        deployment: &Deployment,
        packages: &[i64],
        targets: &Targets,
    ) -> Result<Deployed, AdminError> {
        let name = deployment.name.get_ref();
        let action = format!("deploy {name:?}");
        let computers = match targets {
            Targets::All => json!("all"),
            Targets::Named(names) => self.ids_of(&action, names).await?,
        };
        let body = json!({
            "name": name,
            "packages": packages,
            "computers": computers,
            "sequence_mode": sequence_mode(deployment.sequence),
            "priority": deployment.priority,
        });
        self.call(&action, Method::POST, "deployments", Some(&body)).await
    }

    async fn ids_of(&self, action: &str, names: &BTreeSet<String>) -> Result<Value, AdminError> {
        let mut ids = Vec::new();
        let mut offset = 0;
        loop {
            let path = format!("computers?offset={offset}&limit={PAGE}");
            let page: Computers = self.call(action, Method::GET, &path, None).await?;
            let ours = page
                .computers
                .iter()
                .filter(|computer| names.contains(&computer.hostname.to_lowercase()));
            ids.extend(ours.map(|computer| computer.id));
            offset += page.computers.len();
            if page.computers.is_empty() || offset >= page.total {
                break;
            }
        }
        if ids.is_empty() {
            return Err(AdminError::NoComputers {
                action: action.to_owned(),
            });
        }
        Ok(json!(ids))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, AdminError> {
        let answer = |reason: &dyn fmt::Display| AdminError::answer(action, reason);
        let url = self.base.join(path).map_err(|error| answer(&error))?;
        let failed = |source: reqwest::Error| AdminError::request(action, &self.base, source);
        let mut request = self.http.request(method, url).bearer_auth(self.key.expose());
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.bytes().await.map_err(failed)?;
        if status == StatusCode::NO_CONTENT {
            serde_json::from_str("null").map_err(|error| answer(&error))
        } else if status.is_success() {
            serde_json::from_slice(&text).map_err(|error| answer(&error))
        } else {
            Err(AdminError::Refused {
                action: action.to_owned(),
                status,
                reason: reason(&text),
            })
        }
    }
}

/// A package's files as both interfaces take them; random content, of the size that the scenario wants.
fn files(package: &Package, random: &mut impl Rng) -> Value {
    let mut content = vec![0; package.size_kib.0 as usize * 1024];
    random.fill_bytes(&mut content);
    if content.is_empty() {
        json!([])
    } else {
        json!([{ "name": "package.bin", "content": STANDARD.encode(&content) }])
    }
}

/// As both interfaces number it.
fn sequence_mode(sequence: Sequence) -> u8 {
    match sequence {
        Sequence::Continue => 0,
        Sequence::Abort => 1,
    }
}

/// Another interface of the server whose agent API is at `agent_url`.
fn beside(agent_url: &Url, path: &str) -> Url {
    let mut url = agent_url.clone();
    url.set_path(path);
    url.set_query(None);
    url
}

/// The message of `{"error": "..."}`, else the beginning of the text.
fn reason(text: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(text).ok();
    let message = json
        .as_ref()
        .and_then(|json| json.get("error"))
        .and_then(Value::as_str);
    let message = message.map_or_else(|| String::from_utf8_lossy(text).into_owned(), str::to_owned);
    message.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_refusal_is_one_short_line() {
        assert_eq!(
            reason(br#"{"error":"there is no package 7"}"#),
            "there is no package 7"
        );
        assert_eq!(reason("<html>\u{1b}[31m\nno".as_bytes()), "<html>[31mno");
        assert_eq!(reason(&[b'x'; 5000]).len(), 200);
    }
}
