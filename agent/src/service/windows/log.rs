//! The service's log: a file of limited size, with the one before it.

use crate::host::system::open_private_log;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A file that grows over this becomes the one before, bytes.
const MOST_BYTES: u64 = 4 << 20;

/// A log file. What cannot be written is lost: there is nobody to tell.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    open: Mutex<Option<(File, u64)>>,
}

impl LogFile {
    /// A log in this file, which goes on where it ended.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Mutex::default(),
        }
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|(_, size)| *size > MOST_BYTES) {
            // Closed first: an open file keeps its name.
            *open = None;
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        if open.is_none() {
            // What agents log is for those who may see what they do.
            let file = open_private_log(&self.path)?;
            let size = file.metadata()?.len();
            *open = Some((file, size));
        }
        if let Some((file, size)) = open.as_mut() {
            file.write_all(line)?;
            *size += line.len() as u64;
        }
        Ok(())
    }
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_full_is_kept_beside_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oco-agent.log");
        std::fs::write(&path, "before\n").unwrap();
        let log = LogFile::new(path.clone());
        (&log)
            .write_all(&vec![b'x'; usize::try_from(MOST_BYTES).unwrap()])
            .unwrap();
        (&log).write_all(b"last\n").unwrap();
        let old = std::fs::read(path.with_extension("log.1")).unwrap();
        assert!(old.starts_with(b"before\nxxx"));
        assert_eq!(std::fs::read(&path).unwrap(), b"last\n");
    }
}
