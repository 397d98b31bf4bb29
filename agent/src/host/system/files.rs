//! What reading and replacing files has in common on all systems.

use crate::host::{HostError, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest file that is read, bytes.
pub(super) const READ_LIMIT: u64 = 64 << 20;

/// What the names of temporary files begin and end with, between which there is something random.
pub(super) const PREFIX: &str = ".oco-agent-";
/// See [`PREFIX`].
pub(super) const SUFFIX: &str = ".tmp";

/// The content of an open file, if it is a regular one. Nothing is concluded from the size that the system names: files
/// in `/proc` have none.
pub(super) fn content_at_most(file: File, limit: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let reason = format!("larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(content)
}

/// The names in a folder, sorted.
pub(crate) fn list(path: &Path) -> Result<Vec<String>> {
    let names = std::fs::read_dir(path).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    });
    let mut names: Vec<String> = names.map_err(|error| HostError::new("list", path.display(), error))?;
    names.sort_unstable();
    Ok(names)
}

/// Removes what killed writers have left in a folder, by `remove`, which tells whether it has removed that file: it must
/// not remove one that is being written. One that stays is no reason not to write.
pub(super) fn remove_leftovers(folder: &Path, remove: impl Fn(&Path) -> bool) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if ours && remove(&entry.path()) {
            tracing::debug!(path = %entry.path().display(), "leftover of a killed write");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b", "ä", "a", ".hidden"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), [".hidden", "a", "b", "ä"]);
        assert!(list(&folder.path().join("missing")).unwrap_err().is_not_found());
    }

    #[test]
    fn only_what_writers_of_ours_have_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            ".oco-agent-1.tmp",
            ".oco-agent-2.tmp",
            "notes.tmp",
            ".oco-agent-3",
        ] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        remove_leftovers(folder.path(), |path| {
            !path.ends_with(".oco-agent-2.tmp") && std::fs::remove_file(path).is_ok()
        });
        assert_eq!(
            list(folder.path()).unwrap(),
            [".oco-agent-2.tmp", ".oco-agent-3", "notes.tmp"]
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(content_at_most(File::open(&path).unwrap(), 5).unwrap(), b"12345");
        let error = content_at_most(File::open(&path).unwrap(), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
