//! A private folder for one package.

use super::files;
use crate::host::{HostError, ReadSeek, Result, Staging};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

/// A folder that only administrators and the system can enter, with the archive and, beside it, what was in it.
#[derive(Debug)]
pub(super) struct SystemStaging {
    /// There until it is dropped.
    root: Option<TempDir>,
    archive: PathBuf,
    folder: PathBuf,
}

impl SystemStaging {
    pub(super) fn create(staging_root: &Path) -> Result<Self> {
        Self::try_create(staging_root)
            .map_err(|error| HostError::new("create a staging folder in", staging_root.display(), error))
    }

    fn try_create(staging_root: &Path) -> io::Result<Self> {
        // Programs are started with the folder in their command lines: a relative one would be looked for elsewhere.
        let staging_root = std::path::absolute(staging_root)?;
        files::create_private_folder(&staging_root)?;
        let root = tempfile::Builder::new()
            .prefix("oco-job-")
            .rand_bytes(16)
            .tempdir_in(staging_root)?;
        let archive = root.path().join("archive");
        let folder = root.path().join("package");
        std::fs::create_dir(&folder)?;
        Ok(Self {
            root: Some(root),
            archive,
            folder,
        })
    }

    /// The absolute path of something in the package. The caller has checked it; a mistake there must still not write
    /// outside of the folder, nor into a file's second stream or a device.
    fn resolve(&self, operation: &'static str, relative: &Path) -> Result<PathBuf> {
        let sound = |part: Component<'_>| match part {
            Component::Normal(name) => name.to_str().is_some_and(|name| !is_special(name)),
            _ => false,
        };
        let mut components = relative.components().peekable();
        if components.peek().is_none() || !components.all(sound) {
            let reason = io::Error::new(io::ErrorKind::InvalidInput, "not a path below the staging folder");
            return Err(HostError::new(operation, relative.display(), reason));
        }
        Ok(self.folder.join(relative))
    }
}

/// Whether a name means something else than a file of that name: a stream, a device, or the name without its end.
fn is_special(name: &str) -> bool {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_uppercase();
    let numbered = |prefix: &str| {
        let number = stem.strip_prefix(prefix).unwrap_or_default();
        matches!(number, "¹" | "²" | "³")
            || number.len() == 1 && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    name.contains(|c: char| c.is_control() || r#"<>:"|?*"#.contains(c))
        || name.ends_with(['.', ' '])
        || DEVICES.contains(&stem.as_str())
        || numbered("COM")
        || numbered("LPT")
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
        std::fs::create_dir_all(&path).map_err(|error| HostError::new("create folder", path.display(), error))
    }

    /// There is no permission to run: every file with the right name can be run.
    fn create_file(&mut self, relative: &Path, _executable: bool) -> Result<Box<dyn Write + Send>> {
        let path = self.resolve("create", relative)?;
        let file = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path));
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
    use crate::host::system::windows::acl;
    use std::io::Read;

    #[test]
    fn the_archive_and_what_was_in_it_can_be_written_and_read_and_go_away() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(&root.path().join("new")).unwrap();
        assert!(staging.read_archive().err().unwrap().is_not_found());
        staging.write_archive().unwrap().write_all(b"archive").unwrap();
        let mut text = String::new();
        staging.read_archive().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "archive");
        staging.create_folder(Path::new(r"a\b")).unwrap();
        let mut file = staging.create_file(Path::new(r"a\b\setup.cmd"), true).unwrap();
        file.write_all(b"@echo on").unwrap();
        drop(file);
        assert_eq!(
            std::fs::read(staging.folder().join(r"a\b\setup.cmd")).unwrap(),
            b"@echo on"
        );
        assert!(staging.create_file(Path::new(r"a\b\setup.cmd"), true).is_err());
        let access = acl::access(&root.path().join("new")).unwrap();
        assert!(!access.others_write && !access.others_read, "{access:?}");
        drop(staging);
        assert_eq!(std::fs::read_dir(root.path().join("new")).unwrap().count(), 0);
    }

    #[test]
    fn a_path_that_leaves_the_folder_or_is_no_file_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(root.path()).unwrap();
        for path in [
            r"..\escaped",
            r"C:\escaped",
            r"\escaped",
            r"a\..\..\escaped",
            "",
            ".",
            "file:stream",
            "nul",
            "NUL.txt",
            "com1",
            "lpt9.log",
            "end.",
            "end ",
        ] {
            assert!(staging.create_file(Path::new(path), false).is_err(), "{path}");
            assert!(staging.create_folder(Path::new(path)).is_err(), "{path}");
        }
        for path in ["console", "com", "common.txt", ".hidden"] {
            assert!(staging.create_file(Path::new(path), false).is_ok(), "{path}");
        }
    }
}
