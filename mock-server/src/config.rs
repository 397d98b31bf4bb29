//! What the server is told at start, and the configuration file that says it.

use crate::clock::{Clock, Random, SystemClock, SystemRandom};
use crate::faults::Rule;
use crate::generation::{self, PhpQuirks, ServerGeneration};
use crate::hooks::Filter;
use crate::retention::{FileRetention, Retention};
use crate::store::url::without_password;
use oco_protocol::Key;
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest time that can be configured, s: a hundred years, which any clock can add to the present.
pub(crate) const MAX_SECONDS: u64 = 100 * 365 * 86_400;
/// Largest body, and memory for bodies, that can be configured.
const MAX_BYTES: u64 = u32::MAX as u64;
/// More than there can be file descriptors, and no more than a semaphore takes.
const MAX_CONNECTIONS: u64 = 1 << 24;

/// Everything the server needs but a socket and a shutdown signal.
#[derive(Clone)]
pub struct Config {
    /// `sqlite:PATH`, `sqlite::memory:`, `postgres://USER:PASSWORD@HOST/DATABASE` or `mariadb://` with the same.
    pub database: String,
    /// Key that unknown and pre-registered computers sign their first hello with. None: the one in the database, which
    /// is generated where there is none.
    pub agent_key: Option<Key>,
    /// Key of the REST API; none as above.
    pub api_key: Option<Key>,
    /// Password of the user `admin` of the client API, who is made where there are no users. None: a generated one.
    pub admin_password: Option<Key>,
    /// Age at which an inventory is asked for again. None: as stored, or two hours.
    pub update_interval: Option<Duration>,
    /// Whether unknown computers may register themselves. None: as stored, or yes.
    pub self_registration: Option<bool>,
    /// Which real server this one behaves like.
    pub server_generation: ServerGeneration,
    /// The shapes of answers.
    pub php_quirks: PhpQuirks,
    /// What a client may cost.
    pub limits: Limits,
    /// What is forgotten, and when.
    pub retention: Retention,
    /// Encryption; none: plain HTTP.
    pub tls: Option<Tls>,
    /// Whether requests are checked against the protocol.
    pub conformance: bool,
    /// Whether those against it are refused; otherwise they are only noted.
    pub strict: bool,
    /// Faults from the start on.
    pub faults: Vec<Rule>,
    /// Where the draws of faults come from.
    pub fault_seed: u64,
    /// Filters of who embeds the server, after its own and in this order; see [`crate::hooks`].
    pub filters: Vec<Arc<dyn Filter>>,
    /// The server's time.
    pub clock: Arc<dyn Clock>,
    /// The server's randomness.
    pub random: Arc<dyn Random>,
}

