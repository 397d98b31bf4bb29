//! The agent's configuration: an `.ini` file shared with the existing agent, and where files are on each system.

mod document;

pub use document::{Document, Entry};

use crate::host::{Host, HostError, Os, Visibility};
use oco_protocol::Key;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Largest configuration that is read, bytes: a real one has some hundred.
const MAX_BYTES: usize = 1 << 20;

/// So many warnings are enough.
const MAX_WARNINGS: usize = 50;

/// Where the agent's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The configuration.
    pub config: PathBuf,
    /// Timestamp of the last accepted response: one number as text, shared with the existing agent.
    pub timestamp: PathBuf,
    /// Timestamp of the last request: one number as text.
    pub sent_timestamp: PathBuf,
    /// Held by the running agent.
    pub lock: PathBuf,
    /// Folder that staging folders are made in.
    pub staging: PathBuf,
    /// Folder of the job journal.
    pub journal: PathBuf,
    /// The policies that were applied, as JSON.
    pub policies: PathBuf,
    /// Folder of the service checks.
    pub service_checks: PathBuf,
}

impl Paths {
    /// The paths of an installed agent. `program_folder` is where the binary lies; macOS and Windows keep files beside it.
    pub fn installed(os: Os, program_folder: &Path) -> Self {
        match os {
            Os::Linux => Self::new(
                "/etc/oco-agent.ini".into(),
                Path::new("/var/lib/oco-agent"),
                Path::new("/usr/lib/oco-agent"),
            ),
            Os::MacOs => Self::new(
                program_folder.join("oco-agent.ini"),
                Path::new("/var/lib/oco-agent"),
                program_folder,
            ),
            Os::Windows => Self::new(
                program_folder.join("oco-agent.ini"),
                program_folder,
                program_folder,
            ),
        }
    }

    /// The paths of an agent with a configuration of its own: its state lies beside that.
    pub fn beside(config: &Path) -> Self {
        let folder = config
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Self::new(config.to_owned(), folder, folder)
    }

    fn new(config: PathBuf, state: &Path, extensions: &Path) -> Self {
        Self {
            config,
            timestamp: state.join("oco-agent.timestamp"),
            sent_timestamp: state.join("oco-agent.sent-timestamp"),
            lock: state.join("oco-agent.lock"),
            staging: state.join("staging"),
            journal: state.join("journal"),
            policies: state.join("policies.json"),
            service_checks: extensions.join("service-checks"),
        }
    }
}

/// Which generation of the protocol is spoken. Nothing but the configuration changes it: falling back to the keyed one
/// would give the agent key to whoever asked for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Requests and responses are signed; keys never travel.
    #[default]
    Signed,
    /// Keys are sent along, as to servers of 2022.
    Keyed,
}

/// The agent's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Log more.
    pub debug: bool,
    /// Between two check-ins of the daemon.
    pub query_interval: Duration,
    /// Limit for establishing a connection.
    pub connection_timeout: Duration,
    /// Limit for silence on an established connection.
    pub read_timeout: Duration,
    /// What this agent signs with: the registration key until the server has given it one of its own.
    pub agent_key: Key,
    /// Overrides the machine's UUID.
    pub machine_uid: Option<String>,
    /// Cut the host name at its first dot.
    pub hostname_remove_domain: bool,
    /// Bytes of a download that count as one chunk.
    pub chunk_size: u64,
    /// Chunks between two reports of a download's progress.
    pub report_frames: u64,
    /// Between two reports of a running job's output; none: only at its end.
    pub report_job_output: Option<Duration>,
    /// A job that runs longer is killed; none: no limit.
    pub job_timeout: Option<Duration>,
    /// Bytes of a job's output that are kept.
    pub max_output: usize,
    /// URL of the server's agent API.
    pub api_url: Option<String>,
    /// Generation of the protocol.
    pub protocol: Protocol,
    /// What the server signs with; empty before registration.
    pub server_key: Key,
    /// Certificates to trust beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Which local users are reported.
    pub local_users: RangeInclusive<u32>,
    /// Report logins as `DOMAIN\user` (Windows).
    pub username_with_domain: bool,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration cannot be read; create it or name another one with --config")]
    Read(#[source] HostError),
    /// The file is not text.
    #[error("{}:{line}: the configuration is {encoding}; save it as UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Line number of the first byte that is none, from 1.
        line: usize,
        /// What it seems to be.
        encoding: &'static str,
    },
    /// The file cannot be a configuration.
    #[error("{}: {bytes} bytes are no configuration; restore it", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
    },
    /// The file is empty, as after a power failure.
    #[error("{}: the configuration is empty; restore it, at least [server] api-url and [agent] agent-key", .0.display())]
    Empty(PathBuf),
    /// A line makes no sense.
    #[error("{}:{line}: the line {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A value makes no sense. The value of a secret is never part of it.
    #[error("{}:{line}: [{section}] {key} = {value:?} is wrong: expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// Section of the key.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The value as it stands there.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// Keys could not be written back.
    #[error("the configuration cannot be written; check free space and that its folder is writable")]
    Write(#[source] HostError),
}

