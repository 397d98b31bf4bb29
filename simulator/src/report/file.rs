//! Report files: checked before the run, replaced at once after it. What is no regular file (a device, a pipe) is written to.

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
    /// A result cannot be read.
    #[error("cannot read result {}: {reason}; name a file that --json of this version has written", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
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
    /// The same, with symbolic links followed.
    resolved: PathBuf,
    replaced: bool,
}

impl ReportFile {
    /// Makes sure that the file will be writable after the run, without touching it.
    pub fn prepare(path: &Path) -> Result<Self, ReportError> {
        let failed = |source| ReportError::Write {
            path: path.to_owned(),
            source,
        };
        let resolved = resolve(path).map_err(failed)?;
        let replaced = match std::fs::metadata(&resolved) {
            Ok(there) if there.is_dir() => return Err(failed(std::io::ErrorKind::IsADirectory.into())),
            Ok(there) => there.is_file(),
            Err(_) => true,
        };
        let file = Self {
            path: path.to_owned(),
            resolved,
            replaced,
        };
        if replaced {
            file.temporary()?;
        }
        Ok(file)
    }

    /// Whether both are one file, of which only the last content would stay.
    pub fn is_same(&self, other: &Self) -> bool {
        self.replaced && self.resolved == other.resolved
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file: at every moment it holds the old content or the new one.
    pub fn write(&self, content: &[u8]) -> Result<(), ReportError> {
        if !self.replaced {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).open(&self.resolved);
            return file
                .and_then(|mut file| file.write_all(content))
                .map_err(|error| self.failed(error));
        }
        let mut temporary = self.temporary()?;
        temporary.write_all(content).map_err(|error| self.failed(error))?;
        temporary
            .as_file()
            .sync_all()
            .map_err(|error| self.failed(error))?;
        temporary
            .persist(&self.resolved)
            .map_err(|error| self.failed(error.error))?;
        Ok(())
    }

    /// A temporary file beside it, so that the exchange stays within one file system.
    fn temporary(&self) -> Result<NamedTempFile, ReportError> {
        let folder = self.resolved.parent().unwrap_or(Path::new("."));
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

/// Follows symbolic links. The file itself may be missing, its folder may not.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
            Ok(folder.join(path.file_name().ok_or(error)?))
        }
        resolved => resolved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_what_is_no_file_stays_what_it_is() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let [target, link, device, socket] =
            ["target", "link", "device", "socket"].map(|name| folder.path().join(name));
        std::fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        ReportFile::prepare(&link).unwrap().write(b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"new");

        symlink("/dev/null", &device).unwrap();
        let file = ReportFile::prepare(&device).unwrap();
        file.write(b"anything").unwrap();
        assert!(device.is_symlink() && !std::fs::metadata(&device).unwrap().is_file());
        assert!(!file.is_same(&ReportFile::prepare(Path::new("/dev/null")).unwrap()));

        let _listener = UnixListener::bind(&socket).unwrap();
        let file = ReportFile::prepare(&socket).unwrap();
        assert!(file.write(b"anything").is_err());
        assert!(socket.exists() && !std::fs::metadata(&socket).unwrap().is_file());

        let files = [&target, &link].map(|path| ReportFile::prepare(path).unwrap());
        assert!(files[0].is_same(&files[1]));
    }

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
