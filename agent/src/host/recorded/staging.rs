//! Staging in memory.

use super::lock;
use crate::host::{HostError, ReadSeek, Result, Staging};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A package that was staged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedPackage {
    /// The archive, once it was written.
    pub archive: Option<Vec<u8>>,
    /// Folders that were created, by relative path.
    pub folders: BTreeSet<PathBuf>,
    /// Files that were created, by relative path.
    pub files: BTreeMap<PathBuf, StagedFile>,
    /// Whether the staging folder is gone. What was in it stays here for the test to see.
    pub removed: bool,
}

/// A file of a staged package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedFile {
    /// Its content.
    pub content: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

type Shared = Arc<Mutex<StagedPackage>>;

pub(super) struct MemoryStaging {
    folder: PathBuf,
    package: Shared,
}

impl MemoryStaging {
    pub(super) fn new(folder: PathBuf, package: Shared) -> Self {
        Self { folder, package }
    }
}

impl Staging for MemoryStaging {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_archive(&mut self) -> Result<Box<dyn Write + Send>> {
        lock(&self.package).archive = Some(Vec::new());
        Ok(Box::new(Sink {
            package: self.package.clone(),
            target: None,
        }))
    }

    fn read_archive(&mut self) -> Result<Box<dyn ReadSeek>> {
        let archive = lock(&self.package).archive.clone();
        let archive = archive.ok_or_else(|| HostError::not_found("read", "the archive"))?;
        Ok(Box::new(Cursor::new(archive)))
    }

    fn create_folder(&mut self, relative: &Path) -> Result<()> {
        let mut package = lock(&self.package);
        if relative.ancestors().any(|path| package.files.contains_key(path)) {
            return Err(HostError::new(
                "create folder",
                relative.display(),
                io::ErrorKind::AlreadyExists,
            ));
        }
        package.create_folders(Some(relative));
        Ok(())
    }

    fn create_file(&mut self, relative: &Path, executable: bool) -> Result<Box<dyn Write + Send>> {
        let mut package = lock(&self.package);
        let taken = package.folders.contains(relative)
            || relative.ancestors().any(|path| package.files.contains_key(path));
        if taken {
            return Err(HostError::new(
                "create",
                relative.display(),
                io::ErrorKind::AlreadyExists,
            ));
        }
        package.create_folders(relative.parent());
        package.files.insert(
            relative.to_owned(),
            StagedFile {
                content: Vec::new(),
                executable,
            },
        );
        Ok(Box::new(Sink {
            package: self.package.clone(),
            target: Some(relative.to_owned()),
        }))
    }
}

impl Drop for MemoryStaging {
    fn drop(&mut self) {
        lock(&self.package).removed = true;
    }
}

impl StagedPackage {
    fn create_folders(&mut self, folder: Option<&Path>) {
        let folders = folder
            .into_iter()
            .flat_map(Path::ancestors)
            .filter(|path| !path.as_os_str().is_empty());
        self.folders.extend(folders.map(Path::to_owned));
    }
}

/// Appends to a file, or to the archive.
struct Sink {
    package: Shared,
    target: Option<PathBuf>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut package = lock(&self.package);
        let content = match &self.target {
            Some(path) => package.files.get_mut(path).map(|file| &mut file.content),
            None => package.archive.as_mut(),
        };
        content.ok_or(io::ErrorKind::NotFound)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
