//! A private folder for one package.

use crate::host::{HostError, ReadSeek, Result, Staging};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

/// A folder that only the agent's user can enter, with the archive and, beside it, what was in it.
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
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(staging_root)?;
        let root = tempfile::Builder::new()
            .prefix("oco-job-")
            .rand_bytes(16)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(staging_root)?;
        let archive = root.path().join("archive");
        let folder = root.path().join("package");
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self {
            root: Some(root),
            archive,
            folder,
        })
    }

    /// The absolute path of something in the package. The caller has checked it; a mistake there must still not write
    /// outside of the folder.
    fn resolve(&self, operation: &'static str, relative: &Path) -> Result<PathBuf> {
        let mut components = relative.components().peekable();
        if components.peek().is_none() || !components.all(|part| matches!(part, Component::Normal(_))) {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "not a path below the staging folder");
            return Err(HostError::new(operation, relative.display(), reason));
        }
        Ok(self.folder.join(relative))
    }

    fn create_folders(folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }
}

impl Staging for SystemStaging {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_archive(&mut self) -> Result<Box<dyn Write + Send>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
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
        Self::create_folders(&path).map_err(|error| HostError::new("create folder", path.display(), error))
    }

    fn create_file(&mut self, relative: &Path, executable: bool) -> Result<Box<dyn Write + Send>> {
        let path = self.resolve("create", relative)?;
        let mode = if executable { 0o700 } else { 0o600 };
        let file = path.parent().map_or(Ok(()), Self::create_folders).and_then(|()| {
            // `create_new` follows no link, not even a dangling one.
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)
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
    use std::os::unix::fs::MetadataExt;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

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
    fn unpacked_files_are_private_and_keep_the_executable_bit() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(&root.path().join("new/root")).unwrap();
        staging.create_folder(Path::new("a/b")).unwrap();
        staging
            .create_file(Path::new("a/b/setup.sh"), true)
            .unwrap()
            .write_all(b"#!/bin/sh\n")
            .unwrap();
        staging.create_file(Path::new("c/data"), false).unwrap();
        let folder = staging.folder().to_owned();
        assert_eq!(
            std::fs::read(folder.join("a/b/setup.sh")).unwrap(),
            b"#!/bin/sh\n"
        );
        assert_eq!(mode(&folder.join("a/b/setup.sh")), 0o700);
        assert_eq!(mode(&folder.join("c/data")), 0o600);
        assert_eq!(
            [
                mode(&folder),
                mode(folder.parent().unwrap()),
                mode(&folder.join("a"))
            ],
            [0o700; 3]
        );
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            2,
            "the archive is beside the package"
        );
    }

    #[test]
    fn a_file_is_never_created_twice_nor_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(root.path()).unwrap();
        staging.create_file(Path::new("file"), false).unwrap();
        assert!(staging.create_file(Path::new("file"), false).is_err());
        let outside = root.path().join("outside");
        std::os::unix::fs::symlink(&outside, staging.folder().join("link")).unwrap();
        assert!(staging.create_file(Path::new("link"), false).is_err());
        assert!(!outside.exists());
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
