//! A machine from recorded artefacts, for tests: it answers from a [`Recording`], keeps in memory what is done to it,
//! and shows that to the test.

use super::{
    Access, Command, CommandOutput, Host, HostError, Interface, Kernel, LogonWatch, Os, PowerAction,
    PreferenceDomain, PreferenceValue, Preferences, Procedure, RegistryKey, RegistryValue, Result,
    RunningProcedure, ServiceRecord, Space, Staging, Visibility, WmiRow,
};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

mod procedure;
mod recording;
mod registry;
mod staging;
mod wql;

pub use procedure::{Ending, ScriptedRun};
pub use recording::{Machine, RecordedCommand, Recording, RecordingError, Registry, key};
use registry::WrittenRegistry;
pub use staging::{StagedFile, StagedPackage};

/// What a procedure does, decided by the test.
type Script = dyn Fn(&Procedure) -> ScriptedRun + Send + Sync;

/// What happens before a file is read or written, decided by the test.
type Obstacle = (PathBuf, Box<dyn Fn() + Send + Sync>);

/// A recorded machine.
pub struct RecordedHost {
    recording: Recording,
    state: Mutex<State>,
    script: Option<Box<Script>>,
    obstacle: Option<Obstacle>,
}

/// What was done to the machine.
#[derive(Default)]
struct State {
    now: Option<SystemTime>,
    /// Files that were written, and `None` for those that were removed.
    changed: BTreeMap<String, Option<(Vec<u8>, Visibility)>>,
    staged: Vec<Arc<Mutex<StagedPackage>>>,
    procedures: Vec<Procedure>,
    users: Vec<String>,
    interfaces: Option<Vec<Interface>>,
    power: Vec<(PowerAction, u32)>,
    messages: Vec<String>,
    read_only: bool,
    search_domains: Vec<String>,
    service_records: BTreeMap<String, Vec<ServiceRecord>>,
    /// In place of the recorded one, once something was written.
    registry: Option<WrittenRegistry>,
    /// Settings of macOS.
    preferences: BTreeMap<PreferenceDomain, Preferences>,
    /// How often settings were set or removed.
    preference_changes: usize,
    /// Account and password, in the order in which they were set.
    passwords: Vec<(String, String)>,
    /// Accounts and the passwords that they were said to have had before, in that order.
    old_passwords: Vec<(String, Option<String>)>,
    /// Who wants to know of logons.
    logons: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl RecordedHost {
    /// A machine that answers from `recording`. It refuses procedures until it has a script for them.
    pub fn new(recording: Recording) -> Self {
        Self {
            recording,
            state: Mutex::default(),
            script: None,
            obstacle: None,
        }
    }

    /// A machine that answers from the recording in a folder.
    pub fn load(folder: &Path) -> Result<Self, RecordingError> {
        Recording::load(folder).map(Self::new)
    }

    /// Lets `script` decide what each procedure does.
    #[must_use]
    pub fn with_script(self, script: impl Fn(&Procedure) -> ScriptedRun + Send + Sync + 'static) -> Self {
        Self {
            script: Some(Box::new(script)),
            ..self
        }
    }

    /// Calls `obstacle` each time before `path` is read or written, to wait or to fail there as a broken device would.
    #[must_use]
    pub fn with_obstacle(
        self,
        path: impl Into<PathBuf>,
        obstacle: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            obstacle: Some((path.into(), Box::new(obstacle))),
            ..self
        }
    }

    /// Sets the clock.
    pub fn set_now(&self, now: SystemTime) {
        self.state().now = Some(now);
    }

    /// Sets who is logged in; without it, nobody is.
    pub fn set_logged_in_users(&self, users: &[&str]) {
        self.state().users = users.iter().map(ToString::to_string).collect();
    }

    /// Sets the network interfaces, in place of the recorded ones.
    pub fn set_interfaces(&self, interfaces: Vec<Interface>) {
        self.state().interfaces = Some(interfaces);
    }

    /// Somebody logs on. Whether anybody wanted to know.
    pub fn log_on(&self) -> bool {
        let told = self.state().logons.clone();
        told.is_some_and(|notify| {
            notify();
            true
        })
    }

    /// Sets the search domains of its resolver; without it, there are none.
    pub fn set_search_domains(&self, domains: Vec<String>) {
        self.state().search_domains = domains;
    }

    /// Sets what its name servers answer; they do not know any other name.
    pub fn set_service_records(&self, name: &str, records: Vec<ServiceRecord>) {
        self.state().service_records.insert(name.to_owned(), records);
    }

