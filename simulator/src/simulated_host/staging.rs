//! Staging on a virtual machine: the archive is really stored, what was in it is counted only.

use oco_agent::host::{HostError, ReadSeek, Result, Staging};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most files and folders of one package; a virtual machine remembers their names.
const MOST_ENTRIES: usize = 100_000;

/// The staging folders that exist on a machine: a procedure can run in these only.
pub(super) type LiveFolders = Arc<Mutex<BTreeSet<PathBuf>>>;

/// A private folder for one package, in memory.
pub(super) struct SimulatedStaging {
    folder: PathBuf,
    live: LiveFolders,
    limit: u64,
    archive: Arc<Mutex<Vec<u8>>>,
    unpacked: Arc<Mutex<Unpacked>>,
}

/// What was in the archive.
#[derive(Debug, Default)]
struct Unpacked {
    entries: BTreeMap<PathBuf, Entry>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Folder,
    File,
}

impl SimulatedStaging {
    /// A staging folder whose archive and whose files take at most `limit` bytes each: the disk is full beyond that.
    pub(super) fn create(folder: PathBuf, live: LiveFolders, limit: u64) -> Self {
        lock(&live).insert(folder.clone());
        Self {
            folder,
            live,
            limit,
            archive: Arc::default(),
            unpacked: Arc::default(),
        }
    }

    fn add_folders(&self, unpacked: &mut Unpacked, relative: &Path) -> io::Result<()> {
        let mut folders: Vec<&Path> = relative
            .ancestors()
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        folders.reverse();
        for folder in folders {
            match unpacked.entries.get(folder) {
                Some(Entry::File) => return Err(io::ErrorKind::NotADirectory.into()),
                Some(Entry::Folder) => {}
                None => add(unpacked, folder, Entry::Folder)?,
            }
        }
        Ok(())
    }

    fn add_file(&self, relative: &Path) -> io::Result<()> {
        let mut unpacked = lock(&self.unpacked);
        if let Some(parent) = relative.parent() {
            self.add_folders(&mut unpacked, parent)?;
        }
        if unpacked.entries.contains_key(relative) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        add(&mut unpacked, relative, Entry::File)
    }
}

impl Drop for SimulatedStaging {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.folder);
    }
}

impl Staging for SimulatedStaging {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_archive(&mut self) -> Result<Box<dyn Write + Send>> {
        // A new buffer, so that a reader of an earlier archive keeps what it reads.
        self.archive = Arc::default();
        Ok(Box::new(ArchiveWriter {
            archive: Arc::clone(&self.archive),
            limit: self.limit,
        }))
    }

    fn read_archive(&mut self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(ArchiveReader {
            archive: Arc::clone(&self.archive),
            position: 0,
        }))
    }

    fn create_folder(&mut self, relative: &Path) -> Result<()> {
        let mut unpacked = lock(&self.unpacked);
        self.add_folders(&mut unpacked, relative)
            .map_err(|source| HostError::new("create", self.folder.join(relative).display(), source))
    }

    fn create_file(&mut self, relative: &Path, _executable: bool) -> Result<Box<dyn Write + Send>> {
        self.add_file(relative)
            .map_err(|source| HostError::new("create", self.folder.join(relative).display(), source))?;
        Ok(Box::new(FileWriter {
            unpacked: Arc::clone(&self.unpacked),
            limit: self.limit,
        }))
    }
}

fn add(unpacked: &mut Unpacked, path: &Path, entry: Entry) -> io::Result<()> {
    if unpacked.entries.len() >= MOST_ENTRIES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    unpacked.entries.insert(path.to_owned(), entry);
    Ok(())
}

/// A panic while the lock was held cannot have left anything half done that matters here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ArchiveWriter {
    archive: Arc<Mutex<Vec<u8>>>,
    limit: u64,
}

impl Write for ArchiveWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut archive = lock(&self.archive);
        if (archive.len() + bytes.len()) as u64 > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        archive.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct ArchiveReader {
    archive: Arc<Mutex<Vec<u8>>>,
    position: u64,
}

impl Read for ArchiveReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let archive = lock(&self.archive);
        let start = usize::try_from(self.position).unwrap_or(usize::MAX);
        let count = archive.get(start..).map_or(Ok(0), |mut rest| rest.read(buffer))?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for ArchiveReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let length = lock(&self.archive).len() as u64;
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

struct FileWriter {
    unpacked: Arc<Mutex<Unpacked>>,
    limit: u64,
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut unpacked = lock(&self.unpacked);
        let total = unpacked.bytes.saturating_add(bytes.len() as u64);
        if total > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        unpacked.bytes = total;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging(limit: u64) -> (SimulatedStaging, LiveFolders) {
        let live = LiveFolders::default();
        (
            SimulatedStaging::create("/var/lib/oco-agent/staging/1".into(), Arc::clone(&live), limit),
            live,
        )
    }

    #[test]
    fn archive_reads_back_from_any_place() {
        let (mut staging, _) = staging(100);
        staging
            .write_archive()
            .unwrap()
            .write_all(b"an older, longer archive")
            .unwrap();
        staging.write_archive().unwrap().write_all(b"archive").unwrap();
        let mut reader = staging.read_archive().unwrap();
        reader.seek(SeekFrom::End(-4)).unwrap();
        let mut end = String::new();
        reader.read_to_string(&mut end).unwrap();
        assert_eq!(end, "hive");
        assert!(reader.seek(SeekFrom::Current(-8)).is_err());
        assert_eq!(reader.seek(SeekFrom::Start(1)).unwrap(), 1);
    }

    #[test]
    fn full_disk_is_an_error() {
        let (mut staging, _) = staging(5);
        let error = staging
            .write_archive()
            .unwrap()
            .write_all(b"archive")
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let error = staging
            .create_file(Path::new("a"), false)
            .unwrap()
            .write_all(b"123456")
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn existing_file_is_not_created_again_and_is_no_folder() {
        let (mut staging, _) = staging(100);
        staging
            .create_file(Path::new("bin/setup"), true)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        staging.create_folder(Path::new("bin/more")).unwrap();
        let again = staging.create_file(Path::new("bin/setup"), true).err().unwrap();
        assert_eq!(again.source.kind(), io::ErrorKind::AlreadyExists);
        let below = staging.create_file(Path::new("bin/setup/x"), true).err().unwrap();
        assert_eq!(below.source.kind(), io::ErrorKind::NotADirectory);
        assert!(staging.create_file(Path::new("bin"), false).is_err());
    }

    #[test]
    fn folder_exists_until_the_staging_is_dropped() {
        let (staging, live) = staging(100);
        assert!(lock(&live).contains(staging.folder()));
        drop(staging);
        assert!(lock(&live).is_empty());
    }
}
