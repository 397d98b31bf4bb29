//! The one seam: everything the agent asks of a machine, and everything it does to one.
//!
//! Three implementations exist: [`SystemHost`](system::SystemHost), the real machine and the only place that knows at
//! compile time which system it runs on; [`RecordedHost`](recorded::RecordedHost), artefacts in a folder, for tests;
//! and the simulator's host, which generates the artefacts from a seed. Collectors of all systems are functions of
//! `&dyn Host`, so each of them compiles and runs everywhere.
//!
//! Answers are *raw artefacts* (file contents, command output, registry values, WMI rows); making sense of them is the
//! caller's job. Calls block and may be slow; callers on an async runtime move them to a blocking thread (`beside`). Only
//! a running procedure is asynchronous, because it may last for hours.

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod beside;
pub mod recorded;
pub mod system;

pub(crate) use beside::beside;

/// A family of operating systems, which decides where things are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Os {
    /// Every distribution.
    Linux,
    /// macOS 11 and later.
    MacOs,
    /// Windows and Windows Server.
    Windows,
}

impl Os {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linux, Self::MacOs, Self::Windows];

    /// `linux`, `macos` or `windows`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::MacOs => "macos",
            Self::Windows => "windows",
        }
    }
}

impl std::fmt::Display for Os {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Os {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|os| os.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not an operating system: expected linux, macos or windows"))
    }
}

/// Something asked of the host did not work out.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {subject}")]
pub struct HostError {
    /// What was to be done, as a verb: `read`, `list`, `run`, `query`.
    pub operation: &'static str,
    /// What it was to be done to: a path, a command line, a registry key.
    pub subject: String,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl HostError {
    /// An error of `operation` on `subject`.
    pub fn new(
        operation: &'static str,
        subject: impl std::fmt::Display,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            operation,
            subject: subject.to_string(),
            source: source.into(),
        }
    }

    /// An error that says the machine has no such thing.
    pub fn not_found(operation: &'static str, subject: impl std::fmt::Display) -> Self {
        Self::new(operation, subject, io::ErrorKind::NotFound)
    }

    /// Whether the machine simply has no such thing.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Outcome of a call to the host.
pub type Result<T, E = HostError> = std::result::Result<T, E>;

/// What `uname` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Release: `6.1.0-18-amd64`, `23.4.0`, `10.0.22631`.
    pub release: String,
    /// Machine: `x86_64`, `aarch64`, `arm64`, `AMD64`.
    pub machine: String,
}

/// One network interface with its addresses, as the system lists it (loopback and link-local ones included).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Hardware address in lower case with colons, if it has one.
    pub mac: Option<String>,
    /// Whether it is the loopback interface.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub addr: IpAddr,
    /// Length of the network prefix, bits.
    pub prefix: u8,
    /// Broadcast address (IPv4 only).
    pub broadcast: Option<IpAddr>,
}

/// Space on a mounted file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// In use.
    pub used: u64,
    /// Available to users without privileges.
    pub available: u64,
}

/// A command to run for its output: an inventory question, never a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command<'a> {
    /// Program, looked up in the system's path.
    pub program: &'a str,
    /// Arguments; there is no shell.
    pub args: &'a [&'a str],
    /// After this long it is killed and counts as failed.
    pub time_limit: Duration,
}

impl std::fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
}

/// Root of a part of the Windows registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hive {
    /// `HKEY_LOCAL_MACHINE`.
    #[serde(rename = "HKLM")]
    LocalMachine,
    /// `HKEY_USERS`.
    #[serde(rename = "HKU")]
    Users,
}

/// Which side of the registry's redirection a key is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistryView {
    /// What 64-bit programs see.
    Native,
    /// What 32-bit programs see.
    Wow32,
}

/// How the names begin under which users' registries are loaded.
pub const LOADED_HIVE: &str = "oco-agent-";

/// A key of the Windows registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegistryKey {
    /// Its root.
    pub hive: Hive,
    /// Its side of the redirection.
    pub view: RegistryView,
    /// Path below the root, separated by backslashes, compared case-insensitively.
    pub path: String,
}

impl RegistryKey {
    /// A key below `HKEY_LOCAL_MACHINE` as 64-bit programs see it.
    pub fn machine(path: impl Into<String>) -> Self {
        Self {
            hive: Hive::LocalMachine,
            view: RegistryView::Native,
            path: path.into(),
        }
    }