    /// Lets every write fail from now on, or no longer.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// The restarts and shutdowns that were ordered, with their minutes, in that order.
    pub fn power_orders(&self) -> Vec<(PowerAction, u32)> {
        self.state().power.clone()
    }

    /// The messages that users were shown, in that order.
    pub fn messages(&self) -> Vec<String> {
        self.state().messages.clone()
    }

    /// Who may read a file that was written; none if it was not written or was removed again.
    pub fn written(&self, path: &Path) -> Option<Visibility> {
        let written = self.state().changed.get(&self.key(path)).cloned().flatten();
        written.map(|(_, visibility)| visibility)
    }

    /// The packages that were staged, in that order.
    pub fn staged(&self) -> Vec<StagedPackage> {
        self.state()
            .staged
            .iter()
            .map(|package| lock(package).clone())
            .collect()
    }

    /// The procedures that were started, in that order.
    pub fn procedures(&self) -> Vec<Procedure> {
        self.state().procedures.clone()
    }

    /// How often settings of macOS were set or removed.
    pub fn preference_changes(&self) -> usize {
        self.state().preference_changes
    }

    /// The accounts whose password was set, with the one before as far as it was told, in that order.
    pub fn old_passwords(&self) -> Vec<(String, Option<String>)> {
        self.state().old_passwords.clone()
    }

    /// The passwords that were set, with their accounts, in that order.
    pub fn passwords(&self) -> Vec<(String, String)> {
        self.state().passwords.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn meet_obstacle(&self, path: &Path) {
        if let Some((obstructed, obstacle)) = &self.obstacle
            && path == obstructed
        {
            obstacle();
        }
    }

    /// How a path is called in the recording.
    fn key(&self, path: &Path) -> String {
        key(self.recording.machine.os, path)
    }

    /// The names of all files, recorded or written.
    fn files(&self) -> Vec<String> {
        let state = self.state();
        let recorded = self
            .recording
            .files
            .keys()
            .filter(|path| !state.changed.contains_key(*path));
        let written = state
            .changed
            .iter()
            .filter(|(_, content)| content.is_some())
            .map(|(path, _)| path);
        recorded
            .chain(written)
            .chain(self.recording.links.keys())
            .cloned()
            .collect()
    }

    fn registry_keys(&self, key: &RegistryKey) -> BTreeMap<String, BTreeMap<String, RegistryValue>> {
        let state = self.state();
        let written = state.registry.as_ref().map(WrittenRegistry::registry);
        let registry = written.unwrap_or(&self.recording.registry);
        let keys = registry.get(&key.hive).and_then(|views| views.get(&key.view));
        keys.cloned().unwrap_or_default()
    }

    fn write_registry<T>(&self, write: impl FnOnce(&mut WrittenRegistry) -> T) -> T {
        let mut state = self.state();
        let recorded = || WrittenRegistry::new(self.recording.registry.clone());
        write(state.registry.get_or_insert_with(recorded))
    }

    /// Gives a user who is not logged on a registry, in this file.
    pub fn add_hive_file(&self, file: &Path) {
        let file = self.key(file);
        self.write_registry(|registry| registry.add_hive_file(file));
    }

    /// The values of a key in a user's registry as it is in its file.
    pub fn hive_file_values(&self, file: &Path, path: &str) -> Option<BTreeMap<String, RegistryValue>> {
        let file = self.key(file);
        self.write_registry(|registry| registry.file_values(&file, path))
    }

    /// How often users' registries were loaded, and how many are now.
    pub fn hives(&self) -> (usize, usize) {
        self.write_registry(|registry| registry.hives())
    }
}

impl Host for RecordedHost {
    fn os(&self) -> Os {
        self.recording.machine.os
    }

    fn hostname(&self) -> Result<String> {
        Ok(self.recording.machine.hostname.clone())
    }

    fn kernel(&self) -> Result<Kernel> {
        Ok(self.recording.machine.kernel.clone())
    }

    fn uptime(&self) -> Result<Duration> {
        Duration::try_from_secs_f64(self.recording.machine.uptime_s)
            .map_err(|error| HostError::new("read", "the uptime", io::Error::other(error)))
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        let set = self.state().interfaces.clone();
        Ok(set.unwrap_or_else(|| self.recording.machine.interfaces.clone()))
    }

    fn watch_logons(&self, notify: Arc<dyn Fn() + Send + Sync>) -> Result<Option<LogonWatch>> {
        self.state().logons = Some(notify);
        Ok(Some(Box::new(())))
    }

    fn now(&self) -> SystemTime {
        self.state().now.unwrap_or_else(|| self.recording.machine.now())
    }