/// Reads and checks the configuration through the host. The second part holds warnings: keys that mean nothing or stand
/// there twice.
pub fn load(host: &dyn Host, path: &Path) -> Result<(Config, Vec<String>), ConfigError> {
    let document = read_document(host, path)?;
    Ok((
        Config::from_document(&document, host.os(), path)?,
        warnings(&document, path),
    ))
}

/// All that there is to say of a configuration.
#[derive(Debug)]
pub struct Examination {
    /// Its settings, with defaults in place of wrong values.
    pub config: Config,
    /// The wrong values.
    pub errors: Vec<ConfigError>,
    /// What [`load`] warns of.
    pub warnings: Vec<String>,
}

/// Like [`load`], but a wrong value does not hide the others.
pub fn examine(host: &dyn Host, path: &Path) -> Result<Examination, ConfigError> {
    let mut document = read_document(host, path)?;
    let (warnings, mut errors) = (warnings(&document, path), Vec::new());
    loop {
        match Config::from_document(&document, host.os(), path) {
            Ok(config) => {
                return Ok(Examination {
                    config,
                    errors,
                    warnings,
                });
            }
            Err(error @ ConfigError::Value { section, key, .. }) => {
                // An empty value counts as none, so each turn has one wrong value less.
                document = parse(&document.with_value(section, key, ""), path)?;
                errors.push(error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Writes keys into the configuration, keeping all else in it. With nothing to write it proves that writing works.
pub fn store_keys(
    host: &dyn Host,
    path: &Path,
    agent_key: Option<&Key>,
    server_key: Option<&Key>,
) -> Result<(), ConfigError> {
    let keys = [
        ("agent", "agent-key", agent_key),
        ("server", "server-key", server_key),
    ];
    let values = keys
        .into_iter()
        .filter_map(|(section, name, key)| Some((section, name, key?.expose())));
    store(host, path, values)
}

/// Writes the server's URL into the configuration, keeping all else in it.
pub fn store_api_url(host: &dyn Host, path: &Path, url: &str) -> Result<(), ConfigError> {
    store(host, path, [("server", "api-url", url)])
}

fn store<'a>(
    host: &dyn Host,
    path: &Path,
    values: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) -> Result<(), ConfigError> {
    let mut document = read_document(host, path)?;
    for (section, name, value) in values {
        document = parse(&document.with_value(section, name, value), path)?;
    }
    host.write_file(path, document.text().as_bytes(), Visibility::Private)
        .map_err(ConfigError::Write)
}

impl Config {
    /// The settings in `document`, with defaults for what it does not mention.
    pub fn from_document(document: &Document, os: Os, path: &Path) -> Result<Self, ConfigError> {
        let read = Reader { document, path };
        let users = if os == Os::MacOs { "macos" } else { "linux" };
        Ok(Self {
            debug: read.flag("agent", "debug", false)?,
            query_interval: read.seconds("agent", "query-interval", 60.0)?,
            connection_timeout: read.seconds("agent", "connection-timeout", 3.05)?,
            read_timeout: read.seconds("agent", "read-timeout", 150.0)?,
            agent_key: Key::new(read.text("agent", "agent-key").unwrap_or_default()),
            machine_uid: read.text("agent", "machine-uid").map(str::to_owned),
            hostname_remove_domain: read.flag("agent", "hostname-remove-domain", true)?,
            chunk_size: read.count("agent", "chunk-size", 8192)?,
            report_frames: read.count("agent", "report-frames", 8192)?,
            report_job_output: read.optional_seconds("agent", "report-job-output", 5.0)?,
            job_timeout: read.optional_seconds("agent", "job-timeout", 0.0)?,
            max_output: usize::try_from(read.count("agent", "max-output", 1 << 20)?).unwrap_or(usize::MAX),
            api_url: read.url("server", "api-url")?,
            protocol: read.protocol("server", "protocol")?,
            server_key: Key::new(read.text("server", "server-key").unwrap_or_default()),
            ca_file: read.text("server", "ca-file").map(PathBuf::from),
            local_users: read.user_ids(users, 1000, 65534)?,
            username_with_domain: read.flag("windows", "username-with-domain", false)?,
        })
    }
}

const KNOWN_KEYS: &[(&str, &[&str])] = &[
    (
        "agent",
        &[
            "debug",
            "query-interval",
            "connection-timeout",
            "read-timeout",
            "agent-key",
            "machine-uid",
            "hostname-remove-domain",
            "chunk-size",
            "report-frames",
            "report-job-output",
            "job-timeout",
            "max-output",
        ],
    ),
    ("server", &["api-url", "server-key", "protocol", "ca-file"]),
    ("windows", &["username-with-domain"]),
    ("linux", &["local-users-min-uid", "local-users-max-uid"]),
    ("macos", &["local-users-min-uid", "local-users-max-uid"]),
];

fn read_document(host: &dyn Host, path: &Path) -> Result<Document, ConfigError> {
    let content = host.read_file(path).map_err(ConfigError::Read)?;
    if content.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            bytes: content.len(),
        });
    }
    let text = decode(content).map_err(|(line, encoding)| ConfigError::NotText {
        path: path.to_owned(),
        line,
        encoding,
    })?;
    if text.trim().is_empty() {
        return Err(ConfigError::Empty(path.to_owned()));
    }
    parse(&text, path)
}

/// The text, or the line where it ceases to be UTF-8 and what it seems to be.
fn decode(content: Vec<u8>) -> Result<Zeroizing<String>, (usize, &'static str)> {
    let content = Zeroizing::new(content);
    let utf16 = content.starts_with(b"\xff\xfe")
        || content.starts_with(b"\xfe\xff")
        || matches!(
            content.as_slice(),
            [1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, ..]
        );
    if utf16 {
        return Err((1, "UTF-16 text"));
    }
    match std::str::from_utf8(&content) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let valid = content.iter().take(error.valid_up_to());
            Err((valid.filter(|byte| **byte == b'\n').count() + 1, "not UTF-8 text"))
        }
    }
}