    /// The key `name` below this one.
    #[must_use]
    pub fn subkey(&self, name: &str) -> Self {
        Self {
            path: format!("{}\\{name}", self.path),
            ..self.clone()
        }
    }
}

impl std::fmt::Display for RegistryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hive = match self.hive {
            Hive::LocalMachine => "HKEY_LOCAL_MACHINE",
            Hive::Users => "HKEY_USERS",
        };
        let view = match self.view {
            RegistryView::Native => "",
            RegistryView::Wow32 => " (32 bit)",
        };
        write!(f, "{hive}\\{}{view}", self.path)
    }
}

/// A value of the Windows registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryValue {
    /// `REG_SZ`.
    #[serde(rename = "sz")]
    Text(String),
    /// `REG_EXPAND_SZ`, not expanded.
    #[serde(rename = "expand_sz")]
    ExpandText(String),
    /// `REG_MULTI_SZ`.
    #[serde(rename = "multi_sz")]
    MultiText(Vec<String>),
    /// `REG_DWORD`.
    #[serde(rename = "dword")]
    Dword(u32),
    /// `REG_QWORD`.
    #[serde(rename = "qword")]
    Qword(u64),
    /// `REG_BINARY` and everything else.
    #[serde(rename = "binary")]
    Binary(Vec<u8>),
}

/// A domain of settings of macOS: what programs call their preferences.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PreferenceDomain {
    /// The user whose settings they are, by his id; none: the computer's, which hold for all its users.
    pub user: Option<u32>,
    /// Its name, such as `com.apple.screensaver`; of the computer's, also the absolute path of a property list.
    pub name: String,
}

impl std::fmt::Display for PreferenceDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.user {
            Some(uid) => write!(f, "{} of user {uid}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A value in the settings of macOS.
pub type PreferenceValue = plist::Value;

/// The values of a domain, by key.
pub type Preferences = plist::Dictionary;

/// One row of a WMI query: property -> value. 64-bit numbers may come as strings, as COM delivers them.
pub type WmiRow = BTreeMap<String, Value>;

/// Who may read a file that the agent writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Only the agent's own user (mode 0600; administrators and SYSTEM): it holds a secret.
    Private,
    /// Whoever could read the file that is replaced, which keeps its owner, too; everybody (mode 0644) where there was none.
    AsBefore,
}

/// One SRV record (RFC 2782) as it came: nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Lower ones are to be used first.
    pub priority: u16,
    /// Share of the clients, among records of one priority.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// Host that has it, with a dot at its end; bytes that cannot stand in a name are escaped with backslashes.
    pub target: String,
}

/// Who can get at a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// As people put it on that system: `mode 0644, owner 1000`.
    pub description: String,
    /// It belongs neither to the administrator nor to the agent's own user.
    pub foreign_owner: bool,
    /// Somebody other than its owner and the administrator can read it.
    pub others_read: bool,
    /// Somebody other than its owner and the administrator can change it.
    pub others_write: bool,
}

/// What is done to the machine after a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowerAction {
    /// It starts anew.
    Restart,
    /// It stays off.
    Shutdown,
}

/// A software job's procedure, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Procedure {
    /// Command line for the system's shell.
    pub command: String,
    /// Working directory; none: the system's folder for temporary files.
    pub folder: Option<PathBuf>,
    /// How long it may run on where the agent is killed meanwhile and so cannot see to it; none: as long as it takes.
    pub time_limit: Option<Duration>,
}

/// A procedure that runs. Dropping it kills the whole tree of processes.
pub trait RunningProcedure: Send {
    /// The next piece of output, standard output and error merged; `None` once there will be no more. May be dropped
    /// before it is ready without losing output.
    fn next_output(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>>;

    /// The exit code; a process that a signal ended has 128 + the signal's number, as shells say.
    fn wait(&mut self) -> BoxFuture<'_, Result<i32>>;

    /// Kills the whole tree of processes.
    fn kill(&mut self) -> BoxFuture<'_, Result<()>>;
}

/// A reader that can seek.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A private folder for one package: first its archive, then what was in it. Removed with everything in it on drop.
///
/// Relative paths have been checked by the caller: they have only normal components.
pub trait Staging: Send {
    /// The folder that the archive is unpacked to, where the procedure runs.
    fn folder(&self) -> &Path;

    /// Where the archive is written to, from its beginning.
    fn write_archive(&mut self) -> Result<Box<dyn Write + Send>>;

    /// The archive as it was written.
    fn read_archive(&mut self) -> Result<Box<dyn ReadSeek>>;

