//! A fleet that outlives its run (`--state FILE`): the keys, timestamps and files of every agent, so that the next run
//! goes on with the computers that the server knows.
//!
//! A text file of JSON lines: a header, then one [`AgentRecord`] for each agent, in the order of their indices (null for
//! one whose state was lost with its task). It holds keys, so only its owner can read it, and it is replaced as a whole.

use crate::fleet::Fleet;
use crate::scenario::{Fleet as FleetSettings, OsMix};
use crate::simulated_host::{AgentRecord, VirtualState};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// The format that this version writes and reads.
const FORMAT: u32 = 1;
/// Longest line, bytes: an agent's policies and journal included.
const MAX_LINE: u64 = 16 << 20;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be read or written.
    #[error("cannot {operation} state file {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It says something that this program has not written.
    #[error("state file {}, line {line}: {reason}; name a file that --state has written", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// It is another fleet's.
    #[error(
        "state file {} belongs to another fleet ({what}: {stored} there, {wanted} here); run the scenario with the same \
         fleet, or name a new file", path.display()
    )]
    OtherFleet {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is in the file.
        stored: String,
        /// What it is in the scenario.
        wanted: String,
    },
}

/// Whose states these are: what makes an agent the same computer in the next run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    seed: u64,
    agents: u32,
    shard: String,
    /// Weights of Linux, macOS and Windows.
    os: [u32; 3],
}

impl Header {
    fn of(fleet: &FleetSettings) -> Self {
        let OsMix {
            linux,
            macos,
            windows,
        } = fleet.os;
        Self {
            format: FORMAT,
            seed: fleet.seed,
            agents: fleet.size.0,
            shard: fleet.shard.to_string(),
            os: [linux, macos, windows],
        }
    }

    /// What differs so that agents would be other computers, or get lost: its name, stored and wanted value. A fleet may
    /// grow.
    fn difference(&self, wanted: &Self) -> Option<(&'static str, String, String)> {
        let pair = |stored: &dyn ToString, wanted: &dyn ToString| (stored.to_string(), wanted.to_string());
        let (what, (stored, wanted)) = if self.seed != wanted.seed {
            ("seed", pair(&self.seed, &wanted.seed))
        } else if self.shard != wanted.shard {
            ("shard", pair(&self.shard, &wanted.shard))
        } else if self.os != wanted.os {
            let text = |os: [u32; 3]| format!("linux {}, macos {}, windows {}", os[0], os[1], os[2]);
            ("systems", (text(self.os), text(wanted.os)))
        } else if self.agents > wanted.agents {
            ("agents", pair(&self.agents, &wanted.agents))
        } else {
            return None;
        };
        Some((what, stored, wanted))
    }
}

/// The state file of a run.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// Makes sure that the file will be writable after the run, without touching it.
    pub fn prepare(path: &Path) -> Result<Self, StateFileError> {
        let file = Self {
            path: path.to_owned(),
        };
        if path.is_dir() {
            return Err(file.failed("write")(io::ErrorKind::IsADirectory.into()));
        }
        file.temporary()?;
        Ok(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The fleet of an earlier run. Agents that the file does not have, or all where there is no file yet, are as
    /// `installed` makes them; the others take their settings from there.
    pub fn load(
        &self,
        fleet: &FleetSettings,
        installed: impl Fn(u32) -> VirtualState,
    ) -> Result<Fleet, StateFileError> {
        let (shard, size) = (fleet.shard, fleet.size.0);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Fleet::new(shard, size, installed));
            }
            Err(error) => return Err(self.failed("read")(error)),
        };
        let mut lines = Lines {
            file: self,
            reader: BufReader::new(file),
            number: 0,
            text: Vec::new(),
        };
        let mut left = self.known(fleet, &mut lines)?;
        let mut failure = None;
        let loaded = Fleet::new(shard, size, |agent| {
            let mut state = installed(agent);
            if left > 0 && failure.is_none() {
                left -= 1;
                match self.state(&mut lines, &state) {
                    Ok(Some(known)) => state = known,
                    Ok(None) => {}
                    Err(error) => failure = Some(error),
                }
            }
            state
        });
        failure.map_or(Ok(loaded), Err)
    }

    /// How many agents the file announces for this shard of this fleet.
    fn known(&self, fleet: &FleetSettings, lines: &mut Lines<'_>) -> Result<u32, StateFileError> {
        let header: Header = lines
            .next()?
            .ok_or_else(|| self.wrong(1, "the file is empty".into()))?;
        if header.format != FORMAT {
            let reason = format!(
                "format {} is not {FORMAT}, the one of this version",
                header.format
            );
            return Err(self.wrong(1, reason));
        }
        if let Some((what, stored, wanted)) = header.difference(&Header::of(fleet)) {
            return Err(StateFileError::OtherFleet {
                path: self.path.clone(),
                what,
                stored,
                wanted,
            });
        }
        Ok(fleet.shard.size(header.agents))
    }

    /// The state of the next agent; none if it was lost.
    fn state(
        &self,
        lines: &mut Lines<'_>,
        installed: &VirtualState,
    ) -> Result<Option<VirtualState>, StateFileError> {
        let record: Option<AgentRecord> = lines
            .next()?
            .ok_or_else(|| self.wrong(lines.number, "an agent that is announced is missing".into()))?;
        let state = record.map(|record| record.into_state(installed.settings()));
        state.transpose().map_err(|path| {
            let reason = format!("the content of {} is no base64", path.display());
            self.wrong(lines.number, reason)
        })
    }

    /// Replaces the file: at every moment it holds the old content or the new one.
    pub fn save(&self, settings: &FleetSettings, fleet: &Fleet) -> Result<(), StateFileError> {
        let mut temporary = self.temporary()?;
        let mut writer = BufWriter::new(temporary.as_file_mut());
        let written = (|| {
            line(&mut writer, &Header::of(settings))?;
            for state in fleet.states() {
                line(&mut writer, &state.map(AgentRecord::of))?;
            }
            writer.flush()
        })();
        drop(writer);
        written
            .and_then(|()| temporary.as_file().sync_all())
            .map_err(self.failed("write"))?;
        temporary
            .persist(&self.path)
            .map(drop)
            .map_err(|error| self.failed("write")(error.error))
    }

    /// A temporary file beside it, readable for its owner only.
    fn temporary(&self) -> Result<tempfile::NamedTempFile, StateFileError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        tempfile::Builder::new()
            .prefix(".oco-simulator-")
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(self.failed("write"))
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> StateFileError + use<> {
        let path = self.path.clone();
        move |source| StateFileError::File {
            operation,
            path,
            source,
        }
    }

    fn wrong(&self, line: u64, reason: String) -> StateFileError {
        StateFileError::Content {
            path: self.path.clone(),
            line,
            reason,
        }
    }
}

