//! What only a mock server has: settings, policies, rules and faults.

use super::{Admin, AdminError, Created};
use crate::scenario::{EventRule, PasswordRule, PolicySet, ServerFault, Settings};
use reqwest::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Computers registered with one request; the server's limit.
pub const REGISTRATIONS: usize = super::PAGE;

#[derive(Deserialize)]
struct Committed {
    committed: u64,
}

#[derive(Deserialize)]
struct CurrentSettings {
    update_interval: u64,
}

/// A computer to be registered. Its keys are secrets.
#[derive(Serialize)]
pub struct Registration<'a> {
    /// Host name.
    pub hostname: &'a str,
    /// UUID, or the host name where there is none.
    pub uid: &'a str,
    /// What its agent signs with.
    pub agent_key: &'a str,
    /// What the server signs with for it.
    pub server_key: &'a str,
    /// Which agent it runs.
    pub agent_version: &'a str,
}

#[derive(Deserialize)]
struct Registered {
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    hostname: String,
    reason: String,
}

impl Admin {
    /// Changes settings.
    pub async fn change_settings(&self, settings: Settings) -> Result<(), AdminError> {
        let Some(interval) = settings.update_interval else {
            return Ok(());
        };
        let body = json!({ "update_interval": interval.0.as_secs() });
        let action = "change the settings";
        self.call::<IgnoredAny>(action, Method::PUT, "settings", Some(&body))
            .await
            .map(drop)
    }

    /// The age at which the server asks for an inventory again.
    pub async fn update_interval(&self) -> Result<Duration, AdminError> {
        let settings: CurrentSettings = self
            .call("read the settings", Method::GET, "settings", None)
            .await?;
        Ok(Duration::from_secs(settings.update_interval))
    }

    /// Registers computers, at most [`REGISTRATIONS`]; their last inventories count as sent within the time given.
    pub async fn register(
        &self,
        computers: &[Registration<'_>],
        inventories_over: Duration,
    ) -> Result<(), AdminError> {
        let action = "register the fleet's computers";
        let body = json!({ "computers": computers, "inventories_over": inventories_over.as_secs().max(1) });
        let registered: Registered = self
            .call(action, Method::POST, "computers/registered", Some(&body))
            .await?;
        match registered.refused.into_iter().next() {
            None => Ok(()),
            Some(Refused { hostname, reason }) => Err(AdminError::NotRegistered { hostname, reason }),
        }
    }

    /// Replaces the policies for all computers.
    pub async fn set_policies(&self, policies: &PolicySet) -> Result<(), AdminError> {
        let body = json!({ "machine": policies.machine.get_ref() });
        let action = format!("set policies {:?}", policies.name.get_ref());
        self.call::<IgnoredAny>(&action, Method::PUT, "policies", Some(&body))
            .await
            .map(drop)
    }

    /// Adds an event rule.
    pub async fn add_event_rule(&self, rule: &EventRule) -> Result<(), AdminError> {
        let body = json!({ "log": rule.log, "query": rule.query });
        let action = format!("add event rule {:?}", rule.name.get_ref());
        self.call::<Created>(&action, Method::POST, "event-rules", Some(&body))
            .await
            .map(drop)
    }

    /// Adds a password rule. One for the same account that is there already does as well.
    pub async fn add_password_rule(&self, rule: &PasswordRule) -> Result<(), AdminError> {
        let body = json!({
            "username": rule.username,
            "alphabet": rule.alphabet,
            "length": rule.length.0,
            "valid_for": rule.valid_for.0.0.as_secs().max(1),
        });
        let action = format!("add password rule {:?}", rule.name.get_ref());
        let added = self
            .call::<Created>(&action, Method::POST, "password-rules", Some(&body))
            .await;
        match added {
            Err(AdminError::Refused {
                status: StatusCode::CONFLICT,
                ..
            }) => Ok(()),
            added => added.map(drop),
        }
    }

    /// Has the server commit a fault from now on; its id.
    pub async fn add_fault(&self, fault: &ServerFault) -> Result<i64, AdminError> {
        let action = format!("add fault {:?}", fault.name.get_ref());
        let body = serde_json::to_value(fault.rule()).map_err(|error| AdminError::answer(&action, error))?;
        let created: Created = self.call(&action, Method::POST, "faults", Some(&body)).await?;
        Ok(created.id)
    }

    /// Removes a fault; how often the server has committed it.
    pub async fn remove_fault(&self, fault: &ServerFault, id: i64) -> Result<u64, AdminError> {
        let action = format!("remove fault {:?}", fault.name.get_ref());
        let removed: Committed = self
            .call(&action, Method::DELETE, &format!("faults/{id}"), None)
            .await?;
        Ok(removed.committed)
    }
}