    /// Creates a folder and its parents below [`Staging::folder`].
    fn create_folder(&mut self, relative: &Path) -> Result<()>;

    /// Creates a new file below [`Staging::folder`]; one that exists is an error.
    fn create_file(&mut self, relative: &Path, executable: bool) -> Result<Box<dyn Write + Send>>;
}

/// A watch for logons, until it is dropped.
pub type LogonWatch = Box<dyn Send + Sync>;

/// A machine.
pub trait Host: Send + Sync {
    /// Which family of systems it runs; decides which collectors are asked.
    fn os(&self) -> Os;

    /// Whether it has all answers in memory: then what every check-in asks is asked at once, without the way to a thread
    /// for what may block and back. Whole inventories and jobs are much work all the same.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// The kernel's host name, with its domain if it has one there.
    fn hostname(&self) -> Result<String>;

    /// What `uname` says.
    fn kernel(&self) -> Result<Kernel>;

    /// Time since the last start.
    fn uptime(&self) -> Result<Duration>;

    /// The network interfaces.
    fn interfaces(&self) -> Result<Vec<Interface>>;

    /// The clock.
    fn now(&self) -> SystemTime;

    /// Fills `buffer` from the system's random source.
    fn fill_random(&self, buffer: &mut [u8]) -> Result<()>;

    /// A file's content. Files of unreasonable size (over 64 MiB) are refused.
    fn read_file(&self, path: &Path) -> Result<Vec<u8>>;

    /// The target of a symbolic link, as it is written there.
    fn read_link(&self, path: &Path) -> Result<PathBuf>;

    /// The names in a folder, sorted.
    fn list_folder(&self, path: &Path) -> Result<Vec<String>>;

    /// Whether there is anything at that path.
    fn exists(&self, path: &Path) -> bool;

    /// Space on the file system that is mounted there.
    fn space(&self, mountpoint: &Path) -> Result<Space>;

