//! The agent itself: one check-in, from hello to inventory, and the jobs that come of it.
//!
//! What to do after a hello is decided by [`plan`], a pure function; [`Agent`] performs it.

use crate::config::{self, Config, ConfigError, Paths};
use crate::host::{Host, HostError};
use crate::inventory;
use crate::jobs::{JobEngine, JobSettings, JobsSummary, Ticket, with_causes};
use crate::observer::Observer;
use crate::pacing;
use crate::server_client::{ExchangeError, HttpClient, HttpError, Sender, ServerClient};
use oco_protocol::job::Job;
use oco_protocol::lenient::Item;
use oco_protocol::policy::UpdateAnswer;
use oco_protocol::rpc::{HelloAnswer, HelloData, Method};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What this agent calls itself. Servers speak the signed generation with versions from 1.1.7 on.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// How often a refused inventory is sent again before the next check-in. Servers refuse some when many computers send
/// their first one at the same time.
const UPDATE_RETRIES: u32 = 3;

/// Longest time that a hello waits for the battery, whose driver may wait for the hardware.
const BATTERY_TIME_LIMIT: Duration = Duration::from_secs(2);

/// An agent for one computer and one server.
pub struct Agent {
    host: Arc<dyn Host>,
    config: Config,
    client: Arc<ServerClient>,
    jobs: JobEngine,
    /// Held while the battery is asked.
    battery: Arc<tokio::sync::Mutex<()>>,
}

/// An agent that cannot even start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody said which server it is.
    #[error("{}: [server] api-url is empty: set it to https://SERVER/api-agent.php", .0.display())]
    NoServer(PathBuf),
    /// The computer has neither a host name nor a UUID.
    #[error("this computer cannot be identified; give it a host name")]
    NoIdentity(#[source] HostError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// A check-in that failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckInError {
    /// The hello brought nothing usable.
    #[error("check-in failed")]
    Hello(#[source] ExchangeError),
    /// The inventory was not accepted; the jobs of the hello are still to be done.
    #[error("check-in succeeded but the inventory was not accepted")]
    Update {
        /// Why not.
        #[source]
        source: ExchangeError,
        /// What the hello brought.
        check_in: CheckIn,
    },
}

/// A check-in that got through.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckIn {
    /// Whether the server met this computer for the first time.
    pub registered: bool,
    /// Whether an inventory was sent and accepted.
    pub inventory_sent: bool,
    /// The jobs to run now, in this order.
    pub jobs: Vec<Job>,
    /// When these jobs were ordered.
    pub ordered: Ticket,
}

/// What the answer to a hello asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Collect and send an inventory with the logins since then (UTC, `YYYY-MM-DD HH:MM:SS`; none: all).
    pub inventory: Option<Option<String>>,
    /// Run these jobs, in this order.
    pub jobs: Vec<Job>,
    /// Parts of the answer that are not followed, and why; for the log.
    pub ignored: Vec<String>,
}

/// Decides what to do about the answer to a hello.
pub fn plan(answer: HelloAnswer) -> Plan {
    let inventory = answer.update.then_some(answer.logins_since);
    let mut plan = Plan {
        inventory,
        ..Plan::default()
    };
    for job in answer.software_jobs {
        match job {
            Item::Valid(job) => plan.jobs.push(job),
            Item::Malformed { reason, .. } => plan.ignored.push(format!("a malformed job: {reason}")),
        }
    }
    if !answer.events.is_empty() {
        plan.ignored.push(format!(
            "{} event queries: this version collects no events",
            answer.events.len()
        ));
    }
    if !answer.update_passwords.is_empty() {
        let count = answer.update_passwords.len();
        plan.ignored.push(format!(
            "{count} password rules: this version rotates no passwords"
        ));
    }
    plan
}