impl fmt::Debug for Config {
    /// Without the password of the database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("database", &without_password(&self.database))
            .field("server_generation", &self.server_generation)
            .field("php_quirks", &self.php_quirks)
            .field("limits", &self.limits)
            .field("retention", &self.retention)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Where the server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// An authority of its own signs one for `localhost`, `127.0.0.1`, `::1` and these names.
    OwnAuthority {
        /// Where the authority is kept.
        folder: PathBuf,
        /// Names and addresses.
        names: Vec<String>,
    },
    /// PEM files.
    Files {
        /// The certificate and those of the authorities above it.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// What a client may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body of the REST surface, bytes.
    pub body: usize,
    /// Largest request body of the agent API, bytes.
    pub agent_body: usize,
    /// Memory for request bodies of the agent API that are larger than a hello, bytes; more of them wait.
    pub body_memory: usize,
    /// Time to send the head of a request; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Time to send the body of a request.
    pub body_timeout: Duration,
    /// Time in which a client must take something of its answer.
    pub write_timeout: Duration,
    /// Connections served at a time; more wait in the listener's backlog.
    pub connections: usize,
    /// Time for running requests to end after the shutdown signal.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            agent_body: 16 << 20,
            body_memory: 512 << 20,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(60),
            connections: 10_000,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

impl Default for Config {
    /// In memory, with generated keys, the machine's clock and its random source.
    fn default() -> Self {
        Self {
            database: "sqlite::memory:".into(),
            agent_key: None,
            api_key: None,
            admin_password: None,
            update_interval: None,
            self_registration: None,
            server_generation: ServerGeneration::default(),
            php_quirks: PhpQuirks::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            tls: None,
            conformance: true,
            strict: false,
            faults: Vec::new(),
            fault_seed: 0,
            filters: Vec::new(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

/// The configuration file: TOML with these keys, all optional.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FileConfig {
    /// Address and port to listen on.
    pub listen: Option<String>,
    /// See [`Config::database`].
    pub database: Option<String>,
    /// See [`Config::agent_key`].
    pub agent_key: Option<Key>,
    /// See [`Config::api_key`].
    pub api_key: Option<Key>,
    /// See [`Config::admin_password`].
    pub admin_password: Option<Key>,
    /// Seconds.
    pub update_interval: Option<u64>,
    /// See [`Config::self_registration`].
    pub self_registration: Option<bool>,
    /// `current` or `2022`.
    #[serde(deserialize_with = "generation::choice")]
    pub server_generation: Option<ServerGeneration>,
    /// `8`, `7` or `off`.
    #[serde(deserialize_with = "generation::choice")]
    pub php_quirks: Option<PhpQuirks>,
    /// Bytes; see [`Limits::body`].
    pub max_body: Option<usize>,
    /// Bytes; see [`Limits::agent_body`].
    pub max_agent_body: Option<usize>,
    /// Bytes; see [`Limits::body_memory`].
    pub body_memory: Option<usize>,
    /// Seconds.
    pub header_timeout: Option<u64>,
    /// Seconds.
    pub body_timeout: Option<u64>,
    /// Seconds; see [`Limits::write_timeout`].
    pub write_timeout: Option<u64>,
    /// See [`Limits::connections`].
    pub max_connections: Option<usize>,
    /// Seconds.
    pub drain_timeout: Option<u64>,
    /// See [`Config::retention`].
    pub retention: FileRetention,
    /// Whether to serve HTTPS with a certificate of an own authority.
    pub tls: bool,
    /// Names and addresses of that certificate, beside those of this machine itself.
    pub tls_names: Vec<String>,
    /// PEM file to serve HTTPS with; needs `tls-key`.
    pub tls_cert: Option<PathBuf>,
    /// PEM file.
    pub tls_key: Option<PathBuf>,
    /// See [`Config::conformance`].
    pub conformance: Option<bool>,
    /// See [`Config::strict`].
    pub strict: bool,
    /// See [`Config::fault_seed`].
    pub fault_seed: u64,
    /// See [`Config::faults`].
    pub faults: Vec<Rule>,
}

impl fmt::Debug for FileConfig {
    /// Without the password of the database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileConfig")
            .field("listen", &self.listen)
            .field("database", &self.database.as_deref().map(without_password))
            .finish_non_exhaustive()
    }
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or has a key or value that is not accepted.
    #[error("{}:{line}: {key}{reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// The key on that line and a colon, or nothing.
        key: String,
        /// What is wrong, and what is accepted.
        reason: String,
    },
}

impl FileConfig {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, FileConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileConfigError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Parses `text`, which was read from `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, FileConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..at]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            let reason = error.message().lines().collect::<Vec<_>>().join("; ");
            parse_error(path, text, line, reason)
        })?;
        let wide = |value: Option<usize>| value.map(|value| value as u64);
        for (key, value, accepted) in [
            ("update-interval", config.update_interval, 0..=MAX_SECONDS),
            ("max-body", wide(config.max_body), 1..=MAX_BYTES),
            ("max-agent-body", wide(config.max_agent_body), 1..=MAX_BYTES),
            ("body-memory", wide(config.body_memory), 1..=MAX_BYTES),
            ("header-timeout", config.header_timeout, 1..=MAX_SECONDS),
            ("body-timeout", config.body_timeout, 1..=MAX_SECONDS),
            (
                "max-connections",
                wide(config.max_connections),
                1..=MAX_CONNECTIONS,
            ),
            ("write-timeout", config.write_timeout, 1..=MAX_SECONDS),
            ("drain-timeout", config.drain_timeout, 0..=MAX_SECONDS),
        ] {
            if value.is_some_and(|value| !accepted.contains(&value)) {
                let position = text.lines().position(|line| key_of(line) == Some(key));
                let reason = format!("must be {} to {}", accepted.start(), accepted.end());
                return Err(parse_error(path, text, position.unwrap_or(0) + 1, reason));
            }
        }
        Ok(config)
    }

    /// Where the certificate comes from; an error where only one of its two files is named. `database` is beside the
    /// authority, where it is a file.
    pub fn tls(&self, database: &str) -> Result<Option<Tls>, &'static str> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(Tls::Files {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) if self.tls || !self.tls_names.is_empty() => Ok(Some(Tls::OwnAuthority {
                folder: authority_folder(database),
                names: self.tls_names.clone(),
            })),
            (None, None) => Ok(None),
            _ => Err("tls-cert and tls-key go together"),
        }
    }

    /// These settings over the defaults; `listen` and the certificate are not among them.
    pub fn into_config(self) -> Config {
        let defaults = Limits::default();
        let seconds = |value: Option<u64>, default| value.map_or(default, Duration::from_secs);
        Config {
            database: self.database.unwrap_or_else(default_database),
            agent_key: self.agent_key,
            api_key: self.api_key,
            admin_password: self.admin_password,
            update_interval: self.update_interval.map(Duration::from_secs),
            self_registration: self.self_registration,
            server_generation: self.server_generation.unwrap_or_default(),
            php_quirks: self.php_quirks.unwrap_or_default(),
            limits: Limits {
                body: self.max_body.unwrap_or(defaults.body),
                agent_body: self.max_agent_body.unwrap_or(defaults.agent_body),
                body_memory: self.body_memory.unwrap_or(defaults.body_memory),
                header_timeout: seconds(self.header_timeout, defaults.header_timeout),
                body_timeout: seconds(self.body_timeout, defaults.body_timeout),
                write_timeout: seconds(self.write_timeout, defaults.write_timeout),
                connections: self.max_connections.unwrap_or(defaults.connections),
                drain_timeout: seconds(self.drain_timeout, defaults.drain_timeout),
            },
            retention: self.retention.into(),
            conformance: self.conformance.unwrap_or(true),
            strict: self.strict,
            faults: self.faults,
            fault_seed: self.fault_seed,
            ..Config::default()
        }
    }
}

/// The folder of the database, or that of the default one where it is no file.
fn authority_folder(database: &str) -> PathBuf {
    let file =
        crate::store::url::file_of(database).or_else(|| crate::store::url::file_of(&default_database()));
    let folder = file.and_then(|file| file.parent().map(Path::to_owned));
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from("."))
}

/// `oco-mock-server/oco.db` in the user's data folder (`$XDG_DATA_HOME`, else `~/.local/share`, `%LOCALAPPDATA%` on
/// Windows); where there is none of these, `oco-mock-server.db` in the current folder.
fn default_database() -> String {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = set("XDG_DATA_HOME")
        .or_else(|| set("LOCALAPPDATA"))
        .or_else(|| set("HOME").map(|home| home.join(".local/share")));
    let path = folder.map_or_else(
        || PathBuf::from("oco-mock-server.db"),
        |folder| folder.join("oco-mock-server").join("oco.db"),
    );
    // The URL has escapes and parameters, the path has none.
    let path = path.display().to_string().replace('%', "%25").replace('?', "%3F");
    format!("sqlite:{path}")
}

fn parse_error(path: &Path, text: &str, line: usize, reason: String) -> FileConfigError {
    let key = text.lines().nth(line - 1).and_then(key_of);
    FileConfigError::Parse {
        path: path.into(),
        line,
        key: key.map(|key| format!("{key}: ")).unwrap_or_default(),
        reason,
    }
}

fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    Some(key.trim()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        FileConfig::parse(text, Path::new("mock.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_key_is_read() {
        let text = "listen = '127.0.0.1:1'\ndatabase = 'sqlite::memory:'\nagent-key = 'a'\napi-key = 'b'\n\
                    update-interval = 60\nself-registration = false\nmax-body = 1\nheader-timeout = 2\n\
                    body-timeout = 3\nmax-connections = 4\ndrain-timeout = 0\nserver-generation = 2022\nphp-quirks = 'off'\n\
                    [retention]\nevent-days = 1\nlogin-days = 2\ncontainer-days = 3\ninterval-minutes = 4\nevents-per-computer = 0\n";
        let config = FileConfig::parse(text, Path::new("mock.toml"))
            .unwrap()
            .into_config();
        assert_eq!(config.database, "sqlite::memory:");
        assert_eq!(config.update_interval, Some(Duration::from_secs(60)));
        assert_eq!(config.self_registration, Some(false));
        assert_eq!(config.server_generation, ServerGeneration::September2022);
        assert_eq!(config.php_quirks, PhpQuirks::Off);
        assert_eq!((config.limits.body, config.limits.connections), (1, 4));
        assert_eq!(config.limits.drain_timeout, Duration::ZERO);
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        let expected = Retention {
            events: days(1),
            events_per_computer: None,
            logins: days(2),
            containers: days(3),
            interval: Duration::from_secs(240),
        };
        assert_eq!(config.retention, expected);
    }

    #[test]
    fn what_is_printed_for_debugging_has_no_password_of_a_database() {
        let text = "database = 'postgres://oco:secret@host/oco'";
        let file = FileConfig::parse(text, Path::new("mock.toml")).unwrap();
        let shown = format!("{file:?} {:?}", file.clone().into_config());
        assert!(
            shown.contains("***@host/oco") && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn retention_has_bounds() {
        assert!(error("[retention]\nevent-days = 0").contains("must be 1 to 100000"));
        assert!(error("[retention]\nother = 1").contains("unknown field"));
    }

    #[test]
    fn certificates_come_of_two_files_or_of_an_authority_beside_the_database() {
        let tls = |text: &str, database: &str| {
            let config = FileConfig::parse(text, Path::new("mock.toml")).unwrap();
            config.tls(database)
        };
        assert_eq!(tls("", "sqlite::memory:"), Ok(None));
        assert!(tls("tls-cert = 'c.pem'", "sqlite::memory:").is_err());
        let files = tls("tls-cert = 'c.pem'\ntls-key = 'k.pem'", "sqlite::memory:");
        assert!(matches!(files, Ok(Some(Tls::Files { .. }))));
        for (text, names) in [
            ("tls = true", vec![]),
            ("tls-names = ['a']", vec!["a".to_owned()]),
        ] {
            let folder = PathBuf::from("/data");
            let expected = Tls::OwnAuthority { folder, names };
            assert_eq!(tls(text, "sqlite:/data/oco.db"), Ok(Some(expected)));
        }
    }

    #[test]
    fn errors_name_file_line_and_key() {
        assert!(error("listen = 'x'\nnonsense = 1").starts_with("mock.toml:2: nonsense: unknown field"));
        assert!(
            error("\n\nupdate-interval = 'soon'").starts_with("mock.toml:3: update-interval: invalid type")
        );
        assert!(error("a = = 1").starts_with("mock.toml:1: a: "));
        assert_eq!(
            error("\nmax-connections = 0"),
            "mock.toml:2: max-connections: must be 1 to 16777216"
        );
        assert!(!error("agent-key = 1\n\n").contains('\n'));
        for key in [
            "update-interval",
            "max-body",
            "max-agent-body",
            "body-memory",
            "header-timeout",
            "body-timeout",
            "write-timeout",
            "max-connections",
            "drain-timeout",
        ] {
            let error = error(&format!("{key} = 9223372036854775807"));
            assert!(
                error.starts_with(&format!("mock.toml:1: {key}: must be ")),
                "{error}"
            );
        }
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let error = FileConfig::read(Path::new("no/such/file.toml")).unwrap_err();
        assert!(error.to_string().contains("no/such/file.toml"));
    }
}