fn parse(text: &str, path: &Path) -> Result<Document, ConfigError> {
    Document::parse(text).map_err(|malformed| ConfigError::Line {
        path: path.to_owned(),
        line: malformed.line,
        reason: malformed.reason,
    })
}

fn warnings(document: &Document, path: &Path) -> Vec<String> {
    let mut warnings = unknown_keys(document, path);
    let mut seen = HashMap::new();
    for entry in document.entries().iter().rev() {
        let Entry {
            section, key, line, ..
        } = entry;
        if let Some(later) = seen.insert((section, key), line) {
            let file = path.display();
            warnings.push(format!(
                "{file}:{line}: [{section}] {key} is set again in line {later}; the last one counts"
            ));
        }
    }
    warnings.truncate(MAX_WARNINGS);
    warnings
}

fn unknown_keys(document: &Document, path: &Path) -> Vec<String> {
    let known = |entry: &&Entry| {
        !KNOWN_KEYS
            .iter()
            .any(|(section, keys)| *section == entry.section && keys.contains(&entry.key.as_str()))
    };
    let warning = |entry: &Entry| {
        format!(
            "{}:{}: [{}] {} is not a setting of this agent",
            path.display(),
            entry.line,
            entry.section,
            entry.key
        )
    };
    document.entries().iter().filter(known).map(warning).collect()
}

/// Reads typed values; an empty one counts as absent, as does the `None` that the existing agent has written.
struct Reader<'a> {
    document: &'a Document,
    path: &'a Path,
}

