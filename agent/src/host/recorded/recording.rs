//! A recording: what a machine answers, as data and as a folder of files.
//!
//! ```text
//! host.json       os, hostname, kernel, uptime_s, now (RFC 3339), interfaces, spaces (mount point -> used, available),
//!                 unreadable (paths of files that exist but may not be read)
//! files/          contents of files: files/etc/passwd is /etc/passwd, files/C/x is C:\x
//! texts.json      contents of files, too: path -> text, for names with a colon, which not every system can have, and for
//!                 the many small files of /sys
//! links.json      path of a symbolic link -> its target
//! commands.json   command line -> {code, stdout} or {code, stdout_file}, a path in the folder; code null: a signal
//! registry.json   hive (HKLM, HKU) -> view (native, wow32) -> path -> name -> value, such as {"sz": "text"}
//! wmi.json        namespace -> class -> rows
//! events.json     Windows log -> events as XML, newest first
//! ```
//!
//! All but `host.json` may be missing. Command lines are matched as a whole. Conditions of a WMI query are not
//! evaluated, nor those of an event query, so rows and events that a condition excludes stay out of the recording.

use crate::host::{Hive, Interface, Kernel, Os, RegistryValue, RegistryView, Space, WmiRow};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Registry values by hive, view, path and name.
pub type Registry = BTreeMap<Hive, BTreeMap<RegistryView, BTreeMap<String, BTreeMap<String, RegistryValue>>>>;

/// What a machine answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// What has no artefact of its own.
    pub machine: Machine,
    /// Contents of files by absolute path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Targets of symbolic links by absolute path.
    pub links: BTreeMap<String, String>,
    /// What commands answer, by command line.
    pub commands: BTreeMap<String, RecordedCommand>,
    /// The Windows registry.
    pub registry: Registry,
    /// WMI: namespace -> class -> rows.
    pub wmi: BTreeMap<String, BTreeMap<String, Vec<WmiRow>>>,
    /// Windows' logs: channel -> events as XML, newest first.
    pub events: BTreeMap<String, Vec<String>>,
}

/// What has no artefact of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Family of systems.
    pub os: Os,
    /// The kernel's host name.
    pub hostname: String,
    /// What `uname` says.
    pub kernel: Kernel,
    /// Time since the last start, seconds.
    pub uptime_s: f64,
    /// The clock: RFC 3339, UTC.
    pub now: String,
    /// Network interfaces.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Space by mount point.
    #[serde(default)]
    pub spaces: BTreeMap<String, Space>,
    /// Files that exist but may not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// What a command answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCommand {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
}

/// A recording cannot be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file cannot be read.
    #[error("cannot read {} of a recorded machine", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file cannot be written.
    #[error("cannot write {} of a recorded machine", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// A file is not what it should be.
    #[error("{} of a recorded machine is malformed", .0.display())]
    Json(PathBuf, #[source] serde_json::Error),
    /// The clock makes no sense.
    #[error("{}: `now` is no moment such as 2026-11-21T08:15:00Z", .0.display())]
    Now(PathBuf, #[source] jiff::Error),
}

/// A command's answer in `commands.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandEntry {
    code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout_file: Option<String>,
}

impl Machine {
    /// The clock; the year 1970 if [`Machine::now`] makes no sense, which loading has checked.
    pub(super) fn now(&self) -> SystemTime {
        self.now
            .parse::<Timestamp>()
            .map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
    }
}

impl Recording {
    /// A machine without any artefact.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            commands: BTreeMap::new(),
            registry: Registry::new(),
            wmi: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    /// Reads a recording from a folder.
    pub fn load(folder: &Path) -> Result<Self, RecordingError> {
        let path = folder.join("host.json");
        let machine: Machine = from_json(&path, &read(&path)?)?;
        machine
            .now
            .parse::<Timestamp>()
            .map_err(|error| RecordingError::Now(path, error))?;
        let mut files = BTreeMap::new();
        let root = folder.join("files");
        if root.is_dir() {
            load_files(&root, "", &mut files)?;
        }
        let texts: BTreeMap<String, String> = optional_json(&folder.join("texts.json"))?;
        files.extend(texts.into_iter().map(|(path, text)| (path, text.into_bytes())));
        let entries: BTreeMap<String, CommandEntry> = optional_json(&folder.join("commands.json"))?;
        let commands = entries
            .into_iter()
            .map(|(line, entry)| Ok((line, entry.load(folder)?)));
        Ok(Self {
            machine,
            files,
            links: optional_json(&folder.join("links.json"))?,
            commands: commands.collect::<Result<_, _>>()?,
            registry: optional_json(&folder.join("registry.json"))?,
            wmi: optional_json(&folder.join("wmi.json"))?,
            events: optional_json(&folder.join("events.json"))?,
        })
    }

