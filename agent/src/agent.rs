//! The agent itself: one check-in, from hello to inventory, and the jobs that come of it.
//!
//! What to do after a hello is decided by [`plan`], a pure function; [`Agent`] performs it.

use crate::config::{self, Config, ConfigError, Paths};
use crate::defects::contained;
use crate::errors::with_causes;
use crate::events;
use crate::host::{Host, HostError, beside};
use crate::inventory;
use crate::jobs::{JobEngine, JobSettings, JobsSummary, Ticket};
use crate::observer::Observer;
use crate::pacing;
use crate::passwords;
use crate::policies;
use crate::server_client::{ExchangeError, HttpClient, HttpError, Sender, ServerClient};
use crate::service_checks;
use oco_protocol::inventory::Service;
use oco_protocol::job::Job;
use oco_protocol::lenient::Item;
use oco_protocol::policy::Policies;
use oco_protocol::rpc::{EventQuery, EventsData, HelloAnswer, HelloData, Method, PasswordRule};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

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
    paths: Paths,
    config: Config,
    client: Arc<ServerClient>,
    jobs: JobEngine,
    /// Held while the battery is asked.
    battery: Arc<tokio::sync::Mutex<()>>,
    inventory_under_way: inventory::UnderWay,
    /// What has to come to its end once it has begun.
    unstoppable: TaskTracker,
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
    /// Look for these events.
    pub events: Vec<EventQuery>,
    /// Rotate these passwords.
    pub passwords: Vec<PasswordRule>,
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
    plan.jobs = valid("a malformed job", answer.software_jobs, &mut plan.ignored);
    plan.events = valid("a malformed event query", answer.events, &mut plan.ignored);
    plan.passwords = valid(
        "a malformed password rule",
        answer.update_passwords,
        &mut plan.ignored,
    );
    plan
}

