//! What all requests share: the store, the settings, the clock.

use crate::archives::Archives;
use crate::clock::{Clock, Random, RandomError, SystemRandom};
use crate::config::{Config, Limits};
use crate::conformance::{Conformance, Keys};
use crate::faults::{Faults, InvalidRule};
use crate::generation::{PhpQuirks, ServerGeneration};
use crate::instruments::Instruments;
use crate::keys;
use crate::retention;
use crate::rules::Rules;
use crate::store::settings::{FirstSetting, SaveSettings};
use crate::store::users::{AddUser, UserOutcome};
use crate::store::{Cache, Computer, OpenError, Store, StoreError};
use crate::tls::TlsError;
use crate::users::{self, HashError, Role, Verifier};
use bytes::Bytes;
use oco_protocol::{Key, Timestamp};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

const LAST_ANSWER: &str = "last-answer";
const DEFAULT_UPDATE_INTERVAL: Duration = Duration::from_secs(2 * 3600);

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The settings cannot be read or written.
    #[error("cannot load the server's settings: {0}")]
    Settings(String),
    /// No keys can be made.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The first user's password cannot be stored.
    #[error("cannot add the user {ADMIN}: {0}")]
    Admin(String),
    /// A key of the configuration is empty.
    #[error("the {0} is empty: leave it out to have one generated")]
    EmptyKey(&'static str),
    /// A fault of the configuration cannot be.
    #[error("faults of the configuration: {0}")]
    Fault(#[from] InvalidRule),
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener is of no use.
    #[error("cannot tell the address of the listener")]
    Listener(#[source] std::io::Error),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Settings(crate::error::chain(&error))
    }
}

/// Name of the user that is made where there are none.
const ADMIN: &str = "admin";

/// The user that is made at the first start.
#[derive(Debug, Clone)]
pub struct NewAdmin {
    /// What it signs in with.
    pub name: String,
    /// The password that was made for it, shown now or never; none where the configuration gave one.
    pub generated_password: Option<Key>,
}

/// Settings that can be changed while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) update_interval: Duration,
    pub(crate) self_registration: bool,
}

/// The keys that must not be in a computer's requests.
#[derive(Debug)]
struct KnownKeys {
    cache: Arc<Cache>,
    registration: Key,
}

impl Keys for KnownKeys {
    fn of(&self, hostname: &str) -> Vec<Key> {
        let mut keys = vec![self.registration.clone()];
        if let Some(computer) = self.cache.get(hostname) {
            let state = computer.state();
            keys.extend(
                [&state.agent_key, &state.server_key]
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
        }
        keys
    }

    fn is_in(&self, hostname: &str, body: &[u8], min_length: usize) -> bool {
        let found = |key: &Key| {
            key.expose().len() >= min_length && memchr::memmem::find(body, key.expose().as_bytes()).is_some()
        };
        let computer = self.cache.get(hostname);
        found(&self.registration)
            || computer.is_some_and(|computer| {
                let state = computer.state();
                [&state.agent_key, &state.server_key]
                    .into_iter()
                    .flatten()
                    .any(found)
            })
    }
}

/// What all requests share.
#[derive(Debug)]
pub struct ServerState {
    pub(crate) store: Store,
    pub(crate) agent_key: Key,
    pub(crate) api_key: Key,
    pub(crate) limits: Limits,
    pub(crate) generation: ServerGeneration,
    pub(crate) php: PhpQuirks,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) verifier: Verifier,
    /// The user that this start has made.
    pub(crate) new_admin: Option<NewAdmin>,
    pub(crate) instruments: Arc<Instruments>,
    clock: Arc<dyn Clock>,
    settings: RwLock<Settings>,
    /// Held from reading the settings until their change is stored.
    settings_change: Mutex<()>,
    rules: RwLock<Arc<Rules>>,
    /// Held while the rules are read again, so that those read last are kept.
    rules_reload: Mutex<()>,
    /// Of the rules and settings, where processes share the database.
    revision: AtomicI64,
    last_answer: AtomicU64,
    bodies: Arc<Semaphore>,
    archives: Archives,
    closed: AtomicBool,
}

