//! The client API, which every OCO server has: JSON-RPC with a user's name and password and an API key.

use super::{AdminError, Deployed, TIME_LIMIT, Targets, beside, files, sequence_mode};
use crate::http::{self, ClientError};
use crate::scenario::{Deployment, Package};
use oco_protocol::Key;
use oco_protocol::lenient::Id;
use rand::Rng;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Path of the client API on a server.
const API_PATH: &str = "/api-client.php";

/// Who administers: a user of the server with their password, and the key of the client API.
#[derive(Debug, Clone)]
pub struct Credentials {
    username: String,
    password: Key,
    api_key: Key,
}

/// A text that holds no credentials. It is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected USER:PASSWORD:KEY; the password may have colons, user and key may not")]
pub struct InvalidCredentials;

impl FromStr for Credentials {
    type Err = InvalidCredentials;

    fn from_str(text: &str) -> Result<Self, InvalidCredentials> {
        let (username, rest) = text.split_once(':').ok_or(InvalidCredentials)?;
        let (password, api_key) = rest.rsplit_once(':').ok_or(InvalidCredentials)?;
        if username.is_empty() || password.is_empty() || api_key.is_empty() {
            return Err(InvalidCredentials);
        }
        Ok(Self {
            username: username.to_owned(),
            password: Key::new(password),
            api_key: Key::new(api_key),
        })
    }
}