    fn fill_random(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|error| HostError::new("read", "the random source", error))
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        self.meet_obstacle(path);
        let key = self.key(path);
        if let Some(changed) = self.state().changed.get(&key) {
            let content = changed.as_ref().map(|(content, _)| content.clone());
            return content.ok_or_else(|| HostError::not_found("read", path.display()));
        }
        if self.recording.machine.unreadable.contains(&key) {
            return Err(HostError::new(
                "read",
                path.display(),
                io::ErrorKind::PermissionDenied,
            ));
        }
        let content = self.recording.files.get(&key).cloned();
        content.ok_or_else(|| HostError::not_found("read", path.display()))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let target = self.recording.links.get(&self.key(path)).map(PathBuf::from);
        target.ok_or_else(|| HostError::not_found("read the link", path.display()))
    }

    fn list_folder(&self, path: &Path) -> Result<Vec<String>> {
        let folder = format!("{}/", self.key(path).trim_end_matches('/'));
        let files = self.files();
        let below = files.iter().filter_map(|file| file.strip_prefix(&folder));
        let mut names: Vec<_> = below
            .filter_map(|file| file.split('/').next())
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Err(HostError::not_found("list", path.display()));
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files().contains(&self.key(path)) || self.list_folder(path).is_ok()
    }

    fn space(&self, mountpoint: &Path) -> Result<Space> {
        let space = self
            .recording
            .machine
            .spaces
            .get(&*mountpoint.to_string_lossy())
            .copied();
        space.ok_or_else(|| HostError::not_found("measure", mountpoint.display()))
    }

    fn run(&self, command: &Command<'_>) -> Result<CommandOutput> {
        let answer = self.recording.commands.get(&command.to_string());
        let answer = answer.ok_or_else(|| HostError::not_found("run", command))?;
        Ok(CommandOutput {
            code: answer.code,
            stdout: answer.stdout.clone(),
        })
    }

    fn access(&self, path: &Path) -> Result<Access> {
        self.read_file(path)?;
        let private = self.written(path) == Some(Visibility::Private);
        Ok(Access {
            description: if private { "private" } else { "public" }.to_owned(),
            foreign_owner: false,
            others_read: !private,
            others_write: false,
        })
    }

    fn search_domains(&self) -> Result<Vec<String>> {
        Ok(self.state().search_domains.clone())
    }

    fn service_records(&self, name: &str, _time_limit: Duration) -> Result<Vec<ServiceRecord>> {
        let records = self.state().service_records.get(name).cloned();
        records.ok_or_else(|| HostError::not_found("look up the SRV records of", name))
    }