impl Agent {
    /// Reads configuration and state through the host. `http` makes (or shares) the client that the configuration
    /// asks for. Nothing is sent yet.
    pub fn load(
        host: Arc<dyn Host>,
        paths: &Paths,
        http: impl FnOnce(&Config) -> Result<HttpClient, HttpError>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, LoadError> {
        let (config, warnings) = config::load(host.as_ref(), &paths.config)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let no_server = || LoadError::NoServer(paths.config.clone());
        let url = config
            .api_url
            .as_deref()
            .and_then(|url| url.parse().ok())
            .ok_or_else(no_server)?;
        let http = http(&config)?;
        let identity =
            inventory::identity(host.as_ref(), &collection(&config, None)).map_err(LoadError::NoIdentity)?;
        let sender = Sender {
            uid: identity.uid,
            hostname: identity.hostname,
        };
        let client = Arc::new(ServerClient::new(
            http,
            url,
            &config,
            sender,
            host.clone(),
            paths.clone(),
            observer.clone(),
        ));
        let settings = JobSettings::from(&config);
        let jobs = JobEngine::new(host.clone(), client.clone(), observer, settings, &paths.journal);
        Ok(Self {
            host,
            config,
            client,
            jobs,
            battery: Arc::default(),
        })
    }

    /// The settings it works with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether a job wants this agent to end, so that the service manager starts its new version.
    pub fn is_leaving(&self) -> bool {
        self.jobs.is_leaving()
    }

    /// Says hello, reports job outcomes that did not get through before, and sends the inventory if the server wants it.
    /// The jobs that the server orders are returned, to be
    /// run with [`Agent::run_jobs`] at once or beside later check-ins.
    pub async fn check_in(&self, force_update: bool) -> Result<CheckIn, CheckInError> {
        let ordered = self.jobs.ticket();
        let (answer, registered) = self
            .client
            .hello(self.hello_data(force_update).await)
            .await
            .map_err(CheckInError::Hello)?;
        let plan = plan(answer);
        for ignored in &plan.ignored {
            tracing::warn!("the server's answer is not followed in one part: {ignored}");
        }
        self.jobs.report_unaccepted(&plan.jobs).await;
        let mut check_in = CheckIn {
            registered,
            inventory_sent: false,
            jobs: plan.jobs,
            ordered,
        };
        if let Some(logins_since) = plan.inventory {
            match self.send_inventory(logins_since).await {
                Ok(()) => check_in.inventory_sent = true,
                Err(source) => return Err(CheckInError::Update { source, check_in }),
            }
        }
        Ok(check_in)
    }

    /// Runs jobs in their order, each to its end and its report. `ordered` is that of the check-in that brought them.
    /// Once `stop` says true no further one is started.
    pub async fn run_jobs(&self, jobs: Vec<Job>, ordered: Ticket, stop: impl Fn() -> bool) -> JobsSummary {
        self.jobs.run(jobs, ordered, stop).await
    }

    async fn hello_data(&self, force_update: bool) -> HelloData {
        let host = self.host.clone();
        let (battery_sender, battery) = oneshot::channel();
        // Held until the battery has answered; as long as it does not, it is not asked again.
        let asking = self.battery.clone().try_lock_owned();
        let (sender, parts) = oneshot::channel();
        // Not waited for: a driver that never answers must not keep the hello back.
        tokio::task::spawn_blocking(move || {
            let log = |field: &'static str| move |error: &HostError| log_missing(field, error);
            let networks = inventory::networks(host.as_ref())
                .inspect_err(log("networks"))
                .ok();
            let uptime = inventory::uptime(host.as_ref()).inspect_err(log("uptime")).ok();
            // Nobody listens where the check-in was given up.
            let _ = sender.send((networks, uptime));
            if let Ok(_asking) = asking {
                let _ = battery_sender.send(inventory::battery(host.as_ref()));
            }
        });
        let (networks, uptime) = parts.await.unwrap_or_default();
        let battery = tokio::time::timeout(BATTERY_TIME_LIMIT, battery).await;
        if battery.is_err() {
            tracing::warn!("the battery does not answer: it is left out of the hello");
        }
        let (battery_level, battery_status) = battery.ok().and_then(Result::ok).unwrap_or_default();
        HelloData {
            agent_version: AGENT_VERSION.to_owned(),
            networks,
            services: None,
            uptime,
            battery_level,
            battery_status,
            force_update,
        }
    }

    /// Collects the inventory and sends it, again after a while where the server stumbles over it.
    async fn send_inventory(&self, logins_since: Option<String>) -> Result<(), ExchangeError> {
        let host = self.host.clone();
        let config = self.config.clone();
        let collect = move || {
            let options = collection(&config, logins_since);
            inventory::collect_within(inventory::PART_TIME_LIMIT, &host, &options)
        };
        let inventory = blocking(collect).await.ok_or_else(|| ExchangeError::Malformed {
            method: Method::Update,
            reason: "the inventory could not be collected".into(),
        })?;
        let mut attempt = 0;
        loop {
            match self
                .client
                .exchange::<_, UpdateAnswer>(Method::Update, &inventory)
                .await
            {
                Ok(answer) => {
                    let count: usize = answer.params.policies.0.values().map(|scope| scope.len()).sum();
                    if count > 0 {
                        tracing::warn!(count, "policies are not followed: this version applies none");
                    }
                    return Ok(());
                }
                Err(error @ ExchangeError::Refused { status: 500.., .. }) if attempt < UPDATE_RETRIES => {
                    let wait = pacing::retry_delay(attempt, pacing::chance(self.host.as_ref()));
                    tracing::warn!(error = %with_causes(&error), wait_ms = wait.as_millis(), "inventory is sent again");
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What configuration and server say of the inventory.
pub fn collection(config: &Config, logins_since: Option<String>) -> inventory::Options {
    inventory::Options {
        agent_version: AGENT_VERSION.to_owned(),
        hostname_remove_domain: config.hostname_remove_domain,
        machine_uid: config.machine_uid.clone(),
        local_users: config.local_users.clone(),
        logins_since,
    }
}

fn log_missing(field: &str, error: &HostError) {
    tracing::warn!(field, error = %with_causes(error), "left out of the hello");
}

/// Runs what may block beside the runtime; none if it panicked, which is a defect but must not end the agent.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(%error, "collecting facts about this computer ended early");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(value: serde_json::Value) -> HelloAnswer {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn jobs_keep_their_order_and_malformed_ones_are_named() {
        let plan = plan(answer(json!({
            "update": 0,
            "software-jobs": [{"id": "dynamic-1", "procedure": "a"}, {"id": 9}, {"id": 4, "procedure": "b"}],
        })));
        assert_eq!(
            plan.jobs.iter().map(|job| job.id.to_string()).collect::<Vec<_>>(),
            ["dynamic-1", "4"]
        );
        assert_eq!(plan.inventory, None);
        assert!(plan.ignored.len() == 1 && plan.ignored[0].contains("procedure"));
    }

    #[test]
    fn an_inventory_is_sent_when_the_server_asks_for_it() {
        let plan = plan(answer(
            json!({"update": "1", "logins-since": "2026-11-22 06:00:00", "software-jobs": []}),
        ));
        assert_eq!(plan.inventory, Some(Some("2026-11-22 06:00:00".to_owned())));
    }
}