/// Talks to the client API.
#[derive(Debug, Clone)]
pub struct ClientApi {
    http: reqwest::Client,
    url: Url,
    credentials: Credentials,
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<Outcome<T>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Outcome<T> {
    success: bool,
    data: T,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Created {
    id: Id,
}

#[derive(Deserialize)]
struct Computers {
    computers: Vec<Computer>,
}

#[derive(Deserialize)]
struct Computer {
    id: Id,
    hostname: String,
}

#[derive(Deserialize)]
struct Family {
    id: Id,
    name: String,
}

#[derive(Deserialize)]
struct Packages {
    packages: Vec<KnownPackage>,
}

#[derive(Deserialize)]
struct KnownPackage {
    id: Id,
    version: String,
}

#[derive(Deserialize)]
struct Job {
    computer_id: Id,
}

impl ClientApi {
    /// For the server whose agent API is at `agent_url`, with its client API beside it; `ca` is a PEM file of certificates
    /// to trust.
    pub fn new(agent_url: &Url, credentials: Credentials, ca: Option<&Path>) -> Result<Self, ClientError> {
        let path = agent_url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(Self {
            http: http::client(agent_url, ca, TIME_LIMIT)?,
            url: beside(agent_url, &format!("{path}{API_PATH}")),
            credentials,
        })
    }

    /// Creates a package, or finds the one of that name and version. `random` fills its file.
    pub async fn package(&self, package: &Package, random: &mut impl Rng) -> Result<i64, AdminError> {
        let name = package.name.get_ref();
        let action = format!("create package {name:?}");
        if let Some(known) = self.known_package(&action, package).await? {
            return Ok(known);
        }
        let data = json!({
            "package_family_name": name,
            "version": package.version,
            "install_procedure": package.procedure.get_ref(),
            "install_procedure_success_return_codes": "0",
            "install_procedure_post_action": package.post_action.number(),
            "files": files(package, random),
        });
        let created: Created = self.call(&action, "oco.package.create", data).await?;
        number(&action, &created.id)
    }

    async fn known_package(&self, action: &str, package: &Package) -> Result<Option<i64>, AdminError> {
        let families: Vec<Family> = self
            .call(action, "oco.package_family.list", json!({ "show_icons": false }))
            .await?;
        let same_name = families
            .iter()
            .find(|family| family.name == *package.name.get_ref());
        let Some(family) = same_name else {
            return Ok(None);
        };
        let data = json!({ "package_family_id": number(action, &family.id)? });
        let packages: Packages = self.call(action, "oco.package.list", data).await?;
        let known = packages
            .packages
            .iter()
            .find(|known| known.version == package.version);
        known.map(|known| number(action, &known.id)).transpose()
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
        let data = json!({
            "name": name,
            "description": "",
            "computer_ids": self.computers(&action, targets).await?,
            "package_ids": packages,
            "use_wol": false,
            "restart_timeout": 0,
            "force_install_same_version": true,
            "sequence_mode": sequence_mode(deployment.sequence),
            "priority": deployment.priority,
        });
        let created: Created = self.call(&action, "oco.job_container.deploy", data).await?;
        let container = number(&action, &created.id)?;
        let jobs: Vec<Job> = self
            .call(&action, "oco.job_container.job.list", json!({ "id": container }))
            .await?;
        let computers: BTreeSet<String> = jobs.iter().map(|job| job.computer_id.to_string()).collect();
        Ok(Deployed {
            id: Id::Number(container),
            jobs: jobs.len() as u64,
            computers: Some(computers.len() as u64),
        })
    }

    async fn computers(&self, action: &str, targets: &Targets) -> Result<Vec<i64>, AdminError> {
        let known: Computers = self.call(action, "oco.computer.list", json!({})).await?;
        let wanted = known.computers.iter().filter(|computer| match targets {
            Targets::All => true,
            Targets::Named(names) => names.contains(&computer.hostname.to_lowercase()),
        });
        let ids: Vec<i64> = wanted
            .map(|computer| number(action, &computer.id))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Err(AdminError::NoComputers {
                action: action.to_owned(),
            });
        }
        Ok(ids)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        method: &str,
        data: Value,
    ) -> Result<T, AdminError> {
        let answer = |reason: &dyn fmt::Display| AdminError::answer(action, reason);
        let failed = |source: reqwest::Error| AdminError::request(action, &self.url, source);
        let body = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": method,
            "params": { "api_key": self.credentials.api_key.expose(), "data": data },
        });
        let response = self
            .http
            .post(self.url.clone())
            .basic_auth(
                &self.credentials.username,
                Some(self.credentials.password.expose()),
            )
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .map_err(failed)?;
        let status = response.status();
        let text = response.bytes().await.map_err(failed)?;
        let refused = |reason: String| AdminError::Refused {
            action: action.to_owned(),
            status,
            reason,
        };
        if !status.is_success() {
            return Err(refused(super::reason(&text)));
        }
        let parsed: Answer<Value> = serde_json::from_slice(&text).map_err(|error| answer(&error))?;
        match (parsed.error, parsed.result) {
            (Some(Refusal { code, message }), _) => {
                let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(refused(format!("{message} ({code})")))
            }
            (None, Some(Outcome { success: true, data })) => {
                serde_json::from_value(data).map_err(|error| answer(&error))
            }
            (None, _) => Err(answer(&"neither a result nor an error")),
        }
    }
}

/// Ids are numbers, or texts of digits on older servers.
fn number(action: &str, id: &Id) -> Result<i64, AdminError> {
    let wrong = || AdminError::answer(action, format_args!("{id:?} is no id"));
    id.to_string().parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_apart_and_never_shown() {
        let credentials: Credentials = "admin:pass:word:hidden".parse().unwrap();
        assert_eq!(credentials.username, "admin");
        assert_eq!(credentials.password.expose(), "pass:word");
        assert_eq!(credentials.api_key.expose(), "hidden");
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("pass:word") && !shown.contains("hidden"),
            "{shown}"
        );
        for wrong in ["", "a", "a:secret", ":b:c", "a::c", "a:secret:"] {
            let error = wrong.parse::<Credentials>().unwrap_err();
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn the_client_api_is_beside_the_agent_api() {
        let credentials: Credentials = "a:b:c".parse().unwrap();
        for (agent, client) in [
            ("http://h/api-agent.php", "http://h/api-client.php"),
            ("http://h/oco/api-agent.php?x=1", "http://h/oco/api-client.php"),
        ] {
            let api = ClientApi::new(&agent.parse().unwrap(), credentials.clone(), None).unwrap();
            assert_eq!(api.url.as_str(), client);
        }
    }
}