/// The lines of a file, each a JSON value.
struct Lines<'a> {
    file: &'a StateFile,
    reader: BufReader<File>,
    number: u64,
    text: Vec<u8>,
}

impl Lines<'_> {
    fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, StateFileError> {
        self.text.clear();
        self.number += 1;
        let mut limited = (&mut self.reader).take(MAX_LINE);
        let length = limited.read_until(b'\n', &mut self.text);
        if length.map_err(self.file.failed("read"))? == 0 {
            return Ok(None);
        }
        let value = serde_json::from_slice(&self.text);
        value.map(Some).map_err(|error| {
            // The place only: the line may hold keys.
            let reason = format!("this is no JSON of the expected form (column {})", error.column());
            self.file.wrong(self.number, reason)
        })
    }
}

fn line(writer: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::FleetSize;
    use crate::shard::Shard;
    use crate::simulated_host::SharedSettings;
    use oco_protocol::Timestamp;
    use std::sync::Arc;

    fn shared() -> Arc<SharedSettings> {
        Arc::new(SharedSettings::default())
    }

    fn settings(size: u32) -> FleetSettings {
        FleetSettings {
            size: FleetSize(size),
            ..FleetSettings::default()
        }
    }

    fn installed(agent: u32) -> VirtualState {
        VirtualState::installed(shared(), &format!("registration-key-{agent}"))
    }

    fn states(fleet: &Fleet) -> Vec<VirtualState> {
        fleet.states().flatten().cloned().collect()
    }

    fn state(agent: u32) -> VirtualState {
        let time = Timestamp::from_micros(1_795_329_639_000_000 + u64::from(agent));
        VirtualState::registered(shared(), &format!("agent-key-{agent}"), "server-key", Some(time))
    }

    #[test]
    fn a_fleet_goes_on_where_it_ended_and_may_grow() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::prepare(&folder.path().join("fleet.state")).unwrap();
        assert_eq!(
            states(&file.load(&settings(2), installed).unwrap()),
            [installed(0), installed(1)]
        );
        let mut ended = Fleet::new(Shard::WHOLE, 3, state);
        ended.due(1, tokio::time::Instant::now(), false);
        file.save(&settings(3), &ended).unwrap();
        let grown = file.load(&settings(5), installed).unwrap();
        assert_eq!(
            states(&grown),
            [state(0), installed(1), state(2), installed(3), installed(4)]
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::prepare(&folder.path().join("fleet.state")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        file.save(&settings(1), &Fleet::new(Shard::WHOLE, 1, state))
            .unwrap();
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_fleet_is_refused_with_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::prepare(&folder.path().join("fleet.state")).unwrap();
        file.save(&settings(3), &Fleet::new(Shard::WHOLE, 3, state))
            .unwrap();
        let other_seed = FleetSettings {
            seed: 9,
            ..settings(3)
        };
        let other_shard = FleetSettings {
            shard: "0/2".parse().unwrap(),
            ..settings(3)
        };
        let mut other_os = settings(3);
        other_os.os.linux += 1;
        for (other, what) in [
            (other_seed, "seed: 1 there, 9 here"),
            (other_shard, "shard: 0/1 there, 0/2 here"),
            (other_os, "systems: "),
            (settings(2), "agents: 3 there, 2 here"),
        ] {
            let error = file.load(&other, installed).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn damage_is_named_by_its_line_and_without_the_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::prepare(&folder.path().join("fleet.state")).unwrap();
        file.save(&settings(3), &Fleet::new(Shard::WHOLE, 3, state))
            .unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let cut = text.len() - 5;
        for (damaged, what) in [
            (String::new(), "line 1: the file is empty"),
            (text.replace("\"format\":1", "\"format\":7"), "line 1: format 7"),
            (text[..cut].to_owned(), "line 4: "),
            (
                text.lines().take(3).collect::<Vec<_>>().join("\n"),
                "line 4: an agent that is announced is missing",
            ),
            (text.replace("agent-key-1\"", "agent-key-1"), "line 3: "),
        ] {
            std::fs::write(file.path(), damaged).unwrap();
            let error = file.load(&settings(3), installed).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert!(!error.contains("agent-key-"), "{error}");
        }
    }
}
