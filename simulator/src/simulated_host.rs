//! A virtual machine: answers everything the agent asks with artefacts generated from seed and index.
//!
//! Building one costs a few draws; each artefact is generated when it is asked for, from a random stream of its own, so
//! that neither the order of questions nor their number changes an answer. What the agent writes lives in a
//! [`VirtualState`], which outlives the host: an idle agent is its state and nothing else.

mod clock;
mod config_file;
mod key_text;
mod preferences;
mod procedure;
mod record;
pub mod recording;
mod registry;
mod staging;
mod state;

pub use clock::VirtualClock;
pub use config_file::InvalidSetting;
pub use procedure::{Plan, ProcedureBehaviour};
pub use record::AgentRecord;
pub use state::{SharedSettings, VirtualState};

use crate::generate::{Draw, Profile, Topic, Traits, linux, macos, windows};
use oco_agent::config::Paths;
use oco_agent::host::{
    Command, CommandOutput, Host, HostError, Interface, Kernel, Os, PowerAction, PreferenceDomain,
    PreferenceValue, Preferences, Procedure, RegistryKey, RegistryValue, Result, RunningProcedure, Space,
    Staging, Visibility, WmiRow,
};
use oco_protocol::lenient;
use oco_protocol::policy::ScopePolicies;
use registry::Registry;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What all machines of one system in a fleet have in common.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where the agent keeps its files.
    pub paths: Paths,
    /// What the fleet says about its machines.
    pub traits: Traits,
    /// How jobs turn out.
    pub procedures: ProcedureBehaviour,
    /// How those with such commands turn out instead.
    pub special_procedures: HashMap<String, ProcedureBehaviour>,
    /// Most bytes of a package, and of what is in it.
    pub staging_limit: u64,
}

impl Surroundings {
    /// Those of an installed agent on `os`.
    pub fn installed(os: Os) -> Self {
        let program_folder = match os {
            Os::Linux => "/usr/bin",
            Os::MacOs => "/opt/oco-agent",
            Os::Windows => r"C:\Program Files\OCO Agent",
        };
        Self {
            paths: Paths::installed(os, Path::new(program_folder)),
            traits: Traits::default(),
            procedures: ProcedureBehaviour::default(),
            special_procedures: HashMap::new(),
            staging_limit: 256 << 20,
        }
    }
}

/// A virtual machine.
#[derive(Debug)]
pub struct SimulatedHost {
    profile: Profile,
    surroundings: Arc<Surroundings>,
    clock: VirtualClock,
    state: Mutex<VirtualState>,
    live_stagings: staging::LiveFolders,
    random_calls: AtomicU64,
    power_orders: Mutex<Vec<(PowerAction, u32)>>,
    passwords: Mutex<Vec<(String, String)>>,
    messages: Mutex<Vec<String>>,
    /// Hives of users that were loaded: SIDs by name.
    hives: Mutex<BTreeMap<String, String>>,
    /// When it was started last, if a job has restarted it.
    started: Option<Instant>,
}

impl SimulatedHost {
    /// The machine `profile` with what its agent wrote so far.
    pub fn new(
        profile: Profile,
        surroundings: Arc<Surroundings>,
        state: VirtualState,
        clock: VirtualClock,
    ) -> Self {
        Self {
            profile,
            surroundings,
            clock,
            state: Mutex::new(state),
            live_stagings: Arc::default(),
            random_calls: AtomicU64::new(0),
            power_orders: Mutex::default(),
            passwords: Mutex::default(),
            messages: Mutex::default(),
            hives: Mutex::default(),
            started: None,
        }
    }

    /// The same machine, started at that time.
    #[must_use]
    pub fn started_at(self, started: Instant) -> Self {
        Self {
            started: Some(started),
            ..self
        }
    }

    /// The policies for the computer that its agent has noted as applied.
    pub fn applied_policies(&self) -> ScopePolicies {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Applied {
            #[serde(deserialize_with = "lenient::empty_list_as_default")]
            machine: ScopePolicies,
        }
        let written = staging::lock(&self.state).read(self.paths(), &self.paths().policies);
        let applied: Option<Applied> = written
            .flatten()
            .and_then(|text| serde_json::from_slice(&text).ok());
        applied.unwrap_or_default().machine
    }

