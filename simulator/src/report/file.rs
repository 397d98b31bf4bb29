//! Report files: checked before the run, replaced at once after it.

use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file or its folder does not let itself be written.
    #[error("cannot write report {}; name another file with --report or --json", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The report has no such form.
    #[error("cannot make the {form} report: {reason}")]
    Render {
        /// `HTML` or `JSON`.
        form: &'static str,
        /// Why not.
        reason: String,
    },
}

/// Where a report goes.
#[derive(Debug, Clone)]
pub struct ReportFile {
    path: PathBuf,
}

impl ReportFile {
    /// Makes sure that the file will be writable after the run, without touching it.
    pub fn prepare(path: &Path) -> Result<Self, ReportError> {
        let file = Self {
            path: path.to_owned(),
        };
        if path.is_dir() {
            return Err(file.failed(std::io::ErrorKind::IsADirectory.into()));
        }
        file.temporary()?;
        Ok(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file: at every moment it holds the old content or the new one.
    pub fn write(&self, content: &[u8]) -> Result<(), ReportError> {
        let mut temporary = self.temporary()?;
        temporary.write_all(content).map_err(|error| self.failed(error))?;
        temporary
            .as_file()
            .sync_all()
            .map_err(|error| self.failed(error))?;
        temporary
            .persist(&self.path)
            .map_err(|error| self.failed(error.error))?;
        Ok(())
    }

    /// A temporary file beside it, so that the exchange stays within one file system.
    fn temporary(&self) -> Result<NamedTempFile, ReportError> {
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".oco-simulator-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o644));
        }
        builder.tempfile_in(folder).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: std::io::Error) -> ReportError {
        ReportError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_leaves_everything_as_it_was_and_writing_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        let file = ReportFile::prepare(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        file.write(b"one").unwrap();
        file.write(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_and_paths_below_nothing_are_refused_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            folder.path().to_owned(),
            folder.path().join("missing/report.html"),
        ] {
            let error = ReportFile::prepare(&path).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
