//! The first configuration, from the answers that an installer was given.
//!
//! They are a file as installers keep them (`/LOADINF=oco-agent-setup.inf`): `[Setup]` with `ServerName`, `AgentKey` and
//! `ServerKey`, besides what is the installer's own business.

use crate::config::{ConfigError, Document};
use crate::host::{Host, HostError, Visibility};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a new configuration looks like before there are answers.
const TEMPLATE: &str = include_str!("../../packaging/common/oco-agent.ini");

/// The section of the answers; names are compared without regard to case, as installers do.
const SECTION: &str = "Setup";

/// Answers that cannot be used. What they are is never part of it: they may be keys.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// The file cannot be read.
    #[error("the answers cannot be read")]
    Read(#[source] HostError),
    /// The file is no text.
    #[error("{}: the answers are no text in UTF-8 or UTF-16; save them so", .0.display())]
    NotText(PathBuf),
    /// An answer can stand in no configuration.
    #[error("{}: {key} has control characters in it; correct it", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// Whose answer it is.
        key: &'static str,
    },
    /// The configuration cannot be written.
    #[error("the configuration cannot be written; check free space, and run this as an administrator")]
    Write(#[source] HostError),
    /// What the answers were put into is no configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What became of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configured {
    /// There was none, and it was made.
    Made,
    /// There was one. It says what it said; only administrators and the system can read it now.
    Kept,
}

/// Makes the configuration `path` from the answers in a file, or without any. One that is there keeps its content,
/// whatever the answers are: an upgrade asks nothing.
pub fn configure(host: &dyn Host, path: &Path, answers: Option<&Path>) -> Result<Configured, AnswersError> {
    match host.read_file(path).map(Zeroizing::new) {
        Ok(content) => {
            // Of an agent of before version 2 it may be readable for everybody.
            let kept = host.write_file(path, &content, Visibility::Private);
            return kept.map(|()| Configured::Kept).map_err(AnswersError::Write);
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(ConfigError::Read(error).into()),
    }
    let answers = match answers {
        Some(file) => Answers::read(host, file)?,
        None => Answers::default(),
    };
    let config = answers.config(path)?;
    let made = host.write_file(path, config.as_bytes(), Visibility::Private);
    made.map(|()| Configured::Made).map_err(AnswersError::Write)
}

/// What was answered; empty where nothing was.
#[derive(Default)]
struct Answers {
    server_name: Zeroizing<String>,
    agent_key: Zeroizing<String>,
    server_key: Zeroizing<String>,
}

impl Answers {
    fn read(host: &dyn Host, file: &Path) -> Result<Self, AnswersError> {
        let content = Zeroizing::new(host.read_file(file).map_err(AnswersError::Read)?);
        let text = decode(&content).ok_or_else(|| AnswersError::NotText(file.to_owned()))?;
        let answer = |key: &'static str| match value(&text, key) {
            value if value.contains(char::is_control) => Err(AnswersError::Control {
                path: file.to_owned(),
                key,
            }),
            value => Ok(Zeroizing::new(value.to_owned())),
        };
        Ok(Self {
            server_name: answer("ServerName")?,
            agent_key: answer("AgentKey")?,
            server_key: answer("ServerKey")?,
        })
    }

    /// The configuration with these values, with the line ends of Windows.
    fn config(&self, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
        let mut text = Zeroizing::new(TEMPLATE.replace("\r\n", "\n").replace('\n', "\r\n"));
        let url = Zeroizing::new(url(&self.server_name));
        for (section, key, value) in [
            ("server", "api-url", &url),
            ("agent", "agent-key", &self.agent_key),
            ("server", "server-key", &self.server_key),
        ] {
            if !value.is_empty() {
                let document = Document::parse(&text).map_err(|error| ConfigError::Line {
                    path: path.to_owned(),
                    line: error.line,
                    reason: error.reason,
                })?;
                text = document.with_value(section, key, value);
            }
        }
        Ok(text)
    }
}

/// A name becomes the address of its agent API; a whole address stays.
fn url(name: &str) -> String {
    let is_address = ["http://", "https://"].iter().any(|scheme| {
        name.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    if name.is_empty() || is_address {
        name.to_owned()
    } else {
        format!("https://{name}/api-agent.php")
    }
}

/// The text in the encodings that editors of Windows and installers write, without its mark.
fn decode(content: &[u8]) -> Option<Zeroizing<String>> {
    let text = match content {
        [0xff, 0xfe, text @ ..] => wide(text, u16::from_le_bytes)?,
        [0xfe, 0xff, text @ ..] => wide(text, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, text @ ..] | text => std::str::from_utf8(text).ok()?.to_owned(),
    };
    Some(Zeroizing::new(text))
}

fn wide(text: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = text.as_chunks::<2>();
    let units = Zeroizing::new(units.iter().map(|bytes| unit(*bytes)).collect::<Vec<_>>());
    rest.is_empty().then(|| String::from_utf16(&units).ok())?
}

/// The value of a key as the functions of Windows for such files find it: the first one in the first section of the name,
/// without the quotes around it. Other lines may be anything.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut lines = text.lines().map(str::trim);
    let begins = |line: &str| section(line).is_some_and(|name| name.eq_ignore_ascii_case(SECTION));
    if !lines.any(begins) {
        return "";
    }
    let value = lines
        .take_while(|line| section(line).is_none())
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case(key))
        .map_or("", |(_, value)| value.trim());
    let unquoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    unquoted('"').or_else(|| unquoted('\'')).unwrap_or(value)
}