    fn registry_values(&self, key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>> {
        let mut keys = self.registry_keys(key).into_iter();
        let values = keys
            .find(|(path, _)| path.eq_ignore_ascii_case(&key.path))
            .map(|(_, values)| values);
        values.ok_or_else(|| HostError::not_found("read registry key", key))
    }

    fn registry_subkeys(&self, key: &RegistryKey) -> Result<Vec<String>> {
        let parent = format!("{}\\", key.path.to_ascii_lowercase());
        let keys = self.registry_keys(key).into_keys();
        let below = keys.filter(|path| path.to_ascii_lowercase().starts_with(&parent));
        let mut names: Vec<_> = below
            .filter_map(|path| Some(path.get(parent.len()..)?.split('\\').next()?.to_owned()))
            .collect();
        names.dedup();
        if names.is_empty() && self.registry_values(key).is_err() {
            return Err(HostError::not_found("list registry key", key));
        }
        Ok(names)
    }

    fn set_registry_value(&self, key: &RegistryKey, name: &str, value: &RegistryValue) -> Result<()> {
        self.write_registry(|registry| registry.set(key, name, value));
        Ok(())
    }

    fn remove_registry_value(&self, key: &RegistryKey, name: &str) -> Result<()> {
        self.write_registry(|registry| registry.remove_value(key, name));
        Ok(())
    }

    fn remove_empty_registry_key(&self, key: &RegistryKey) -> Result<bool> {
        Ok(self.write_registry(|registry| registry.remove_empty_key(key)))
    }

    fn load_registry_hive(&self, name: &str, file: &Path) -> Result<()> {
        let file = self.key(file);
        self.write_registry(|registry| registry.load(name, &file))
    }

    fn unload_registry_hive(&self, name: &str) -> Result<()> {
        self.write_registry(|registry| registry.unload(name))
    }

    fn preferences(&self, domain: &PreferenceDomain) -> Result<Preferences> {
        Ok(self.state().preferences.get(domain).cloned().unwrap_or_default())
    }

    fn set_preference(&self, domain: &PreferenceDomain, key: &str, value: &PreferenceValue) -> Result<()> {
        let mut state = self.state();
        if state.read_only {
            return Err(HostError::new(
                "write the settings",
                domain,
                io::ErrorKind::ReadOnlyFilesystem,
            ));
        }
        let settings = state.preferences.entry(domain.clone()).or_default();
        settings.insert(key.to_owned(), value.clone());
        state.preference_changes += 1;
        Ok(())
    }

    fn remove_preference(&self, domain: &PreferenceDomain, key: &str) -> Result<()> {
        let mut state = self.state();
        let settings = state.preferences.get_mut(domain);
        if settings.is_some_and(|settings| settings.remove(key).is_some()) {
            state.preference_changes += 1;
        }
        Ok(())
    }

    fn wmi(&self, namespace: &str, query: &str) -> Result<Vec<WmiRow>> {
        let query = wql::Query::parse(query)
            .ok_or_else(|| HostError::new("query WMI", query, io::ErrorKind::InvalidInput))?;
        let classes = wql::find_name(&self.recording.wmi, namespace)
            .ok_or_else(|| HostError::not_found("open the WMI namespace", namespace))?;
        let rows = wql::find_name(classes, query.class)
            .ok_or_else(|| HostError::not_found("query the WMI class", query.class))?;
        Ok(rows.iter().map(|row| query.project(row)).collect())
    }

    fn event_log(
        &self,
        channel: &str,
        _query: &str,
        consume: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        let events = wql::find_name(&self.recording.events, channel)
            .ok_or_else(|| HostError::not_found("query the event log", channel))?;
        let _ = events.iter().try_for_each(|event| consume(event));
        Ok(())
    }

    fn write_file(&self, path: &Path, content: &[u8], visibility: Visibility) -> Result<()> {
        self.meet_obstacle(path);
        let mut state = self.state();
        if state.read_only {
            return Err(HostError::new(
                "write",
                path.display(),
                io::ErrorKind::ReadOnlyFilesystem,
            ));
        }
        state
            .changed
            .insert(self.key(path), Some((content.to_owned(), visibility)));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.state().changed.insert(self.key(path), None);
        Ok(())
    }

    /// Works for the accounts in the recording's `/etc/passwd`.
    fn set_password(&self, username: &str, password: &str) -> Result<()> {
        let accounts = self.read_file(Path::new("/etc/passwd"))?;
        let known = String::from_utf8_lossy(&accounts)
            .lines()
            .any(|line| line.split(':').next() == Some(username));
        if !known {
            return Err(HostError::not_found("set the password of", username));
        }
        self.state()
            .passwords
            .push((username.to_owned(), password.to_owned()));
        Ok(())
    }

    fn change_password(&self, username: &str, password: &str, old: Option<&str>) -> Result<()> {
        self.set_password(username, password)?;
        let old = old.map(str::to_owned);
        self.state().old_passwords.push((username.to_owned(), old));
        Ok(())
    }

    fn create_staging(&self) -> Result<Box<dyn Staging>> {
        let mut state = self.state();
        let package = Arc::new(Mutex::new(StagedPackage::default()));
        let folder = PathBuf::from(format!("/staging/{}", state.staged.len()));
        state.staged.push(package.clone());
        Ok(Box::new(staging::MemoryStaging::new(folder, package)))
    }

    fn start_procedure(&self, procedure: &Procedure) -> Result<Box<dyn RunningProcedure>> {
        let script = self.script.as_ref().ok_or_else(|| {
            let reason = io::Error::new(
                io::ErrorKind::Unsupported,
                "this recording has no script for procedures",
            );
            HostError::new("start", &procedure.command, reason)
        })?;
        self.state().procedures.push(procedure.clone());
        Ok(Box::new(procedure::ScriptedProcedure::new(script(procedure))))
    }

    fn schedule_power(&self, action: PowerAction, minutes: u32) -> Result<()> {
        self.state().power.push((action, minutes));
        Ok(())
    }

    fn logged_in_users(&self) -> Result<Vec<String>> {
        Ok(self.state().users.clone())
    }

    fn notify_users(&self, message: &str) -> Result<()> {
        self.state().messages.push(message.to_owned());
        Ok(())
    }
}

impl std::fmt::Debug for RecordedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedHost")
            .field("machine", &self.recording.machine)
            .finish_non_exhaustive()
    }
}

/// A panic of one test's thread does not spoil what the others see.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
