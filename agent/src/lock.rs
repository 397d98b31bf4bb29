//! The lock that keeps a second agent from running on the same computer: a lock of the operating system, which ends
//! with its process, on a file that holds the process id for people to read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
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
    #[error("cannot lock {}; run the agent as root, or give it a folder of its own with --config", path.display())]
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
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(path).unwrap_or_default();
                let holder = holder.trim().chars().take(20).collect::<String>();
                return Err(LockError::Held {
                    path: path.to_owned(),
                    holder,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_holder_and_possible_after_release() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/oco-agent.lock");
        let lock = Lock::acquire(&path).unwrap();
        let message = Lock::acquire(&path).unwrap_err().to_string();
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        drop(lock);
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
