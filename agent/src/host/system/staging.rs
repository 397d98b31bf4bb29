//! A private folder for one package.

#[cfg(unix)]
use super::unix::private;
#[cfg(windows)]
use super::windows::private;
use crate::host::{HostError, ReadSeek, Result, Staging};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

/// A folder that only the agent's user can enter (on Windows administrators and the system), with the archive and, beside
/// it, what was in it.
#[derive(Debug)]
pub(crate) struct SystemStaging {
    /// There until it is dropped.
    root: Option<TempDir>,
    archive: PathBuf,
    folder: PathBuf,
}

impl SystemStaging {
    pub(crate) fn create(staging_root: &Path) -> Result<Self> {
        Self::try_create(staging_root)
            .map_err(|error| HostError::new("create a staging folder in", staging_root.display(), error))
    }

    fn try_create(staging_root: &Path) -> io::Result<Self> {
        // Programs are started with the folder in their command lines: a relative one would be looked for elsewhere.
        let staging_root = std::path::absolute(staging_root)?;
        private::create_root(&staging_root)?;
        let root = private::unnamed_folder()
            .prefix("oco-job-")
            .rand_bytes(16)
            .tempdir_in(staging_root)?;
        let archive = root.path().join("archive");
        let folder = root.path().join("package");
        private::create_folders(&folder)?;
        Ok(Self {
            root: Some(root),
            archive,
            folder,
        })
    }

    /// The absolute path of something in the package. The caller has checked it; a mistake there must still not write
    /// outside of the folder, nor to what is no file.
    fn resolve(&self, operation: &'static str, relative: &Path) -> Result<PathBuf> {
        let is_sound =
            |part: Component<'_>| matches!(part, Component::Normal(name) if !private::is_special(name));
        let mut components = relative.components().peekable();
        if components.peek().is_none() || !components.all(is_sound) {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "not a path below the staging folder");
            return Err(HostError::new(operation, relative.display(), reason));
        }
        Ok(self.folder.join(relative))
    }
}

impl Staging for SystemStaging {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_archive(&mut self) -> Result<Box<dyn Write + Send>> {
        let file = private::file(false)
            .create(true)
            .truncate(true)
            .open(&self.archive);
        let file = file.map_err(|error| HostError::new("create", self.archive.display(), error))?;
        Ok(Box::new(file))
    }

    fn read_archive(&mut self) -> Result<Box<dyn ReadSeek>> {
        let file = File::open(&self.archive);
        Ok(Box::new(file.map_err(|error| {
            HostError::new("read", self.archive.display(), error)
        })?))
    }

    fn create_folder(&mut self, relative: &Path) -> Result<()> {
        let path = self.resolve("create folder", relative)?;
        private::create_folders(&path).map_err(|error| HostError::new("create folder", path.display(), error))
    }

    fn create_file(&mut self, relative: &Path, executable: bool) -> Result<Box<dyn Write + Send>> {
        let path = self.resolve("create", relative)?;
        let file = path
            .parent()
            .map_or(Ok(()), private::create_folders)
            .and_then(|()| {
                // `create_new` follows no link, not even a dangling one.
                private::file(executable).create_new(true).open(&path)
            });
        Ok(Box::new(file.map_err(|error| {
            HostError::new("create", path.display(), error)
        })?))
    }
}

impl Drop for SystemStaging {
    fn drop(&mut self) {
        let Some(root) = self.root.take() else { return };
        let path = root.path().to_owned();
        if let Err(error) = root.close() {
            tracing::warn!(staging.folder = %path.display(), error = %error, "cannot remove a staging folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, SeekFrom};

    #[test]
    fn the_archive_can_be_written_and_read_again() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(root.path()).unwrap();
        assert!(staging.read_archive().err().unwrap().is_not_found());
        staging
            .write_archive()
            .unwrap()
            .write_all(b"first, which was longer")
            .unwrap();
        staging.write_archive().unwrap().write_all(b"archive").unwrap();
        let mut archive = staging.read_archive().unwrap();
        archive.seek(SeekFrom::Start(2)).unwrap();
        let mut text = String::new();
        archive.read_to_string(&mut text).unwrap();
        assert_eq!(text, "chive");
    }

    #[test]
    fn what_was_in_it_is_beside_the_archive_and_no_file_is_made_twice() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(&root.path().join("new/root")).unwrap();
        staging.write_archive().unwrap().write_all(b"archive").unwrap();
        staging.create_folder(Path::new("a/b")).unwrap();
        let script = Path::new("a/b/setup.cmd");
        staging
            .create_file(script, true)
            .unwrap()
            .write_all(b"@echo on")
            .unwrap();
        staging.create_file(Path::new("c/data"), false).unwrap();
        assert_eq!(std::fs::read(staging.folder().join(script)).unwrap(), b"@echo on");
        assert!(staging.create_file(script, true).is_err());
        assert_eq!(std::fs::read_dir(staging.folder()).unwrap().count(), 2);
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(root.path()).unwrap();
        for path in ["../escaped", "/tmp/escaped", "a/../../escaped", "", "."] {
            assert!(staging.create_file(Path::new(path), false).is_err(), "{path}");
            assert!(staging.create_folder(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn each_staging_folder_is_another_and_goes_away() {
        let root = tempfile::tempdir().unwrap();
        let mut first = SystemStaging::create(root.path()).unwrap();
        let second = SystemStaging::create(root.path()).unwrap();
        assert_ne!(first.folder(), second.folder());
        first.create_file(Path::new("a/b"), false).unwrap();
        drop((first, second));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