    /// Writes a recording to a folder, which is created. What loading it gives is equal to this.
    pub fn save(&self, folder: &Path) -> Result<(), RecordingError> {
        save_json(&folder.join("host.json"), &self.machine)?;
        let mut texts = BTreeMap::new();
        for (path, content) in &self.files {
            match std::str::from_utf8(content) {
                Ok(text) if path.contains(':') => drop(texts.insert(path, text)),
                _ => write(&folder.join("files").join(path.trim_start_matches('/')), content)?,
            }
        }
        save_unless_empty(&folder.join("texts.json"), &texts, texts.is_empty())?;
        let mut entries = BTreeMap::new();
        for (number, (line, command)) in self.commands.iter().enumerate() {
            entries.insert(line, CommandEntry::save(folder, number, command)?);
        }
        save_unless_empty(&folder.join("commands.json"), &entries, entries.is_empty())?;
        save_unless_empty(&folder.join("links.json"), &self.links, self.links.is_empty())?;
        save_unless_empty(
            &folder.join("registry.json"),
            &self.registry,
            self.registry.is_empty(),
        )?;
        save_unless_empty(&folder.join("wmi.json"), &self.wmi, self.wmi.is_empty())?;
        save_unless_empty(&folder.join("events.json"), &self.events, self.events.is_empty())
    }
}

impl CommandEntry {
    fn load(self, folder: &Path) -> Result<RecordedCommand, RecordingError> {
        let stdout = match self.stdout_file {
            Some(file) => read(&folder.join(file))?,
            None => self.stdout.unwrap_or_default().into_bytes(),
        };
        Ok(RecordedCommand {
            code: self.code,
            stdout,
        })
    }

    /// Output that is no text goes to a file of its own.
    fn save(folder: &Path, number: usize, command: &RecordedCommand) -> Result<Self, RecordingError> {
        let code = command.code;
        if let Ok(text) = String::from_utf8(command.stdout.clone()) {
            return Ok(Self {
                code,
                stdout: Some(text),
                stdout_file: None,
            });
        }
        let file = format!("commands/{number}");
        write(&folder.join(&file), &command.stdout)?;
        Ok(Self {
            code,
            stdout: None,
            stdout_file: Some(file),
        })
    }
}

/// How a path is called in a recording: always with slashes, `C:\x` as `/C/x`.
pub fn key(os: Os, path: &Path) -> String {
    let path = path.to_string_lossy();
    if os != Os::Windows {
        // This program may run on Windows and have joined the path's parts as there. Devices' names, which no agent joins to
        // anything, have backslashes of their own (`\x20`).
        return if path.starts_with("/dev/") {
            path.into_owned()
        } else {
            path.replace(std::path::MAIN_SEPARATOR, "/")
        };
    }
    let slashes = path.replace('\\', "/");
    match slashes.split_once(':') {
        Some((drive, rest)) => format!("/{drive}/{}", rest.trim_start_matches('/')),
        None => slashes,
    }
}

fn load_files(
    folder: &Path,
    path: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), RecordingError> {
    let unreadable = |error| RecordingError::Read(folder.to_owned(), error);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            load_files(&entry.path(), &path, files)?;
        } else {
            files.insert(path, read(&entry.path())?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, RecordingError> {
    fs::read(path).map_err(|error| RecordingError::Read(path.to_owned(), error))
}

fn from_json<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, RecordingError> {
    serde_json::from_slice(content).map_err(|error| RecordingError::Json(path.to_owned(), error))
}

fn optional_json<T: DeserializeOwned + Default>(path: &Path) -> Result<T, RecordingError> {
    if path.exists() {
        from_json(path, &read(path)?)
    } else {
        Ok(T::default())
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), RecordingError> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content));
    written.map_err(|error| RecordingError::Write(path.to_owned(), error))
}

fn save_json(path: &Path, value: &impl Serialize) -> Result<(), RecordingError> {
    let mut json =
        serde_json::to_vec_pretty(value).map_err(|error| RecordingError::Json(path.to_owned(), error))?;
    json.push(b'\n');
    write(path, &json)
}

fn save_unless_empty(path: &Path, value: &impl Serialize, empty: bool) -> Result<(), RecordingError> {
    if empty { Ok(()) } else { save_json(path, value) }
}