/// The well-formed items; the others are taken note of.
fn valid<T>(malformed: &str, items: Vec<Item<T>>, ignored: &mut Vec<String>) -> Vec<T> {
    let items = items.into_iter().filter_map(|item| match item {
        Item::Valid(item) => Some(item),
        Item::Malformed { reason, .. } => {
            ignored.push(format!("{malformed}: {reason}"));
            None
        }
    });
    items.collect()
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
            paths: paths.clone(),
            config,
            client,
            jobs,
            battery: Arc::default(),
            inventory_under_way: inventory::UnderWay::default(),
            unstoppable: TaskTracker::new(),
        })
    }

    /// Whether it holds the server's key.
    pub async fn is_registered(&self) -> bool {
        self.client.is_registered().await
    }

    /// The settings it works with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether a job wants this agent to end, so that the service manager starts its new version.
    pub fn is_leaving(&self) -> bool {
        self.jobs.is_leaving()
    }

    /// Says hello, reports job outcomes that did not get through before, sends the inventory and follows the policies if
    /// the server wants that, reports events and rotates passwords. The jobs that the server orders are returned, to be
    /// run with [`Agent::run_jobs`] at once or beside later check-ins.
    pub async fn check_in(&self, force_update: bool) -> Result<CheckIn, CheckInError> {
        let services = self.services().await;
        let ordered = self.jobs.ticket();
        let hello = HelloData {
            services,
            ..self.hello_data(force_update).await
        };
        let (answer, registered) = self.client.hello(hello).await.map_err(CheckInError::Hello)?;
        let plan = plan(answer);
        for ignored in &plan.ignored {
            tracing::warn!("the server's answer is not followed in one part: {ignored}");
        }
        if force_update && plan.inventory.is_none() {
            // Sent all the same it would be refused: servers of 2022 take only what they asked for themselves.
            tracing::warn!("the server wants no inventory now, although it was asked to: none is sent");
        }
        let unaccepted = self.jobs.report_unaccepted(&plan.jobs);
        contained("reporting earlier outcomes", unaccepted).await;
        let mut check_in = CheckIn {
            registered,
            inventory_sent: false,
            jobs: plan.jobs,
            ordered,
        };
        let update = match plan.inventory {
            Some(logins_since) => {
                let sent = contained("the inventory", self.send_inventory(logins_since)).await;
                sent.unwrap_or_else(|| Err(no_inventory())).map(|()| true)
            }
            None => Ok(false),
        };
        // A failure in one part does not stop the others.
        contained("events", self.report_events(plan.events)).await;
        self.rotate_passwords(plan.passwords).await;
        match update {
            Ok(sent) => {
                check_in.inventory_sent = sent;
                Ok(check_in)
            }
            Err(source) => Err(CheckInError::Update { source, check_in }),
        }
    }

    /// Waits for what has to come to its end although a check-in was given up.
    pub async fn settle(&self) {
        self.unstoppable.close();
        self.unstoppable.wait().await;
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
        drop(beside(self.host.as_ref(), move || {
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
        }));
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

    /// Results of the service checks.
    async fn services(&self) -> Option<Vec<Service>> {
        let (host, folder) = (self.host.clone(), self.paths.service_checks.clone());
        let limits = service_checks::Limits::default();
        let collect = move || service_checks::collect(host.as_ref(), &folder, limits);
        let services = beside(self.host.as_ref(), collect).await;
        services.unwrap_or_else(|error| {
            tracing::error!(%error, "no results of the service checks");
            None
        })
    }

    /// Follows the policies in the answer to an inventory.
    async fn follow(&self, policies: Policies) {
        let (host, state) = (self.host.clone(), self.paths.policies.clone());
        let mark = policies::registration_mark(&self.client.agent_key().await);
        let applied = blocking(move || policies::apply(host.as_ref(), &state, &mark, &policies)).await;
        match applied {
            Some(Ok(summary)) if summary == policies::Summary::default() => {}
            Some(Ok(policies::Summary {
                in_force,
                removed,
                failed,
            })) => tracing::info!(in_force, removed, failed, "policies followed"),
            Some(Err(error)) => {
                tracing::error!(error = %with_causes(&error), "policies are not followed: what was applied cannot be kept");
            }
            None => {}
        }
    }

    /// Looks for the events that the server asks for and reports them, if there are any.
    async fn report_events(&self, queries: Vec<EventQuery>) {
        if queries.is_empty() {
            return;
        }
        let host = self.host.clone();
        let events = blocking(move || events::collect(host.as_ref(), &queries)).await;
        let Some(events) = events.filter(|events| !events.is_empty()) else {
            return;
        };
        let data = EventsData { events };
        match self.client.exchange::<_, Value>(Method::Events, &data).await {
            Ok(_) => tracing::info!(events = data.events.len(), "events reported"),
            Err(error) => tracing::error!(error = %with_causes(&error), "events are not reported"),
        }
    }

    /// Rotates the passwords that the server has rules for. Once begun it is not given up: the server must not keep
    /// passwords that were never set.
    async fn rotate_passwords(&self, rules: Vec<PasswordRule>) {
        if rules.is_empty() {
            return;
        }
        let (host, client) = (self.host.clone(), self.client.clone());
        let rotation = self
            .unstoppable
            .spawn(async move { passwords::rotate(host, &client, &rules).await });
        match rotation.await {
            Ok(Ok(rotation)) => {
                tracing::info!(
                    set = rotation.set.len(),
                    revoked = rotation.revoked.len(),
                    "passwords rotated"
                );
            }
            Ok(Err(error)) => {
                tracing::error!(error = %with_causes(&error), "no password was set");
            }
            Err(error) => tracing::error!(%error, "rotating passwords ended early"),
        }
    }

    /// Collects the inventory and sends it, again after a while where the server stumbles over it.
    async fn send_inventory(&self, logins_since: Option<String>) -> Result<(), ExchangeError> {
        let host = self.host.clone();
        let (config, under_way) = (self.config.clone(), self.inventory_under_way.clone());
        let collect = move || {
            let options = collection(&config, logins_since);
            inventory::collect_within(inventory::PART_TIME_LIMIT, &host, &options, &under_way)
        };
        let inventory = blocking(collect).await.ok_or_else(no_inventory)?;
        let mut attempt = 0;
        loop {
            match self.client.update(&inventory).await {
                Ok(answer) => {
                    match answer.policies {
                        Some(policies) => self.follow(policies).await,
                        // That is not the same as "none": those in force stay.
                        None => tracing::debug!("the server's answer says nothing of policies"),
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
        username_with_domain: config.username_with_domain,
        logins_since,
    }
}

fn no_inventory() -> ExchangeError {
    ExchangeError::Malformed {
        method: Method::Update,
        reason: "the inventory could not be collected".into(),
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

    fn answer(value: Value) -> HelloAnswer {
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
    fn event_queries_and_password_rules_are_followed_and_malformed_ones_named() {
        let plan = plan(answer(json!({
            "update": 0,
            "events": [{"since": "1970-01-01 00:00:00", "log": "journalctl", "query": "{}"}, {"log": 7}],
            "update-passwords": [{"username": "a", "alphabet": "xyz", "length": "8"}, {"username": "b"}],
        })));
        assert_eq!((plan.events.len(), plan.passwords.len()), (1, 1));
        assert_eq!(plan.passwords[0].length, 8);
        assert!(plan.ignored[0].contains("event query") && plan.ignored[1].contains("password rule"));
    }

    #[test]
    fn an_inventory_is_sent_when_the_server_asks_for_it() {
        let plan = plan(answer(
            json!({"update": "1", "logins-since": "2026-11-22 06:00:00", "software-jobs": []}),
        ));
        assert_eq!(plan.inventory, Some(Some("2026-11-22 06:00:00".to_owned())));
    }
}
