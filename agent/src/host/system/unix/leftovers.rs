//! What agents left behind that were killed: packages, and jobs that outlived them.
//!
//! A job's [keeper](super::keeper) has the job's staging folder locked as long as the job runs, so a staging folder that
//! nobody has locked is of no use to anybody.

use crate::host::{HostError, Result};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the staging folder that `folder` is in, or is, for as long as the file is open. None where it is in none.
pub(crate) fn lock(staging_root: &Path, folder: &Path) -> io::Result<Option<File>> {
    let first = |below: &Path| match below.components().next() {
        Some(Component::Normal(name)) => Some(staging_root.join(name)),
        _ => None,
    };
    let Some(staging) = folder.strip_prefix(staging_root).ok().and_then(first) else {
        return Ok(None);
    };
    let file = File::open(staging)?;
    file.try_lock()?;
    Ok(Some(file))
}

/// The staging folders of earlier agents.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<Vec<PathBuf>>);

impl Leftovers {
    /// Takes note of what there is, before this agent stages anything itself.
    pub(crate) fn note(&self, staging_root: &Path) -> Result<()> {
        let found = || -> io::Result<Vec<PathBuf>> {
            std::fs::read_dir(staging_root)?
                .map(|entry| Ok(entry?.path()))
                .collect()
        };
        match found() {
            Ok(found) => {
                *self.left() = found;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(HostError::new("list", staging_root.display(), error)),
        }
    }

    /// How many of them have a job that still runs.
    pub(crate) fn running(&self) -> usize {
        self.left().iter().filter(|folder| is_in_use(folder)).count()
    }

    /// Removes those whose job does not run. What cannot be removed is left, and the log says why.
    pub(crate) fn remove_ended(&self) {
        let ended: Vec<_> = self.left().extract_if(.., |folder| !is_in_use(folder)).collect();
        for folder in ended {
            remove(&folder);
        }
    }

    /// Removes all of them, those whose job still runs as soon as it has ended.
    pub(crate) fn remove_all(&self) {
        self.remove_ended();
        let running = self.left().clone();
        for folder in running {
            tracing::warn!(
                staging.folder = %folder.display(),
                "a job of an earlier agent still runs: no other job is started until it has ended"
            );
            // Returns once the keeper has ended.
            if let Ok(file) = File::open(&folder)
                && let Err(error) = file.lock_shared()
            {
                tracing::warn!(staging.folder = %folder.display(), %error, "cannot wait for a job of an earlier agent");
                continue;
            }
            tracing::info!(staging.folder = %folder.display(), "the job of an earlier agent has ended");
            self.left().retain(|left| *left != folder);
            remove(&folder);
        }
    }

    fn left(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a keeper has it locked. What cannot be opened is not in use: a keeper has it open itself.
fn is_in_use(folder: &Path) -> bool {
    // Shared, so that those who only look are not in each other's way.
    File::open(folder).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn remove(path: &Path) {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a package of an earlier start is left behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_stays_until_it_is_not_and_all_else_goes() {
        let root = tempfile::tempdir().unwrap();
        for name in ["running", "ended"] {
            std::fs::create_dir_all(root.path().join(name).join("package/data")).unwrap();
        }
        std::fs::write(root.path().join("stray"), "").unwrap();
        let names = || crate::host::system::unix::files::list(root.path()).unwrap();
        let running = lock(root.path(), &root.path().join("running/package")).unwrap();
        assert!(running.is_some());
        assert!(
            lock(root.path(), &root.path().join("running/package")).is_err(),
            "nobody else gets it"
        );
        let leftovers = Leftovers::default();
        leftovers.note(root.path()).unwrap();
        std::fs::create_dir(root.path().join("new")).unwrap();
        assert_eq!(leftovers.running(), 1);
        leftovers.remove_ended();
        assert_eq!(names(), ["new", "running"]);
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| leftovers.remove_all());
            assert_eq!(leftovers.running(), 1);
            assert!(!waiting.is_finished());
            drop(running);
        });
        assert_eq!((names(), leftovers.running()), (vec!["new".to_owned()], 0));
    }

    #[test]
    fn a_folder_elsewhere_is_not_locked_and_no_leftovers_are_no_error() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        assert!(lock(&missing, root.path()).unwrap().is_none());
        assert!(lock(root.path(), root.path()).unwrap().is_none());
        Leftovers::default().note(&missing).unwrap();
    }
}
