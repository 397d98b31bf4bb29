//! The machine that the agent runs on, under Windows.

mod acl;
mod command;
mod event_log;
pub(super) mod files;
mod hives;
mod interfaces;
mod job_object;
pub(super) mod lock_file;
pub(super) mod orphan;
pub(super) mod other_agent;
mod password;
mod power;
pub(super) mod private;
mod privilege;
pub(super) mod procedure;
mod registry;
mod text;
mod wmi;

use super::leftovers::{self, Leftovers};
use super::procedure::SystemProcedure;
use super::resolver::Resolver;
use super::staging::SystemStaging;
use super::suffixes;
use crate::host::{
    Access, Command, CommandOutput, Host, HostError, Interface, Kernel, LogonWatch, Os, PowerAction,
    Procedure, RegistryKey, RegistryValue, Result, RunningProcedure, ServiceRecord, Space, Staging,
    Visibility, WmiRow,
};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use windows::Wdk::System::SystemServices::RtlGetVersion;
use windows::Win32::Foundation::ERROR_MORE_DATA;
use windows::Win32::System::SystemInformation::{
    ComputerNamePhysicalDnsHostname, GetComputerNameExW, GetTickCount64, IMAGE_FILE_MACHINE,
    IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64, OSVERSIONINFOW,
};
use windows::Win32::System::Threading::{GetCurrentProcess, IsWow64Process2};
use windows::core::PWSTR;

/// Logons of people at the screen, by remote desktop, and at the screen without a domain controller. The name of the process that
/// asks them for their passwords ends with a blank; services and each session's window manager are logged on by others.
const LOGONS: &str = "*[System[(EventID=4624)] and EventData[(Data[@Name='LogonType']='2' or \
    Data[@Name='LogonType']='10' or Data[@Name='LogonType']='11') and \
    (Data[@Name='LogonProcessName']='User32 ' or Data[@Name='LogonProcessName']='User32')]]";

/// This machine.
#[derive(Debug)]
pub struct SystemHost {
    staging_root: PathBuf,
    resolver: Resolver,
    leftovers: Leftovers,
}

impl SystemHost {
    /// This machine, with the folder below which packages are staged. It is created when the first package needs it,
    /// and only administrators and the system can enter what is created.
    pub fn new(staging_root: impl Into<PathBuf>) -> Self {
        Self {
            staging_root: staging_root.into(),
            resolver: Resolver::default(),
            leftovers: Leftovers::default(),
        }
    }

    /// Asks this resolver in place of the system's.
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Sees that only administrators and the system can change what is in the folder that this program runs from.
    pub fn protect_folder(&self, folder: &Path) -> Result<()> {
        acl::protect(folder)
    }

    /// Unloads users' registries that a killed agent had loaded. For the service: another agent may be using them otherwise.
    pub fn unload_left_registries(&self) {
        hives::unload_leftovers();
    }

    /// Takes note of what agents left behind that were killed. To be called before anything is staged, and when no other
    /// agent can run.
    pub fn note_leftovers(&self) -> Result<()> {
        self.leftovers.note(&self.staging_root)
    }

    /// Removes the packages among them whose job does not run any more.
    pub fn remove_ended_leftovers(&self) {
        self.leftovers.remove_ended();
    }

    /// Removes all of them, each as soon as its job has ended: that may take as long as a job does.
    pub fn remove_all_leftovers(&self) {
        self.leftovers.remove_all();
    }
}

impl Host for SystemHost {
    fn os(&self) -> Os {
        Os::Windows
    }

    fn hostname(&self) -> Result<String> {
        computer_name().map_err(|error| HostError::new("read", "the computer's name", error))
    }

    fn kernel(&self) -> Result<Kernel> {
        let version = version().map_err(|error| HostError::new("read", "the version of Windows", error))?;
        let machine = machine().map_err(|error| HostError::new("read", "the kind of processor", error))?;
        Ok(Kernel {
            release: format!(
                "{}.{}.{}",
                version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber
            ),
            machine,
        })
    }

