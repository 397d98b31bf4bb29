//! The agent's configuration: an `.ini` file shared with the existing agent, and where files are on each system.

mod document;

pub use document::{Document, Entry};

use crate::host::{Host, HostError, Os, Visibility};
use oco_protocol::Key;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// What the server signs with; empty before registration.
    pub server_key: Key,
    /// Certificates to trust beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Which local users are reported.
    pub local_users: RangeInclusive<u32>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration cannot be read; create it or name another one with --config")]
    Read(#[source] HostError),
    /// The file is not text.
    #[error("{}: the configuration is not UTF-8 text", .0.display())]
    NotText(PathBuf),
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

/// Reads and checks the configuration through the host. The second part holds warnings: keys that mean nothing.
pub fn load(host: &dyn Host, path: &Path) -> Result<(Config, Vec<String>), ConfigError> {
    let document = read_document(host, path)?;
    Ok((
        Config::from_document(&document, host.os(), path)?,
        unknown_keys(&document, path),
    ))
}

/// Writes keys into the configuration, keeping all else in it. With nothing to write it proves that writing works.
pub fn store_keys(
    host: &dyn Host,
    path: &Path,
    agent_key: Option<&Key>,
    server_key: Option<&Key>,
) -> Result<(), ConfigError> {
    let mut document = read_document(host, path)?;
    for (section, name, key) in [
        ("agent", "agent-key", agent_key),
        ("server", "server-key", server_key),
    ] {
        if let Some(key) = key {
            document = parse(&document.with_value(section, name, key.expose()), path)?;
        }
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
            server_key: Key::new(read.text("server", "server-key").unwrap_or_default()),
            ca_file: read.text("server", "ca-file").map(PathBuf::from),
            local_users: read.user_id(users, "local-users-min-uid", 1000)?
                ..=read.user_id(users, "local-users-max-uid", 65534)?,
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
    ("server", &["api-url", "server-key", "ca-file"]),
    ("windows", &["username-with-domain"]),
    ("linux", &["local-users-min-uid", "local-users-max-uid"]),
    ("macos", &["local-users-min-uid", "local-users-max-uid"]),
];

fn read_document(host: &dyn Host, path: &Path) -> Result<Document, ConfigError> {
    let content = host.read_file(path).map_err(ConfigError::Read)?;
    let text = String::from_utf8(content).map_err(|_| ConfigError::NotText(path.to_owned()))?;
    if text.trim().is_empty() {
        return Err(ConfigError::Empty(path.to_owned()));
    }
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Document, ConfigError> {
    Document::parse(text).map_err(|malformed| ConfigError::Line {
        path: path.to_owned(),
        line: malformed.line,
        reason: malformed.reason,
    })
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

    fn user_id(&self, section: &'static str, key: &'static str, default: u32) -> Result<u32, ConfigError> {
        let id = self.parsed(
            section,
            key,
            "a user id, a whole number from 0 to 4294967295",
            |text| text.parse().ok(),
        )?;
        Ok(id.unwrap_or(default))
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
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, ConfigError> {
        Config::from_document(&Document::parse(text).unwrap(), Os::Linux, Path::new("a.ini"))
    }

    #[test]
    fn the_manual_page_explains_every_key_and_no_other() {
        let page = include_str!("../packaging/man/oco-agent.ini.5");
        let mut lines = page.lines();
        let mut explained = Vec::new();
        while lines.any(|line| line == ".TP") {
            let keys = lines.next().unwrap().replace("\\-", "-");
            explained.extend(
                keys.split([' ', '"', ','])
                    .skip(1)
                    .filter(|key| !key.is_empty())
                    .map(str::to_owned),
            );
        }
        let mut known: Vec<&str> = KNOWN_KEYS.iter().flat_map(|(_, keys)| *keys).copied().collect();
        explained.sort();
        known.sort_unstable();
        known.dedup();
        assert_eq!(explained, known);
    }

    #[test]
    fn the_packaged_configuration_is_accepted_without_a_warning() {
        let document = Document::parse(include_str!("../packaging/common/oco-agent.ini")).unwrap();
        let path = Path::new("oco-agent.ini");
        assert_eq!(unknown_keys(&document, path), Vec::<String>::new());
        let config = Config::from_document(&document, Os::Linux, path).unwrap();
        assert!(config.api_url.is_none() && config.agent_key.is_empty() && config.server_key.is_empty());
    }

    #[test]
    fn an_empty_section_gives_the_documented_defaults() {
        let config = config("[agent]\n[server]\nserver-key = None\n").unwrap();
        assert_eq!(config.query_interval, Duration::from_secs(60));
        assert_eq!(config.connection_timeout, Duration::from_secs_f64(3.05));
        assert_eq!(config.report_job_output, Some(Duration::from_secs(5)));
        assert_eq!((config.job_timeout, config.api_url), (None, None));
        assert!(config.server_key.is_empty() && config.hostname_remove_domain);
        assert_eq!(config.local_users, 1000..=65534);
    }

    #[test]
    fn wrong_values_name_file_line_key_and_accepted_form() {
        for (line, part) in [
            (
                "query-interval = soon",
                "a.ini:2: [agent] query-interval = \"soon\" is wrong: expected seconds",
            ),
            ("query-interval = -1", "seconds, more than 0"),
            ("debug = maybe", "expected 0 or 1"),
            ("chunk-size = 0", "whole number from 1"),
        ] {
            let message = config(&format!("[agent]\n{line}")).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        for url in ["ftp://x/", "oco.example.com", "https://"] {
            assert!(
                config(&format!("[server]\napi-url = {url}"))
                    .unwrap_err()
                    .to_string()
                    .contains("a URL such as")
            );
        }
    }

    #[test]
    fn unknown_keys_are_warned_of_and_known_ones_are_not() {
        let known = KNOWN_KEYS
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("[{section}]\n{key} = 1\n")));
        let document = Document::parse(&known.collect::<String>()).unwrap();
        assert_eq!(unknown_keys(&document, Path::new("a.ini")), Vec::<String>::new());
        let document = Document::parse("[agent]\nintervall = 1\n").unwrap();
        assert_eq!(
            unknown_keys(&document, Path::new("a.ini")),
            ["a.ini:2: [agent] intervall is not a setting of this agent"]
        );
    }

    #[test]
    fn debug_output_never_shows_a_key() {
        let config = config("[agent]\nagent-key = s3cret\n[server]\nserver-key = s3cret\n").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
