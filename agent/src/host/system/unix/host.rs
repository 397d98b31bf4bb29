//! The machine that the agent runs on, under Linux and macOS.

use super::{command, files, guarded, interfaces, power};
use crate::host::system::leftovers::{self, Leftovers};
use crate::host::system::native;
use crate::host::system::procedure::SystemProcedure;
use crate::host::system::resolver::Resolver;
use crate::host::system::staging::SystemStaging;
use crate::host::{
    Access, Command, CommandOutput, Host, HostError, Interface, Kernel, Os, PowerAction, Procedure,
    RegistryKey, RegistryValue, Result, RunningProcedure, ServiceRecord, Space, Staging, Visibility, WmiRow,
};
#[cfg(target_os = "macos")]
use crate::host::{PreferenceDomain, PreferenceValue, Preferences};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// This machine.
#[derive(Debug)]
pub struct SystemHost {
    staging_root: PathBuf,
    leftovers: Leftovers,
    resolver: Resolver,
}

impl SystemHost {
    /// This machine, with the folder below which packages are staged. It is created when the first package needs it,
    /// and only the agent's user can enter what is created.
    pub fn new(staging_root: impl Into<PathBuf>) -> Self {
        Self {
            staging_root: staging_root.into(),
            leftovers: Leftovers::default(),
            resolver: Resolver::default(),
        }
    }

    /// Asks this resolver in place of the system's.
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
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
        native::OS
    }

    fn hostname(&self) -> Result<String> {
        Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
    }

    fn kernel(&self) -> Result<Kernel> {
        let uname = rustix::system::uname();
        Ok(Kernel {
            release: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
        })
    }

    fn uptime(&self) -> Result<Duration> {
        native::uptime().map_err(|error| HostError::new("read", "the time since the last start", error))
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
        files::access(path)
    }

    fn search_domains(&self) -> Result<Vec<String>> {
        self.resolver.search_domains()
    }

    fn service_records(&self, name: &str, time_limit: Duration) -> Result<Vec<ServiceRecord>> {
        self.resolver.service_records(name, time_limit)
    }

    fn registry_values(&self, key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>> {
        Err(HostError::new(
            "read registry key",
            key,
            io::ErrorKind::Unsupported,
        ))
    }

    fn registry_subkeys(&self, key: &RegistryKey) -> Result<Vec<String>> {
        Err(HostError::new(
            "list registry key",
            key,
            io::ErrorKind::Unsupported,
        ))
    }

    #[cfg(target_os = "macos")]
    fn preferences(&self, domain: &PreferenceDomain) -> Result<Preferences> {
        native::preferences::read(domain)
    }

    #[cfg(target_os = "macos")]
    fn set_preference(&self, domain: &PreferenceDomain, key: &str, value: &PreferenceValue) -> Result<()> {
        native::preferences::set(domain, key, value)
    }

    #[cfg(target_os = "macos")]
    fn remove_preference(&self, domain: &PreferenceDomain, key: &str) -> Result<()> {
        native::preferences::remove(domain, key)
    }

    fn wmi(&self, _namespace: &str, query: &str) -> Result<Vec<WmiRow>> {
        Err(HostError::new("query WMI", query, io::ErrorKind::Unsupported))
    }

    fn write_file(&self, path: &Path, content: &[u8], visibility: Visibility) -> Result<()> {
        files::write(path, content, visibility)
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        files::remove(path)
    }

    fn read_guarded(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        guarded::read(path)
    }

    fn replace_guarded(&self, path: &Path, content: &[u8]) -> Result<()> {
        guarded::replace(path, content)
    }

    fn remove_guarded(&self, path: &Path) -> Result<()> {
        guarded::remove(path)
    }

    fn set_password(&self, username: &str, password: &str) -> Result<()> {
        native::password::set(username, password, None)
    }

    fn change_password(&self, username: &str, password: &str, old: Option<&str>) -> Result<()> {
        native::password::set(username, password, old)
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
        native::users::logged_in()
    }

    fn notify_users(&self, message: &str) -> Result<()> {
        native::users::notify(message)
    }

    fn release_memory(&self) {
        native::release_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> SystemHost {
        SystemHost::new(std::env::temp_dir())
    }

    #[test]
    fn uname_names_this_machine() {
        assert!(!host().hostname().unwrap().is_empty());
        let kernel = host().kernel().unwrap();
        assert!(
            kernel.release.starts_with(|c: char| c.is_ascii_digit()),
            "{kernel:?}"
        );
        let expected = match (native::OS, std::env::consts::ARCH) {
            (Os::MacOs, "aarch64") => "arm64",
            (_, arch) => arch,
        };
        assert_eq!(kernel.machine, expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn uptime_agrees_with_the_kernels_own_file() {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        let difference = host().uptime().unwrap().as_secs_f64() - seconds;
        assert!((-0.1..60.0).contains(&difference), "{difference}");
    }

    #[test]
    fn random_bytes_differ_between_two_draws() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        host().fill_random(&mut a).unwrap();
        host().fill_random(&mut b).unwrap();
        assert_ne!(a, b);
    }

    #[test]
    fn questions_about_windows_are_refused() {
        let error = host()
            .registry_values(&RegistryKey::machine("SOFTWARE"))
            .unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::Unsupported);
        assert!(
            host()
                .registry_subkeys(&RegistryKey::machine("SOFTWARE"))
                .is_err()
        );
        assert!(
            host()
                .wmi(r"root\cimv2", "SELECT Name FROM Win32_Processor")
                .is_err()
        );
    }

    #[test]
    fn packages_that_a_killed_agent_left_behind_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let host = SystemHost::new(folder.path().join("staging"));
        host.note_leftovers().unwrap();
        let mut staging = host.create_staging().unwrap();
        staging.create_folder(Path::new("data")).unwrap();
        std::mem::forget(staging);
        let next = SystemHost::new(folder.path().join("staging"));
        next.note_leftovers().unwrap();
        let own = next.create_staging().unwrap();
        next.remove_all_leftovers();
        assert!(own.folder().exists());
        assert_eq!(
            std::fs::read_dir(folder.path().join("staging")).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_dangling_link_exists_and_names_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("../nowhere", &link).unwrap();
        assert!(host().exists(&link));
        assert_eq!(host().read_link(&link).unwrap(), Path::new("../nowhere"));
        assert!(!host().exists(&folder.path().join("other")));
        assert!(
            host()
                .read_link(&folder.path().join("other"))
                .unwrap_err()
                .is_not_found()
        );
    }
}
