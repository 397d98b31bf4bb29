//! What agents left behind that were killed: packages, and jobs that outlived them.

#[cfg(unix)]
use super::unix::leftovers as jobs;
#[cfg(windows)]
use super::windows::orphan as jobs;
use crate::host::{HostError, Result};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The staging folder that `folder` is in, or is. None where it is in none.
pub(super) fn staging_folder(staging_root: &Path, folder: &Path) -> Option<PathBuf> {
    let (root, folder) = (std::path::absolute(staging_root), std::path::absolute(folder));
    let (root, folder) = (root.ok()?, folder.ok()?);
    let below = folder.strip_prefix(&root).ok()?;
    match below.components().next() {
        Some(Component::Normal(name)) => Some(root.join(name)),
        _ => None,
    }
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
        self.left()
            .iter()
            .filter(|folder| jobs::is_in_use(folder))
            .count()
    }

    /// Removes those whose job does not run. What cannot be removed is left, and the log says why.
    pub(crate) fn remove_ended(&self) {
        let ended: Vec<_> = self
            .left()
            .extract_if(.., |folder| !jobs::is_in_use(folder))
            .collect();
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
            if let Err(error) = jobs::wait_for_end(&folder) {
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
    fn a_staging_folder_is_found_by_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let of = |folder: &Path| staging_folder(root.path(), folder);
        let staging = root.path().join("job");
        assert_eq!(of(&staging.join("package").join("data")), Some(staging.clone()));
        assert_eq!(of(&staging), Some(staging));
        assert_eq!(of(root.path()), None);
        assert_eq!(of(&std::env::temp_dir()), None);
        let relative = Path::new("staging").join("job");
        let found = staging_folder(Path::new("staging"), &std::path::absolute(&relative).unwrap());
        assert!(found.unwrap().ends_with(relative));
    }

    #[test]
    fn no_staging_folders_are_no_error() {
        let root = tempfile::tempdir().unwrap();
        Leftovers::default().note(&root.path().join("missing")).unwrap();
    }
}