    /// What the agent wrote, to be kept until its next check-in.
    pub fn into_state(self) -> VirtualState {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of what the agent wrote, while others still hold this host.
    pub fn state(&self) -> VirtualState {
        staging::lock(&self.state).clone()
    }

    /// The restarts and shutdowns that were ordered, with their minutes, in that order. A virtual machine takes note of
    /// them and goes on.
    pub fn power_orders(&self) -> Vec<(PowerAction, u32)> {
        staging::lock(&self.power_orders).clone()
    }

    /// The passwords that this host was told to set, with their accounts, in that order.
    pub fn passwords(&self) -> Vec<(String, String)> {
        staging::lock(&self.passwords).clone()
    }

    /// The messages that its users were shown, in that order.
    pub fn messages(&self) -> Vec<String> {
        staging::lock(&self.messages).clone()
    }

    /// What the machine is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn paths(&self) -> &Paths {
        &self.surroundings.paths
    }

    fn random(&self) -> Draw {
        // The time makes the draws of two check-ins differ, the count those of one check-in.
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let call = self.random_calls.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        Draw::new(
            self.profile.machine,
            Topic::Random,
            nanoseconds.wrapping_add(call << 40),
        )
    }

    fn generated_file(&self, path: &str) -> io::Result<Vec<u8>> {
        match self.os() {
            Os::Linux => linux::read_file(&self.profile, path, self.clock.machine_now()),
            Os::MacOs => macos::read_file(&self.profile, path, self.clock.machine_now()),
            Os::Windows => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn generated_folder(&self, path: &str) -> io::Result<Vec<String>> {
        if Path::new(path) == self.paths().service_checks {
            let files = self
                .profile
                .service_check_files()
                .ok_or(io::ErrorKind::NotFound)?;
            return Ok(files.into_iter().map(str::to_owned).collect());
        }
        match self.os() {
            Os::Linux => linux::list_folder(&self.profile, path, self.clock.machine_now()),
            Os::MacOs => macos::list_folder(&self.profile, path, self.clock.machine_now()),
            Os::Windows => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Host for SimulatedHost {
    fn os(&self) -> Os {
        self.profile.machine.os
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn hostname(&self) -> Result<String> {
        Ok(self.profile.hostname())
    }

    fn kernel(&self) -> Result<Kernel> {
        Ok(self.profile.kernel())
    }

    fn uptime(&self) -> Result<Duration> {
        Ok(match self.started {
            Some(started) => started.elapsed(),
            None => self.profile.uptime(self.clock.machine_now()),
        })
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        Ok(self.profile.interfaces(self.clock.machine_now()))
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> Result<()> {
        self.random().fill(buffer);
        Ok(())
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        let written = staging::lock(&self.state).read(self.paths(), path);
        match written {
            Some(Some(content)) => Ok(content),
            Some(None) => Err(HostError::not_found("read", path.display())),
            None => text(path)
                .and_then(|text| self.generated_file(text))
                .map_err(|source| HostError::new("read", path.display(), source)),
        }
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let target = text(path).and_then(|path| match self.os() {
            Os::Linux => linux::read_link(&self.profile, path),
            Os::MacOs | Os::Windows => Err(io::ErrorKind::NotFound.into()),
        });
        target
            .map(PathBuf::from)
            .map_err(|source| HostError::new("read the link", path.display(), source))
    }

    fn list_folder(&self, path: &Path) -> Result<Vec<String>> {
        let generated = text(path).and_then(|path| self.generated_folder(path));
        let state = staging::lock(&self.state);
        let mut written = state.names_below(self.paths(), path).peekable();
        if written.peek().is_none() {
            return generated.map_err(|source| HostError::new("list", path.display(), source));
        }
        let mut names: BTreeSet<String> = generated.unwrap_or_default().into_iter().collect();
        for (name, present) in written {
            if present {
                names.insert(name.to_owned());
            } else {
                names.remove(name);
            }
        }
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> bool {
        let written = staging::lock(&self.state).read(self.paths(), path);
        if let Some(content) = written {
            return content.is_some();
        }
        let Ok(text) = text(path) else { return false };
        let there = |outcome: io::Result<()>| !matches!(outcome, Err(error) if error.kind() == io::ErrorKind::NotFound);
        // A file that may not be read is there all the same.
        there(self.generated_file(text).map(drop)) || there(self.generated_folder(text).map(drop))
    }

    fn space(&self, mountpoint: &Path) -> Result<Space> {
        text(mountpoint)
            .and_then(|mountpoint| self.profile.space(mountpoint, self.clock.machine_now()))
            .map_err(|source| HostError::new("measure the space on", mountpoint.display(), source))
    }

    fn run(&self, command: &Command<'_>) -> Result<CommandOutput> {
        if let Some(output) = self.run_service_check(command) {
            return output;
        }
        let output = match self.os() {
            Os::Linux => linux::run(
                &self.profile,
                command.program,
                command.args,
                self.clock.machine_now(),
            ),
            Os::MacOs => macos::run(
                &self.profile,
                command.program,
                command.args,
                self.clock.machine_now(),
            ),
            Os::Windows => windows::run(&self.profile, command.program, command.args),
        };
        output.map_err(|source| HostError::new("run", command, source))
    }

    fn registry_values(&self, key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>> {
        self.in_registry(|registry, state| registry.values(state, key))
            .map_err(|source| HostError::new("read the values of", key, source))
    }

    fn registry_subkeys(&self, key: &RegistryKey) -> Result<Vec<String>> {
        self.in_registry(|registry, state| registry.subkeys(state, key))
            .map_err(|source| HostError::new("list the keys below", key, source))
    }

    fn set_registry_value(&self, key: &RegistryKey, name: &str, value: &RegistryValue) -> Result<()> {
        self.in_registry(|registry, state| registry.set(state, key, name, value))
            .map_err(|source| HostError::new("write into registry key", key, source))
    }

    fn remove_registry_value(&self, key: &RegistryKey, name: &str) -> Result<()> {
        self.in_registry(|registry, state| registry.remove_value(state, key, name))
            .map_err(|source| HostError::new("remove a value of registry key", key, source))
    }

    fn remove_empty_registry_key(&self, key: &RegistryKey) -> Result<bool> {
        self.in_registry(|registry, state| registry.remove_empty_key(state, key))
            .map_err(|source| HostError::new("remove registry key", key, source))
    }

    fn load_registry_hive(&self, name: &str, file: &Path) -> Result<()> {
        let owner = self.in_registry(|registry, _| registry.owner(file));
        let owner = owner.map_err(|source| HostError::new("load registry hive", file.display(), source))?;
        staging::lock(&self.hives).insert(name.to_owned(), owner);
        Ok(())
    }

    fn unload_registry_hive(&self, name: &str) -> Result<()> {
        match staging::lock(&self.hives).remove(name) {
            Some(_) => Ok(()),
            None => Err(HostError::not_found("unload registry hive", name)),
        }
    }

    fn preferences(&self, domain: &PreferenceDomain) -> Result<Preferences> {
        self.in_preferences(|state| preferences::of_domain(&self.profile, state, domain))
            .map_err(|source| HostError::new("read the settings", domain, source))
    }

    fn set_preference(&self, domain: &PreferenceDomain, key: &str, value: &PreferenceValue) -> Result<()> {
        self.in_preferences(|state| preferences::set(&self.profile, state, domain, key, value))
            .map_err(|source| HostError::new("write the settings", domain, source))
    }

    fn remove_preference(&self, domain: &PreferenceDomain, key: &str) -> Result<()> {
        self.in_preferences(|state| preferences::remove(&self.profile, state, domain, key))
            .map_err(|source| HostError::new("remove a value of the settings", domain, source))
    }

    fn wmi(&self, namespace: &str, query: &str) -> Result<Vec<WmiRow>> {
        self.only_on(Os::Windows)
            .and_then(|()| windows::wmi(&self.profile, namespace, query, self.clock.machine_now()))
            .map_err(|source| HostError::new("query", format!("{namespace}: {query}"), source))
    }

    fn event_log(
        &self,
        channel: &str,
        query: &str,
        consume: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        let events = self
            .only_on(Os::Windows)
            .and_then(|()| windows::event_log(&self.profile, channel, query, self.clock.machine_now()))
            .map_err(|source| HostError::new("query the event log", channel, source))?;
        let _ = events.iter().try_for_each(|event| consume(event));
        Ok(())
    }

    fn write_file(&self, path: &Path, content: &[u8], _visibility: Visibility) -> Result<()> {
        staging::lock(&self.state).write(self.paths(), path, content);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        if self.exists(path) {
            staging::lock(&self.state).remove(self.paths(), path);
        }
        Ok(())
    }

    fn set_password(&self, username: &str, password: &str) -> Result<()> {
        if !self.profile.has_account(username) {
            return Err(HostError::not_found("set the password of", username));
        }
        staging::lock(&self.passwords).push((username.to_owned(), password.to_owned()));
        Ok(())
    }

    fn create_staging(&self) -> Result<Box<dyn Staging>> {
        let name = format!("{:016x}", self.random().next_u64());
        let folder = join(self.os(), &self.paths().staging, &name);
        let live = Arc::clone(&self.live_stagings);
        Ok(Box::new(staging::SimulatedStaging::create(
            folder,
            live,
            self.surroundings.staging_limit,
        )))
    }

    fn start_procedure(&self, procedure: &Procedure) -> Result<Box<dyn RunningProcedure>> {
        if let Some(folder) = &procedure.folder
            && !staging::lock(&self.live_stagings).contains(folder)
        {
            return Err(HostError::not_found("start a procedure in", folder.display()));
        }
        let Surroundings {
            procedures,
            special_procedures,
            ..
        } = self.surroundings.as_ref();
        let behaviour = special_procedures.get(&procedure.command).unwrap_or(procedures);
        let plan = behaviour.plan(self.profile.machine, &procedure.command);
        Ok(Box::new(procedure::SimulatedProcedure::start(
            plan,
            &procedure.command,
        )))
    }

    fn schedule_power(&self, action: PowerAction, minutes: u32) -> Result<()> {
        staging::lock(&self.power_orders).push((action, minutes));
        Ok(())
    }

    fn logged_in_users(&self) -> Result<Vec<String>> {
        Ok(self.profile.present_users(self.clock.machine_now()))
    }

    fn notify_users(&self, message: &str) -> Result<()> {
        staging::lock(&self.messages).push(message.to_owned());
        Ok(())
    }
}

impl SimulatedHost {
    /// Answers from the registry as it is now.
    fn in_registry<T>(
        &self,
        with: impl FnOnce(&Registry<'_>, &mut VirtualState) -> io::Result<T>,
    ) -> io::Result<T> {
        self.only_on(Os::Windows)?;
        let loaded = staging::lock(&self.hives);
        let registry = Registry {
            profile: &self.profile,
            now: self.clock.machine_now(),
            loaded: &loaded,
        };
        with(&registry, &mut staging::lock(&self.state))
    }

    /// What a file in the folder of service checks prints; none if the command is no such file.
    fn run_service_check(&self, command: &Command<'_>) -> Option<Result<CommandOutput>> {
        let (folder, name) = split_path(Path::new(command.program))?;
        if Path::new(folder) != self.paths().service_checks {
            return None;
        }
        let output = self.profile.run_service_check(name, self.clock.machine_now());
        Some(output.map_err(|source| HostError::new("run", command, source)))
    }

    /// Reads or writes the settings of programs.
    fn in_preferences<T>(&self, with: impl FnOnce(&mut VirtualState) -> io::Result<T>) -> io::Result<T> {
        self.only_on(Os::MacOs)?;
        with(&mut staging::lock(&self.state))
    }

    /// Questions about the registry, WMI or settings make no sense elsewhere.
    fn only_on(&self, os: Os) -> io::Result<()> {
        if self.os() == os {
            Ok(())
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// Paths of virtual machines are text.
fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Folder and name of a path in either system's notation: the simulator's own system doesn't matter.
fn split_path(path: &Path) -> Option<(&str, &str)> {
    let path = path.to_str()?;
    let end = path.rfind(['/', '\\'])?;
    Some((if end == 0 { "/" } else { &path[..end] }, &path[end + 1..]))
}

fn join(os: Os, folder: &Path, name: &str) -> PathBuf {
    let separator = if os == Os::Windows { "\\" } else { "/" };
    let mut path = folder.as_os_str().to_owned();
    path.push(separator);
    path.push(name);
    path.into()
}

#[cfg(test)]
mod tests;
