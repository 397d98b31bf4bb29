//! The lock that keeps a second agent from running on the same computer: a lock of the operating system, which ends
//! with its process, on a file that holds the process id for people to read.

use crate::host::system;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Held for as long as the value lives.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File); // the open file is the lock

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another agent is running already: {} is locked by process {holder}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Its process id, as it says.
        holder: String,
    },
    /// The agent that this one replaces runs, by its own lock.
    #[error("another agent is running already: process {pid}, by its lock {}; stop and remove it first", path.display())]
    OtherAgent {
        /// Its lock file.
        path: PathBuf,
        /// Its process id.
        pid: u32,
    },
    /// The file cannot be used.
    #[error("cannot lock {}; run the agent as root (Windows: as an administrator), or with --config in a folder that only it can write to", path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock or says who has it. Folders on the way are created.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = system::open_lock_file(path).map_err(failed)?;
        match system::try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    holder: holder(&file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self(file))
    }
}

/// Who holds a lock, without waiting for it: the process id that its file names, or none where it is free. Nothing is
/// created or changed.
pub fn holder_of(path: &Path) -> Result<Option<String>, LockError> {
    let failed = |source| LockError::File {
        path: path.to_owned(),
        source,
    };
    let Some(file) = system::existing_lock_file(path).map_err(failed)? else {
        return Ok(None);
    };
    match system::try_lock_shared(&file) {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&file))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The process id in a lock file, as it says.
fn holder(file: &File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    let text = text.trim();
    if read.is_err() || text.is_empty() {
        return "unknown".to_owned();
    }
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_holder_and_possible_after_release() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/oco-agent.lock");
        assert_eq!(holder_of(&path).unwrap(), None);
        let lock = Lock::acquire(&path).unwrap();
        assert_eq!(holder_of(&path).unwrap(), Some(std::process::id().to_string()));
        let message = Lock::acquire(&path).unwrap_err().to_string();
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        drop(lock);
        assert_eq!(holder_of(&path).unwrap(), None);
        Lock::acquire(&path).unwrap();
    }

    #[test]
    fn an_unusable_path_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = Lock::acquire(&file.join("x")).unwrap_err().to_string();
        assert!(message.contains("cannot lock"), "{message}");
    }
}