    /// Runs a command and waits for it. A command that cannot be found is an error, one that fails is not.
    fn run(&self, command: &Command<'_>) -> Result<CommandOutput>;

    /// Runs a command and hands on its standard output in pieces as they come, until `consume` breaks: that kills it.
    /// The exit code; none if the command was killed. For output that should not be held as a whole.
    fn stream(
        &self,
        command: &Command<'_>,
        consume: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Option<i32>> {
        let output = self.run(command)?;
        Ok(match consume(&output.stdout) {
            ControlFlow::Continue(()) => output.code,
            ControlFlow::Break(()) => None,
        })
    }

    /// Who can get at a file or folder.
    fn access(&self, path: &Path) -> Result<Access> {
        Err(unsupported("find out who can get at", path.display()))
    }

    /// The domains that the system's resolver completes names with, in their order.
    fn search_domains(&self) -> Result<Vec<String>> {
        Err(unsupported("read", "the settings of the system's resolver"))
    }

    /// The SRV records of a name, from the system's name servers; none where there are none.
    fn service_records(&self, name: &str, time_limit: Duration) -> Result<Vec<ServiceRecord>> {
        let _ = time_limit;
        Err(unsupported("look up the SRV records of", name))
    }

    /// The values of a registry key, by name; the default value has the name `""`.
    fn registry_values(&self, key: &RegistryKey) -> Result<BTreeMap<String, RegistryValue>>;

    /// The names of a registry key's subkeys.
    fn registry_subkeys(&self, key: &RegistryKey) -> Result<Vec<String>>;

    /// Writes a value of a registry key; keys on the way are created.
    fn set_registry_value(&self, key: &RegistryKey, name: &str, value: &RegistryValue) -> Result<()> {
        let _ = (name, value);
        Err(unsupported("write into registry key", key))
    }

    /// Removes a value of a registry key; one that is not there is no error.
    fn remove_registry_value(&self, key: &RegistryKey, name: &str) -> Result<()> {
        let _ = name;
        Err(unsupported("remove a value of registry key", key))
    }

    /// Removes a registry key that has neither values nor subkeys. Whether it is gone.
    fn remove_empty_registry_key(&self, key: &RegistryKey) -> Result<bool> {
        Err(unsupported("remove registry key", key))
    }

    /// Makes the registry of a user who is not logged on available as the key `name` below `HKEY_USERS`. The name begins with
    /// [`LOADED_HIVE`], by which the next agent knows what a killed one has left.
    fn load_registry_hive(&self, name: &str, file: &Path) -> Result<()> {
        let _ = name;
        Err(unsupported("load registry hive", file.display()))
    }

    /// Writes a loaded registry back and lets go of its file.
    fn unload_registry_hive(&self, name: &str) -> Result<()> {
        Err(unsupported("unload registry hive", name))
    }

    /// The settings of a domain; none where there is no such domain.
    fn preferences(&self, domain: &PreferenceDomain) -> Result<Preferences> {
        Err(unsupported("read the settings", domain))
    }

    /// Sets one of a domain's settings; what runs and asks for it sees it.
    fn set_preference(&self, domain: &PreferenceDomain, key: &str, value: &PreferenceValue) -> Result<()> {
        let _ = (key, value);
        Err(unsupported("write the settings", domain))
    }

    /// Removes one of a domain's settings; one that is not there is no error.
    fn remove_preference(&self, domain: &PreferenceDomain, key: &str) -> Result<()> {
        let _ = key;
        Err(unsupported("remove a value of the settings", domain))
    }

    /// The rows of a WQL query in a namespace such as `root\cimv2`.
    fn wmi(&self, namespace: &str, query: &str) -> Result<Vec<WmiRow>>;

    /// Hands on the events of a Windows log that a query selects, newest first, each as XML, until `consume` breaks. The
    /// query is an XPath expression, or a whole structured query, which names its channels itself; an empty one selects
    /// all events.
    fn event_log(
        &self,
        channel: &str,
        query: &str,
        consume: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<()> {
        let _ = (query, consume);
        Err(unsupported("query the event log", channel))
    }

    /// Calls `notify` each time that somebody logs on, from any thread, until what is returned is dropped; none where the
    /// machine does not tell.
    fn watch_logons(&self, notify: Arc<dyn Fn() + Send + Sync>) -> Result<Option<LogonWatch>> {
        drop(notify);
        Ok(None)
    }

    /// Replaces a file, durably and atomically: at every moment, power loss included, the path holds either the old
    /// content or the new one. Folders on the way are created.
    fn write_file(&self, path: &Path, content: &[u8], visibility: Visibility) -> Result<()>;

    /// Removes a file; one that is not there is no error.
    fn remove_file(&self, path: &Path) -> Result<()>;

    /// The content of a file that somebody else has named; none if there is no such file. This one and its kin refuse a
    /// file that other users of the machine could exchange for another one, by a link for example.
    fn read_guarded(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        if self.read_link(path).is_ok() {
            let reason = "it is a symbolic link: name the file that it points to";
            let reason = io::Error::new(io::ErrorKind::PermissionDenied, reason);
            return Err(HostError::new("read", path.display(), reason));
        }
        match self.read_file(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces such a file as [`Host::write_file`] does; it keeps its owner and who may do what with it.
    fn replace_guarded(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.write_file(path, content, Visibility::AsBefore)
    }

    /// Removes such a file; one that is not there is no error.
    fn remove_guarded(&self, path: &Path) -> Result<()> {
        self.remove_file(path)
    }

    /// Sets a local account's password. It is never part of a command line or of the error.
    fn set_password(&self, username: &str, password: &str) -> Result<()>;

    /// The same where the password so far may be known, which some systems need to open with the new one what was locked
    /// with the old one.
    fn change_password(&self, username: &str, password: &str, old: Option<&str>) -> Result<()> {
        let _ = old;
        self.set_password(username, password)
    }

    /// A new private staging folder of unpredictable name.
    fn create_staging(&self) -> Result<Box<dyn Staging>>;

    /// Starts a job's procedure in the system's shell with standard input closed. Must be called on an async runtime.
    fn start_procedure(&self, procedure: &Procedure) -> Result<Box<dyn RunningProcedure>>;

    /// How many procedures still run that agents before this one started.
    fn earlier_procedures(&self) -> usize {
        0
    }

    /// Orders a restart or a shutdown in so many minutes; 0: at once.
    fn schedule_power(&self, action: PowerAction, minutes: u32) -> Result<()>;

    /// Names of the users who are logged in, each once.
    fn logged_in_users(&self) -> Result<Vec<String>>;

    /// Shows a message to the users who are logged in.
    fn notify_users(&self, message: &str) -> Result<()>;

    /// Called when there is nothing to do for a while: what this process has of the machine's memory and does not use
    /// is given back, where that does not happen by itself.
    fn release_memory(&self) {}
}

fn unsupported(operation: &'static str, subject: impl std::fmt::Display) -> HostError {
    HostError::new(operation, subject, io::ErrorKind::Unsupported)
}