    fn uptime(&self) -> Result<Duration> {
        // SAFETY: takes nothing. This clock goes on while the machine is suspended.
        Ok(Duration::from_millis(unsafe { GetTickCount64() }))
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        interfaces::list()
    }

    #[allow(clippy::disallowed_methods)] // the boundary: this is the clock that everybody else asks for
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|error| HostError::new("read", "the random source", error))
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        files::read(path)
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        std::fs::read_link(path).map_err(|error| HostError::new("read the link", path.display(), error))
    }

    fn list_folder(&self, path: &Path) -> Result<Vec<String>> {
        files::list(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn space(&self, mountpoint: &Path) -> Result<Space> {
        files::space(mountpoint)
    }

    fn run(&self, command: &Command<'_>) -> Result<CommandOutput> {
        command::run(command)
    }

    fn stream(
        &self,
        command: &Command<'_>,
        consume: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Option<i32>> {
        command::stream(command, consume)
    }

    fn access(&self, path: &Path) -> Result<Access> {
        acl::access(path)
    }

    fn search_domains(&self) -> Result<Vec<String>> {
        match self.resolver.given_search_domains() {
            Some(domains) => Ok(domains),
            None => suffixes::search_domains(self, &interfaces::connections()?),
        }
    }

    fn service_records(&self, name: &str, time_limit: Duration) -> Result<Vec<ServiceRecord>> {
        self.resolver.service_records(name, time_limit)
    }

    fn registry_values(&self, key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>> {
        registry::values(key)
    }

    fn registry_subkeys(&self, key: &RegistryKey) -> Result<Vec<String>> {
        registry::subkeys(key)
    }

    fn set_registry_value(&self, key: &RegistryKey, name: &str, value: &RegistryValue) -> Result<()> {
        registry::set_value(key, name, value)
    }

    fn remove_registry_value(&self, key: &RegistryKey, name: &str) -> Result<()> {
        registry::remove_value(key, name)
    }

    fn remove_empty_registry_key(&self, key: &RegistryKey) -> Result<bool> {
        registry::remove_empty_key(key)
    }

    fn load_registry_hive(&self, name: &str, file: &Path) -> Result<()> {
        hives::load(name, file)
    }

    fn unload_registry_hive(&self, name: &str) -> Result<()> {
        hives::unload(name)
    }

    fn wmi(&self, namespace: &str, query: &str) -> Result<Vec<WmiRow>> {
        wmi::query(namespace, query)
    }

    fn event_log(
        &self,
        channel: &str,
        query: &str,
        consume: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        event_log::query(channel, query, consume)
    }

    fn watch_logons(&self, notify: Arc<dyn Fn() + Send + Sync>) -> Result<Option<LogonWatch>> {
        Ok(Some(Box::new(event_log::subscribe("Security", LOGONS, notify)?)))
    }

    fn write_file(&self, path: &Path, content: &[u8], visibility: Visibility) -> Result<()> {
        files::write(path, content, visibility)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        files::remove(path)
    }

    fn set_password(&self, username: &str, password: &str) -> Result<()> {
        password::set(username, password)
    }

    fn create_staging(&self) -> Result<Box<dyn Staging>> {
        Ok(Box::new(SystemStaging::create(&self.staging_root)?))
    }

    fn start_procedure(&self, procedure: &Procedure) -> Result<Box<dyn RunningProcedure>> {
        let folder = procedure.folder.as_deref();
        let staging = folder.and_then(|folder| leftovers::staging_folder(&self.staging_root, folder));
        Ok(Box::new(SystemProcedure::start(procedure, staging.as_deref())?))
    }

    fn earlier_procedures(&self) -> usize {
        self.leftovers.running()
    }

    fn schedule_power(&self, action: PowerAction, minutes: u32) -> Result<()> {
        power::schedule(action, minutes)
    }

    fn logged_in_users(&self) -> Result<Vec<String>> {
        power::logged_in_users()
    }

    fn notify_users(&self, message: &str) -> Result<()> {
        power::notify(message)
    }
}

fn computer_name() -> io::Result<String> {
    let mut buffer = vec![0; 64];
    loop {
        let mut length = u32::try_from(buffer.len()).unwrap_or_default();
        // SAFETY: the buffer is as long as is said, and lives until the function returns.
        let named = unsafe {
            let start = PWSTR(buffer.as_mut_ptr());
            GetComputerNameExW(ComputerNamePhysicalDnsHostname, Some(start), &raw mut length)
        };
        match named {
            Err(short) if short.code() == ERROR_MORE_DATA.to_hresult() && length as usize > buffer.len() => {
                buffer.resize(length as usize, 0);
            }
            Err(cause) => return Err(text::error(cause)),
            Ok(()) => return Ok(text::from_wide(&buffer).to_string_lossy().into_owned()),
        }
    }
}

/// The version as it is, whatever the program's manifest says that it knows.
fn version() -> io::Result<OSVERSIONINFOW> {
    let mut version = OSVERSIONINFOW {
        dwOSVersionInfoSize: u32::try_from(size_of::<OSVERSIONINFOW>()).unwrap_or_default(),
        ..OSVERSIONINFOW::default()
    };
    // SAFETY: the structure says how long it is, and lives until the function returns.
    let status = unsafe { RtlGetVersion(&raw mut version) };
    status.ok().map_err(text::error)?;
    Ok(version)
}

/// The kind of processor, also where this program is for another one.
fn machine() -> io::Result<String> {
    let (mut process, mut native) = (IMAGE_FILE_MACHINE::default(), IMAGE_FILE_MACHINE::default());
    // SAFETY: the numbers live until the function returns.
    unsafe { IsWow64Process2(GetCurrentProcess(), &raw mut process, Some(&raw mut native)) }
        .map_err(text::error)?;
    Ok(match native {
        IMAGE_FILE_MACHINE_AMD64 => "AMD64".to_owned(),
        IMAGE_FILE_MACHINE_ARM64 => "ARM64".to_owned(),
        IMAGE_FILE_MACHINE(other) => format!("{other:#06x}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> SystemHost {
        SystemHost::new(std::env::temp_dir().join("oco-agent-test"))
    }

    #[test]
    fn this_machine_has_a_name_and_a_version() {
        assert!(!host().hostname().unwrap().is_empty());
        let kernel = host().kernel().unwrap();
        assert!(kernel.release.starts_with("10.0."), "{kernel:?}");
        assert!(
            ["AMD64", "ARM64"].contains(&kernel.machine.as_str()),
            "{kernel:?}"
        );
        assert!(host().uptime().unwrap() > Duration::ZERO);
    }

    #[test]
    fn search_domains_are_the_systems_unless_others_are_given() {
        let own = host().search_domains().unwrap();
        assert!(
            own.iter()
                .all(|domain| !domain.is_empty() && !domain.ends_with('.')),
            "{own:?}"
        );
        let resolver = Resolver::with_server(([192, 0, 2, 53], 53).into(), &["a.example"]).unwrap();
        let given = host().with_resolver(resolver).search_domains().unwrap();
        assert_eq!(given, ["a.example"]);
    }

    #[test]
    fn random_bytes_differ_between_two_draws() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        host().fill_random(&mut a).unwrap();
        host().fill_random(&mut b).unwrap();
        assert_ne!(a, b);
    }

    #[test]
    fn packages_that_a_killed_agent_left_behind_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let host = SystemHost::new(folder.path().join("staging"));
        host.note_leftovers().unwrap();
        let mut staging = host.create_staging().unwrap();
        staging.create_folder(Path::new("data")).unwrap();
        std::mem::forget(staging);
        host.note_leftovers().unwrap();
        let own = host.create_staging().unwrap();
        host.remove_all_leftovers();
        let left = std::fs::read_dir(folder.path().join("staging")).unwrap();
        assert_eq!(left.count(), 1, "only this agent's own is left");
        drop(own);
    }
}