impl ServerState {
    /// Opens the database and settles the keys.
    pub async fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let faults = Faults::new(&config.faults, config.fault_seed)?;
        let conformance = Conformance::new(
            config.conformance || config.strict,
            config.strict,
            config.server_generation,
        );
        let instruments = Instruments::new(conformance, faults, config.filters.clone());
        Self::open_with(config, Arc::new(instruments)).await
    }

    /// The same with instruments that there are already.
    pub(crate) async fn open_with(
        config: Config,
        instruments: Arc<Instruments>,
    ) -> Result<Arc<Self>, StartError> {
        let store = Store::open(&config.database).await?;
        // Before what it is the revision of: a change in between is read twice, never missed.
        let revision = store.revision().await?;
        let agent_key = key(&store, "agent-key", config.agent_key, &*config.random).await?;
        let api_key = key(&store, "api-key", config.api_key, &*config.random).await?;
        let settings = settings(&store, config.update_interval, config.self_registration).await?;
        save(&store, &agent_key, &api_key, settings).await?;
        let last_answer = AtomicU64::new(last_answer(&store).await?);
        let now = Timestamp::from_system_time(config.clock.now());
        let new_admin = first_user(&store, config.admin_password, &*config.random, now).await?;
        let rules = Rules::load(&store).await?;
        let mut secret = [0; 32];
        // Not the random source of the configuration: a test that scripts that one scripts keys.
        SystemRandom.fill(&mut secret)?;
        instruments.conformance.set_keys(Arc::new(KnownKeys {
            cache: store.cache.clone(),
            registration: agent_key.clone(),
        }));
        let state = Arc::new(Self {
            store,
            agent_key,
            api_key,
            limits: config.limits,
            generation: config.server_generation,
            php: config.php_quirks,
            random: config.random,
            verifier: Verifier::new(secret),
            new_admin,
            instruments,
            clock: config.clock,
            settings: RwLock::new(settings),
            settings_change: Mutex::default(),
            rules: RwLock::new(Arc::new(rules)),
            rules_reload: Mutex::default(),
            revision: AtomicI64::new(revision),
            last_answer,
            bodies: Arc::new(Semaphore::new(config.limits.body_memory)),
            archives: Archives::default(),
            closed: AtomicBool::new(false),
        });
        retention::start(&state, config.retention);
        Ok(state)
    }

    /// Whether the database is closed, or about to be.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Finishes queued writes and closes the database.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if !self.store.is_shared() {
            self.store_last_answer().await;
        }
        self.store.close().await;
    }

    async fn store_last_answer(&self) {
        let last_answer = self.last_answer.load(Ordering::Relaxed).to_string();
        if let Err(error) = self
            .store
            .write(SaveSettings(vec![(LAST_ANSWER, last_answer)]))
            .await
        {
            tracing::warn!(
                error = crate::error::chain(&error),
                "the time of the last answer is not stored"
            );
        }
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_system_time(self.clock.now())
    }

    /// The timestamp of an answer: the current time, or a microsecond after the answer before. Agents accept an answer
    /// only if it is newer than the last one.
    pub(crate) fn answer_timestamp(&self) -> Timestamp {
        let now = self.now().as_micros();
        let next = |last: u64| now.max(last.saturating_add(1));
        let last = self
            .last_answer
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        Timestamp::from_micros(next(last.unwrap_or_else(|last| last)))
    }

    /// The timestamp of the answer to a request of `computer`, where it has to be settled before: processes that share the
    /// database store it with what the request changes.
    pub(crate) fn answer_time(&self, computer: Option<&Computer>) -> Option<Timestamp> {
        self.store
            .is_shared()
            .then(|| computer.map_or_else(|| self.answer_timestamp(), |computer| computer.answered_at))
    }

    /// The computer of that name, in whatever case, as it is now.
    pub(crate) async fn computer(&self, hostname: &str) -> Result<Option<Arc<Computer>>, StoreError> {
        if !self.store.is_shared() {
            return Ok(self.store.cache.get(hostname));
        }
        let found = self.store.read_through(hostname, self.now()).await?;
        self.follow(found.revision).await?;
        Ok(found.computer)
    }

    /// Reads rules and settings again where another process has changed them.
    pub(crate) async fn follow_others(&self) -> Result<(), StoreError> {
        if self.store.is_shared() {
            self.follow(self.store.revision().await?).await?;
        }
        Ok(())
    }

    async fn follow(&self, revision: i64) -> Result<(), StoreError> {
        if self.revision.load(Ordering::Acquire) == revision {
            return Ok(());
        }
        self.reload_rules().await?;
        let _turn = self.settings_change.lock().await;
        let settings = settings(&self.store, None, None).await?;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.revision.store(revision, Ordering::Release);
        Ok(())
    }

    /// Waits for memory to hold a body of `size` bytes; the largest share is all there is.
    pub(crate) async fn body_budget(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let size = u32::try_from(size.min(self.limits.body_memory)).unwrap_or(u32::MAX);
        // Never closed, so a permit always comes.
        self.bodies.clone().acquire_many_owned(size).await.ok()
    }

    /// The settings as they are now.
    pub(crate) fn settings(&self) -> Settings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the settings for good, one change after the other.
    pub(crate) async fn change_settings(
        &self,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Settings, StoreError> {
        let _turn = self.settings_change.lock().await;
        let mut settings = self.settings();
        change(&mut settings);
        save(&self.store, &self.agent_key, &self.api_key, settings).await?;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(settings)
    }

    /// The rules as they are now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the rules again after a change.
    pub(crate) async fn reload_rules(&self) -> Result<(), StoreError> {
        let _turn = self.rules_reload.lock().await;
        let rules = Rules::load(&self.store).await?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    /// The archive of a package.
    pub(crate) async fn archive(&self, package: i64) -> Result<Option<Bytes>, StoreError> {
        // None is passed on as an error, so that it is not kept.
        let archive = self.archives.get(package, || async {
            self.store.archive(package).await.map_err(Some)?.ok_or(None)
        });
        match archive.await {
            Ok(archive) => Ok(Some(archive)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }
}

/// What answers must be newer than, µs: the last answer before the end or, where the server was killed, the latest time
/// stored. Agents that had an answer refuse older ones, even where the clock has been set back meanwhile.
async fn last_answer(store: &Store) -> Result<u64, StoreError> {
    let stored = store.setting(LAST_ANSWER).await?;
    let answered = stored.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(store.latest_time().await?.as_micros().max(answered))
}

/// Makes an administrator where there are no users.
async fn first_user(
    store: &Store,
    password: Option<Key>,
    random: &dyn Random,
    now: Timestamp,
) -> Result<Option<NewAdmin>, StartError> {
    if password.as_ref().is_some_and(Key::is_empty) {
        return Err(StartError::EmptyKey("admin-password"));
    }
    if !store.users().await?.is_empty() {
        return Ok(None);
    }
    let (password, generated_password) = match password {
        Some(password) => (password, None),
        None => {
            let generated = keys::generate(random)?;
            (generated.clone(), Some(generated))
        }
    };
    let refused = |error: HashError| StartError::Admin(error.to_string());
    let write = AddUser {
        name: ADMIN.into(),
        password_hash: users::hash(password.expose().to_owned()).await.map_err(refused)?,
        role: Role::Administrator,
        limits: Vec::new(),
        now,
    };
    match store.write(write).await? {
        UserOutcome::Done(_) => Ok(Some(NewAdmin {
            name: ADMIN.into(),
            generated_password,
        })),
        // Another process that has started at the same time was faster.
        UserOutcome::NameTaken if store.is_shared() => Ok(None),
        outcome => Err(StartError::Admin(format!("{outcome:?}"))),
    }
}

/// The configured key, else the stored one, else a new one.
async fn key(
    store: &Store,
    name: &'static str,
    configured: Option<Key>,
    random: &dyn Random,
) -> Result<Key, StartError> {
    match configured {
        Some(key) if key.is_empty() => Err(StartError::EmptyKey(name)),
        Some(key) => Ok(key),
        None => match store.setting(name).await? {
            Some(stored) => Ok(Key::new(stored)),
            None => {
                let generated = keys::generate(random)?.expose().to_owned();
                // Of processes that start on a new database at the same time, all take the key of the first one.
                let first = store.write(FirstSetting(name, generated)).await?;
                Ok(Key::new(first))
            }
        },
    }
}

async fn settings(
    store: &Store,
    update_interval: Option<Duration>,
    self_registration: Option<bool>,
) -> Result<Settings, StoreError> {
    let stored_interval = store
        .setting("update-interval")
        .await?
        .and_then(|text| text.parse().ok());
    let stored_registration = store.setting("self-registration").await?.map(|text| text == "1");
    Ok(Settings {
        update_interval: update_interval
            .or(stored_interval.map(Duration::from_secs))
            .unwrap_or(DEFAULT_UPDATE_INTERVAL),
        self_registration: self_registration.or(stored_registration).unwrap_or(true),
    })
}

async fn save(store: &Store, agent_key: &Key, api_key: &Key, settings: Settings) -> Result<(), StoreError> {
    let write = SaveSettings(vec![
        ("agent-key", agent_key.expose().to_owned()),
        ("api-key", api_key.expose().to_owned()),
        ("update-interval", settings.update_interval.as_secs().to_string()),
        (
            "self-registration",
            u8::from(settings.self_registration).to_string(),
        ),
    ]);
    store.write(write).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_two_changes_of_the_settings_at_a_time_none_is_lost() {
        let state = ServerState::open(Config::default()).await.unwrap();
        let interval = Duration::from_secs(77);
        let (first, second) = tokio::join!(
            state.change_settings(|settings| settings.update_interval = interval),
            state.change_settings(|settings| settings.self_registration = false)
        );
        assert!(first.is_ok() && second.is_ok());
        let expected = Settings {
            update_interval: interval,
            self_registration: false,
        };
        assert_eq!(state.settings(), expected);
        state.close().await;
    }

    #[tokio::test]
    async fn answers_stay_newer_over_a_restart_with_the_clock_set_back() {
        #[derive(Debug)]
        struct At(u64);
        impl Clock for At {
            fn now(&self) -> std::time::SystemTime {
                std::time::UNIX_EPOCH + Duration::from_secs(self.0)
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let open = async |seconds| {
            let config = Config {
                database: format!("sqlite:{}", folder.path().join("oco.db").display()),
                clock: Arc::new(At(seconds)),
                ..Config::default()
            };
            ServerState::open(config).await.unwrap()
        };
        let state = open(2_000_000_000).await;
        let last = state.answer_timestamp();
        state.close().await;
        drop(state);
        let state = open(1_000_000_000).await;
        assert!(state.answer_timestamp() > last);
        state.close().await;
    }
}
