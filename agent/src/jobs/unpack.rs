//! Unpacks a package's archive into its staging folder. Archives are hostile until proven otherwise: an entry that would
//! leave the folder, a link, an archive that grows beyond measure or is damaged is refused as a whole.

use crate::host::{HostError, ReadSeek, Staging};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use zip::ZipArchive;
use zip::read::ZipFile;

/// Bounds on what an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders.
    pub entries: usize,
    /// Bytes of all files together, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    /// Room for the largest real packages (office suites, drivers): 64 GiB in a million entries.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 64 << 30,
        }
    }
}

/// How much an archive of some length may grow: deflate can't shrink honest data much further.
const MAX_RATIO: u64 = 200;
/// Growth that is always fine, for small archives of very regular data.
const FREE_BYTES: u64 = 64 << 20;

/// An archive that was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is damaged, cut off, or no ZIP archive.
    #[error("the package is not a complete ZIP archive: {0}")]
    Damaged(String),
    /// An entry would be written outside its folder.
    #[error("the package was refused: entry {0:?} leads out of its folder")]
    Escapes(String),
    /// An entry is a link.
    #[error("the package was refused: entry {0:?} is a link")]
    Link(String),
    /// There is too much in it.
    #[error("the package was refused: it unpacks to more than {0}")]
    TooLarge(String),
    /// Two entries have the same path.
    #[error("the package was refused: entry {0:?} occurs twice")]
    Duplicate(String),
    /// The machine cannot take it.
    #[error("the package cannot be unpacked")]
    Host(#[from] HostError),
    /// Writing a file failed.
    #[error("entry {name:?} cannot be written")]
    Write {
        /// Name of the entry.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Unpacks the archive in `staging` beside itself. On an error the staging folder is to be dropped.
pub(super) fn unpack(staging: &mut dyn Staging, limits: Limits) -> Result<(), UnpackError> {
    let mut archive =
        ZipArchive::new(staging.read_archive()?).map_err(|error| UnpackError::Damaged(error.to_string()))?;
    if archive.len() > limits.entries {
        return Err(UnpackError::TooLarge(format!(
            "{} files and folders",
            limits.entries
        )));
    }
    let mut left = limits.bytes;
    for index in 0..archive.len() {
        let entry = archive
            .by_index(index)
            .map_err(|error| UnpackError::Damaged(error.to_string()))?;
        left -= unpack_entry(entry, staging, left, limits)?;
    }
    Ok(())
}

/// Unpacks one entry and tells how many bytes it took.
fn unpack_entry(
    mut entry: ZipFile<'_, Box<dyn ReadSeek>>,
    staging: &mut dyn Staging,
    left: u64,
    limits: Limits,
) -> Result<u64, UnpackError> {
    let name = entry
        .name()
        .map_err(|error| UnpackError::Damaged(error.to_string()))?
        .into_owned();
    if entry.is_symlink() {
        return Err(UnpackError::Link(name));
    }
    let path = safe_path(&name).ok_or_else(|| UnpackError::Escapes(name.clone()))?;
    if entry.is_dir() {
        staging.create_folder(&path)?;
        return Ok(0);
    }
    let bound = left.min(entry.compressed_size().saturating_mul(MAX_RATIO).max(FREE_BYTES));
    let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        staging.create_folder(parent)?;
    }
    let mut file = staging
        .create_file(&path, executable)
        .map_err(|error| match error.source.kind() {
            io::ErrorKind::AlreadyExists => UnpackError::Duplicate(name.clone()),
            _ => UnpackError::Host(error),
        })?;
    let written = copy(&mut entry, &mut file, bound, &name)?;
    match written {
        Some(bytes) => Ok(bytes),
        None if bound == left => Err(UnpackError::TooLarge(format!("{} bytes", limits.bytes))),
        None => Err(UnpackError::TooLarge(format!("{MAX_RATIO} times its size"))),
    }
}

/// Copies at most `bound` bytes; none if there would be more. Tells damage in the archive from a full disk.
fn copy(
    entry: &mut impl Read,
    file: &mut impl Write,
    bound: u64,
    name: &str,
) -> Result<Option<u64>, UnpackError> {
    let write_error = |source| UnpackError::Write {
        name: name.to_owned(),
        source,
    };
    let (mut buffer, mut written) = (vec![0; 64 << 10], 0);
    loop {
        let count = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnpackError::Damaged(format!("entry {name:?}: {error}"))),
        };
        written += count as u64;
        if written > bound {
            return Ok(None);
        }
        file.write_all(&buffer[..count]).map_err(write_error)?;
    }
    file.flush().map_err(write_error)?;
    Ok(Some(written))
}

/// The path of an entry, if it stays below its folder on every system: no root, no drive, no `..`, no `:`.
/// Backslashes separate too, since archives made on Windows may have them.
fn safe_path(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")) {
        let mut components = Path::new(part).components();
        let normal = matches!(
            (components.next(), components.next()),
            (Some(Component::Normal(_)), None)
        );
        if !normal || part.contains([':', '\0']) {
            return None;
        }
        path.push(part);
    }
    let absolute = name.starts_with(['/', '\\']);
    (!absolute && !path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for name in [
            "../x",
            "a/../../x",
            "/etc/passwd",
            "\\x",
            "C:\\x",
            "a/C:x",
            "",
            "..",
            "a\0b",
            "..\\x",
        ] {
            assert_eq!(safe_path(name), None, "{name:?}");
        }
        assert_eq!(safe_path("./a//b.sh"), Some(PathBuf::from("a/b.sh")));
        assert_eq!(safe_path("dir\\file"), Some(PathBuf::from("dir/file")));
        assert_eq!(safe_path("..a/b.."), Some(PathBuf::from("..a/b..")));
    }

    proptest! {
        #[test]
        fn every_path_that_passes_has_only_normal_components(name in "[./\\\\:a-c\0]{0,12}|.*") {
            if let Some(path) = safe_path(&name) {
                prop_assert!(path.components().all(|component| matches!(component, Component::Normal(_))));
            }
        }
    }
}
