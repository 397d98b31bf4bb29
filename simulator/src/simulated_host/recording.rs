//! One virtual machine for somebody to look at: its inventory, and its artefacts in a folder.

use super::{SharedSettings, SimulatedHost, Surroundings, VirtualClock, VirtualState, staging::lock};
use crate::generate::{Machine, Profile, windows};
use oco_agent::events;
use oco_agent::host::recorded::{self, RecordedCommand, Recording, RecordingError};
use oco_agent::host::{
    Command, CommandOutput, Host, HostError, Interface, Kernel, Os, PowerAction, Procedure, RegistryKey,
    RegistryValue, Result, RunningProcedure, Space, Staging, Visibility, WmiRow,
};
use oco_agent::inventory::{self, Options};
use oco_agent::service_checks::{self, Limits};
use oco_protocol::inventory::Inventory;
use oco_protocol::rpc::EventQuery;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A machine cannot be written to a folder.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The machine does not answer.
    #[error("cannot record the virtual machine")]
    Host(#[from] HostError),
    /// The folder cannot be written.
    #[error(
        "cannot write the artefacts; name a new or an empty folder on a disk with some megabytes of free space"
    )]
    Save(#[from] RecordingError),
    /// The clock is beyond what a recording can hold.
    #[error("cannot record the virtual machine at that time; choose one before the year 9999")]
    Clock(#[source] jiff::Error),
}

/// The inventory that the agent's own collectors make of a machine and, with a folder, what they read for it: a
/// recording that `RecordedHost` loads.
pub fn show(machine: Machine, now: SystemTime, artefacts: Option<&Path>) -> Result<Inventory, ShowError> {
    let host = SimulatedHost::at(machine, now);
    if let Some(folder) = artefacts {
        record(&host)?.save(folder)?;
    }
    Ok(inventory::collect(&host, &Options::default()))
}

/// Everything that the collectors ask of a machine, with the answers: those of the inventory, of service checks, and of all
/// events of its logs.
pub fn record(host: &SimulatedHost) -> Result<Recording, ShowError> {
    let now = jiff::Timestamp::try_from(host.now()).map_err(ShowError::Clock)?;
    let recording = Recording::new(recorded::Machine {
        os: host.os(),
        hostname: host.hostname()?,
        kernel: host.kernel()?,
        uptime_s: host.uptime()?.as_secs_f64(),
        now: now.to_string(),
        interfaces: host.interfaces()?,
        spaces: BTreeMap::new(),
        unreadable: Vec::new(),
    });
    let recorder = Recorder {
        host,
        heard: Mutex::new(Heard {
            recording,
            seen: BTreeSet::new(),
        }),
    };
    inventory::collect(&recorder, &Options::default());
    inventory::identity(&recorder, &Options::default())?;
    service_checks::collect(&recorder, &host.paths().service_checks, Limits::default());
    events::collect(&recorder, &all_events());
    let heard = recorder.heard.into_inner();
    let Heard { mut recording, seen } = heard.unwrap_or_else(PoisonError::into_inner);
    for path in seen {
        add_placeholder(&mut recording, path);
    }
    Ok(recording)
}

/// The queries for everything that the journal, or the logs of Windows, have.
fn all_events() -> [EventQuery; 3] {
    [("journalctl", "{}"), ("System", ""), ("Application", "")].map(|(log, query)| EventQuery {
        since: "1970-01-01 00:00:00".to_owned(),
        log: log.to_owned(),
        query: query.to_owned(),
    })
}

impl SimulatedHost {
    /// A freshly installed machine at one moment, outside of any fleet.
    pub fn at(machine: Machine, now: SystemTime) -> Self {
        let state = VirtualState::installed(Arc::new(SharedSettings::default()), "");
        let surroundings = Arc::new(Surroundings::installed(machine.os));
        Self::new(
            Profile::draw(machine),
            surroundings,
            state,
            VirtualClock::fixed(now),
        )
    }
}

/// Passes all questions on and remembers them with their answers.
struct Recorder<'a> {
    host: &'a SimulatedHost,
    heard: Mutex<Heard>,
}

struct Heard {
    recording: Recording,
    /// Paths of which nothing is known but that there is something.
    seen: BTreeSet<String>,
}

/// A recording lists a folder by what is in it, so what nobody has read needs a place, too.
fn add_placeholder(recording: &mut Recording, path: String) {
    let below = format!("{path}/");
    let paths = recording
        .files
        .keys()
        .chain(recording.links.keys())
        .chain(&recording.machine.unreadable);
    if !paths
        .into_iter()
        .any(|known| *known == path || known.starts_with(&below))
    {
        recording.files.insert(path, Vec::new());
    }
}

impl Recorder<'_> {
    fn hear(&self, with: impl FnOnce(&mut Heard)) {
        with(&mut lock(&self.heard));
    }

    /// How a path is called in a recording.
    fn key(&self, path: &Path) -> String {
        recorded::key(self.host.os(), path)
    }

    fn refuse<T>(operation: &'static str) -> Result<T> {
        Err(HostError::new(
            operation,
            "a machine that is being recorded",
            io::ErrorKind::Unsupported,
        ))
    }
}