/// The name of the section that a line begins.
fn section(line: &str) -> Option<&str> {
    Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::host::Os;
    use crate::host::system::SystemHost;
    use oco_protocol::Key;
    use proptest::prelude::*;

    const ANSWERS: &str = "[Setup]\r\nLang=german\r\nDir=C:\\Program Files\\OCO Agent\r\nServerName=oco.example.org\r\n\
        agentkey = \"registration; key # 1=x\"\r\nServerKey=\r\n[Other]\r\nServerKey=not this\r\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn configure(&self, answers: Option<&[u8]>) -> Result<Configured, AnswersError> {
            let file = self.0.path().join("setup.inf");
            if let Some(answers) = answers {
                std::fs::write(&file, answers).unwrap();
            }
            let host = SystemHost::new(self.0.path());
            configure(&host, &self.config(), answers.map(|_| file.as_path()))
        }

        fn config(&self) -> PathBuf {
            self.0.path().join("oco-agent.ini")
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.config()).unwrap()
        }

        fn is_private(&self) -> bool {
            let access = SystemHost::new(self.0.path()).access(&self.config()).unwrap();
            !access.others_read && !access.others_write
        }
    }

    fn read(text: &str) -> Config {
        let document = Document::parse(text).unwrap();
        Config::from_document(&document, Os::Windows, Path::new("oco-agent.ini")).unwrap()
    }

    #[test]
    fn answers_become_a_private_configuration() {
        let folder = Folder::new();
        assert_eq!(
            folder.configure(Some(ANSWERS.as_bytes())).unwrap(),
            Configured::Made
        );
        let config = read(&folder.text());
        assert_eq!(
            config.api_url.as_deref(),
            Some("https://oco.example.org/api-agent.php")
        );
        assert_eq!(config.agent_key, Key::new("registration; key # 1=x"));
        assert!(config.server_key.is_empty());
        assert!(folder.is_private());
    }

    #[test]
    fn without_answers_the_server_is_to_be_found_by_dns() {
        let folder = Folder::new();
        folder.configure(None).unwrap();
        let config = read(&folder.text());
        assert_eq!(config.api_url, None);
        assert!(config.agent_key.is_empty());
    }

    #[test]
    fn a_configuration_that_is_there_keeps_its_content_and_becomes_private() {
        let folder = Folder::new();
        let before = "; mine\n[agent]\nagent-key = own\n[server]\napi-url = https://x/api-agent.php\n";
        std::fs::write(folder.config(), before).unwrap();
        assert_eq!(
            folder.configure(Some(ANSWERS.as_bytes())).unwrap(),
            Configured::Kept
        );
        assert_eq!(folder.text(), before);
        assert!(folder.is_private());
    }

    #[test]
    fn every_encoding_of_an_editor_is_read() {
        let wide = |unit: fn(u16) -> [u8; 2], mark: [u8; 2]| {
            let mut bytes = mark.to_vec();
            bytes.extend(ANSWERS.encode_utf16().flat_map(unit));
            bytes
        };
        let marked = ["\u{feff}", ANSWERS].concat().into_bytes();
        for bytes in [
            wide(u16::to_le_bytes, [0xff, 0xfe]),
            wide(u16::to_be_bytes, [0xfe, 0xff]),
            marked,
        ] {
            let folder = Folder::new();
            folder.configure(Some(&bytes)).unwrap();
            assert!(folder.text().contains("https://oco.example.org/api-agent.php"));
        }
    }

    #[test]
    fn what_can_stand_in_no_configuration_is_refused_without_showing_it() {
        for (answers, expected) in [
            (
                &b"[Setup]\nAgentKey=secret\x07\n"[..],
                "AgentKey has control characters",
            ),
            (b"[Setup]\nAgentKey=secret\xff\n", "no text"),
            (b"\xff\xfe[", "no text"),
        ] {
            let folder = Folder::new();
            let error = folder.configure(Some(answers)).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
            assert!(!folder.config().exists());
        }
        let folder = Folder::new();
        let host = SystemHost::new(folder.0.path());
        let missing = configure(&host, &folder.config(), Some(Path::new("missing.inf"))).unwrap_err();
        assert!(matches!(missing, AnswersError::Read(_)), "{missing}");
    }

    #[test]
    fn a_name_becomes_an_address_and_an_address_stays() {
        assert_eq!(
            url("oco.example.org:8443"),
            "https://oco.example.org:8443/api-agent.php"
        );
        for address in ["", "http://[::1]:8080/api-agent.php", "HTTPS://x/api-agent.php"] {
            assert_eq!(url(address), address);
        }
    }

    proptest! {
        #[test]
        fn no_answers_panic(text in "(\\[|\\]|Setup|AgentKey|=|\"|\r?\n|\\PC)*") {
            let _ = value(&text, "AgentKey");
        }

        #[test]
        fn every_key_arrives(key in "[!-~]([ -~]{0,30}[!-~])?") {
            prop_assume!(!key.starts_with(['"', '\'']));
            let folder = Folder::new();
            folder.configure(Some(format!("[Setup]\nAgentKey={key}\n").as_bytes())).unwrap();
            prop_assert_eq!(read(&folder.text()).agent_key, Key::new(key));
        }
    }
}