impl<'a> Reader<'a> {
    fn entry(&self, section: &str, key: &str) -> Option<&'a Entry> {
        self.document
            .get(section, key)
            .filter(|entry| !matches!(entry.value.as_str(), "" | "None"))
    }

    fn text(&self, section: &'static str, key: &'static str) -> Option<&'a str> {
        Some(self.entry(section, key)?.value.as_str())
    }

    fn parsed<T>(
        &self,
        section: &'static str,
        key: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.entry(section, key) else {
            return Ok(None);
        };
        let wrong = || ConfigError::Value {
            path: self.path.to_owned(),
            line: entry.line,
            section,
            key,
            value: entry.value.clone(),
            expected,
        };
        parse(&entry.value).map(Some).ok_or_else(wrong)
    }

    fn flag(&self, section: &'static str, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        let flag = self.parsed(section, key, "0 or 1", |text| {
            match text.to_lowercase().as_str() {
                "1" | "yes" | "true" | "on" => Some(true),
                "0" | "no" | "false" | "off" => Some(false),
                _ => None,
            }
        })?;
        Ok(flag.unwrap_or(default))
    }

    fn seconds(
        &self,
        section: &'static str,
        key: &'static str,
        default: f64,
    ) -> Result<Duration, ConfigError> {
        let duration = self.parsed(section, key, "seconds, more than 0 and at most 86400", |text| {
            let seconds = text
                .parse::<f64>()
                .ok()
                .filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0)?;
            Some(Duration::from_secs_f64(seconds))
        })?;
        Ok(duration.unwrap_or(Duration::from_secs_f64(default)))
    }

    fn optional_seconds(
        &self,
        section: &'static str,
        key: &'static str,
        default: f64,
    ) -> Result<Option<Duration>, ConfigError> {
        let duration = self.parsed(section, key, "seconds, from 0 (never) to 604800", |text| {
            let seconds = text
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=604_800.0).contains(seconds))?;
            Some(Duration::from_secs_f64(seconds))
        })?;
        Ok(Some(duration.unwrap_or(Duration::from_secs_f64(default))).filter(|duration| !duration.is_zero()))
    }

    fn count(&self, section: &'static str, key: &'static str, default: u64) -> Result<u64, ConfigError> {
        let count = self.parsed(section, key, "a whole number from 1 to 1073741824", |text| {
            text.parse().ok().filter(|count| (1..=1 << 30).contains(count))
        })?;
        Ok(count.unwrap_or(default))
    }

    /// The user ids from one key's to the other's.
    fn user_ids(
        &self,
        section: &'static str,
        min: u32,
        max: u32,
    ) -> Result<RangeInclusive<u32>, ConfigError> {
        let (smallest, largest) = ("local-users-min-uid", "local-users-max-uid");
        let min = self.user_id(section, smallest, min)?;
        let max = self.user_id(section, largest, max)?;
        if min > max {
            let (key, expected) = match self.entry(section, largest) {
                Some(_) => (largest, "a user id that is not less than local-users-min-uid"),
                None => (
                    smallest,
                    "a user id of at most 65534, or a local-users-max-uid above it",
                ),
            };
            self.parsed(section, key, expected, |_| None::<()>)?;
        }
        Ok(min..=max)
    }

    fn user_id(&self, section: &'static str, key: &'static str, default: u32) -> Result<u32, ConfigError> {
        let id = self.parsed(
            section,
            key,
            "a user id, a whole number from 0 to 4294967295",
            |text| text.parse().ok(),
        )?;
        Ok(id.unwrap_or(default))
    }

    fn protocol(&self, section: &'static str, key: &'static str) -> Result<Protocol, ConfigError> {
        let protocol = self.parsed(section, key, "signed or keyed", |text| {
            match text.to_lowercase().as_str() {
                "signed" => Some(Protocol::Signed),
                "keyed" => Some(Protocol::Keyed),
                _ => None,
            }
        })?;
        Ok(protocol.unwrap_or_default())
    }

    fn url(&self, section: &'static str, key: &'static str) -> Result<Option<String>, ConfigError> {
        self.parsed(
            section,
            key,
            "a URL such as https://oco.example.com/api-agent.php",
            |text| {
                let url = reqwest::Url::parse(text).ok()?;
                (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| text.to_owned())
            },
        )
    }
}

#[cfg(test)]
mod tests;