impl Host for Recorder<'_> {
    fn os(&self) -> Os {
        self.host.os()
    }

    fn hostname(&self) -> Result<String> {
        self.host.hostname()
    }

    fn kernel(&self) -> Result<Kernel> {
        self.host.kernel()
    }

    fn uptime(&self) -> Result<Duration> {
        self.host.uptime()
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        self.host.interfaces()
    }

    fn now(&self) -> SystemTime {
        self.host.now()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> Result<()> {
        self.host.fill_random(buffer)
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        let key = self.key(path);
        let content = self.host.read_file(path);
        self.hear(|heard| match &content {
            Ok(content) => heard.recording.files.extend([(key, content.clone())]),
            Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => {
                let unreadable = &mut heard.recording.machine.unreadable;
                if !unreadable.contains(&key) {
                    unreadable.push(key);
                }
            }
            Err(_) => {}
        });
        content
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let target = self.host.read_link(path)?;
        let (key, text) = (self.key(path), target.to_string_lossy().into_owned());
        self.hear(|heard| heard.recording.links.extend([(key, text)]));
        Ok(target)
    }

    fn list_folder(&self, path: &Path) -> Result<Vec<String>> {
        let names = self.host.list_folder(path)?;
        let folder = self.key(path);
        let paths = names
            .iter()
            .map(|name| format!("{}/{name}", folder.trim_end_matches('/')));
        self.hear(|heard| heard.seen.extend(paths));
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        let exists = self.host.exists(path);
        if exists {
            self.hear(|heard| heard.seen.extend([self.key(path)]));
        }
        exists
    }

    fn space(&self, mountpoint: &Path) -> Result<Space> {
        let space = self.host.space(mountpoint)?;
        let key = mountpoint.to_string_lossy().into_owned();
        self.hear(|heard| heard.recording.machine.spaces.extend([(key, space)]));
        Ok(space)
    }

    fn run(&self, command: &Command<'_>) -> Result<CommandOutput> {
        let output = self.host.run(command)?;
        let recorded = RecordedCommand {
            code: output.code,
            stdout: output.stdout.clone(),
        };
        self.hear(|heard| heard.recording.commands.extend([(command.to_string(), recorded)]));
        Ok(output)
    }

    fn registry_values(&self, key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>> {
        let values = self.host.registry_values(key)?;
        self.hear(|heard| {
            let views = heard.recording.registry.entry(key.hive).or_default();
            views
                .entry(key.view)
                .or_default()
                .insert(key.path.clone(), values.clone());
        });
        Ok(values)
    }

    fn registry_subkeys(&self, key: &RegistryKey) -> Result<Vec<String>> {
        let names = self.host.registry_subkeys(key)?;
        self.hear(|heard| {
            let views = heard.recording.registry.entry(key.hive).or_default();
            let keys = views.entry(key.view).or_default();
            keys.entry(key.path.clone()).or_default();
            for name in &names {
                keys.entry(key.subkey(name).path).or_default();
            }
        });
        Ok(names)
    }

    fn wmi(&self, namespace: &str, query: &str) -> Result<Vec<WmiRow>> {
        let rows = match self.host.wmi(namespace, query) {
            // How WMI says that nothing of the kind is there; a recording has no rows then.
            Err(error) if error.source.kind() == io::ErrorKind::Unsupported => Vec::new(),
            answer => answer?,
        };
        // Recordings hold whole rows and know no conditions.
        if let Some(class) = windows::queried_class(query) {
            let all = self
                .host
                .wmi(namespace, &format!("SELECT * FROM {class}"))
                .unwrap_or_default();
            self.hear(|heard| {
                let classes = heard.recording.wmi.entry(namespace.to_owned()).or_default();
                classes.insert(class.to_owned(), all);
            });
        }
        Ok(rows)
    }

    fn event_log(
        &self,
        channel: &str,
        query: &str,
        consume: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut events = Vec::new();
        self.host.event_log(channel, query, &mut |event| {
            events.push(event.to_owned());
            consume(event)
        })?;
        self.hear(|heard| {
            heard.recording.events.insert(channel.to_owned(), events);
        });
        Ok(())
    }

    fn write_file(&self, _path: &Path, _content: &[u8], _visibility: Visibility) -> Result<()> {
        Self::refuse("write to")
    }

    fn remove_file(&self, _path: &Path) -> Result<()> {
        Self::refuse("remove a file of")
    }

    fn set_password(&self, _username: &str, _password: &str) -> Result<()> {
        Self::refuse("set a password on")
    }

    fn create_staging(&self) -> Result<Box<dyn Staging>> {
        Self::refuse("stage a package on")
    }

    fn start_procedure(&self, _procedure: &Procedure) -> Result<Box<dyn RunningProcedure>> {
        Self::refuse("start a procedure on")
    }

    fn schedule_power(&self, _action: PowerAction, _minutes: u32) -> Result<()> {
        Self::refuse("restart")
    }

    fn logged_in_users(&self) -> Result<Vec<String>> {
        self.host.logged_in_users()
    }

    fn notify_users(&self, _message: &str) -> Result<()> {
        Self::refuse("notify the users of")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oco_agent::host::recorded::RecordedHost;
    use std::time::UNIX_EPOCH;

    #[test]
    fn recorded_host_answers_like_the_machine_that_was_written_to_its_folder() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for os in Os::ALL {
            // Some of these have service checks.
            for index in 20..32 {
                let folder = tempfile::tempdir().unwrap();
                let shown = show(Machine { seed: 3, index, os }, now, Some(folder.path())).unwrap();
                let loaded = RecordedHost::load(folder.path()).unwrap();
                let again = inventory::collect(&loaded, &Options::default());
                assert_eq!(again, shown, "{os} {index}");
                let host = SimulatedHost::at(Machine { seed: 3, index, os }, now);
                let identity = |host: &dyn Host| inventory::identity(host, &Options::default()).unwrap();
                assert_eq!(identity(&loaded), identity(&host));
                let services = |machine: &dyn Host| {
                    service_checks::collect(machine, &host.paths().service_checks, Limits::default())
                };
                assert_eq!(services(&loaded), services(&host), "{os} {index}");
                let events = |machine: &dyn Host| events::collect(machine, &all_events());
                assert_eq!(events(&loaded), events(&host), "{os} {index}");
            }
        }
    }
}
