//! Unpacks a package's archive into its staging folder. Archives are hostile until proven otherwise: an entry that would
//! leave the folder, a link, an archive that grows beyond measure or is damaged is refused as a whole.

use crate::host::{HostError, ReadSeek, Staging};
use std::io::{self, Read, Seek, SeekFrom, Write};
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
pub(crate) fn unpack(staging: &mut dyn Staging, limits: Limits) -> Result<(), UnpackError> {
    let mut reader = staging.read_archive()?;
    let damaged = |error: io::Error| UnpackError::Damaged(error.to_string());
    let length = reader.seek(SeekFrom::End(0)).map_err(damaged)?;
    let mut archive = ZipArchive::new(reader).map_err(|error| UnpackError::Damaged(error.to_string()))?;
    if archive.len() > limits.entries {
        return Err(UnpackError::TooLarge(format!(
            "{} files and folders",
            limits.entries
        )));
    }
    // Of all entries together, too: many small ones may grow as much as a large one, or share one piece of the archive.
    let growth = length.saturating_mul(MAX_RATIO).max(FREE_BYTES);
    let mut left = limits.bytes.min(growth);
    let most = if growth < limits.bytes {
        format!("{MAX_RATIO} times its size")
    } else {
        format!("{} bytes", limits.bytes)
    };
    for index in 0..archive.len() {
        let entry = archive
            .by_index(index)
            .map_err(|error| UnpackError::Damaged(error.to_string()))?;
        left -= unpack_entry(entry, staging, left, &most)?;
    }
    Ok(())
}

/// Unpacks one entry and tells how many bytes it took. `left` is what is left of the bound `most` on all of them.
fn unpack_entry(
    mut entry: ZipFile<'_, Box<dyn ReadSeek>>,
    staging: &mut dyn Staging,
    left: u64,
    most: &str,
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
        None if bound == left => Err(UnpackError::TooLarge(most.to_owned())),
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
    use crate::host::Host;
    use crate::host::system::SystemHost;
    use proptest::prelude::*;
    use std::fs;
    use std::io::Cursor;
    use tempfile::TempDir;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// Unpacks `archive` on the real file system and hands the folder to `check` before it is removed.
    fn unpacked<T>(
        archive: &[u8],
        limits: Limits,
        check: impl FnOnce(Result<(), UnpackError>, &Path) -> T,
    ) -> T {
        let root = TempDir::new().unwrap();
        let mut staging = SystemHost::new(root.path()).create_staging().unwrap();
        staging.write_archive().unwrap().write_all(archive).unwrap();
        let result = unpack(staging.as_mut(), limits);
        check(result, staging.folder())
    }

    fn archive(build: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        build(&mut writer);
        writer.finish().unwrap().into_inner()
    }

    fn one_file(name: &str, content: &[u8]) -> Vec<u8> {
        archive(|writer| {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        })
    }

    #[test]
    fn entries_that_only_together_grow_beyond_measure_are_refused() {
        let bytes = archive(|writer| {
            for name in ["a", "b"] {
                writer.start_file(name, SimpleFileOptions::default()).unwrap();
                let piece = vec![0; 1 << 20];
                (0..40).for_each(|_| writer.write_all(&piece).unwrap());
            }
        });
        unpacked(&bytes, Limits::default(), |result, _| {
            let message = result.unwrap_err().to_string();
            assert!(message.contains("200 times its size"), "{message}");
        });
    }

    #[test]
    fn files_folders_and_executable_bits_arrive() {
        let bytes = archive(|writer| {
            let options = SimpleFileOptions::default();
            writer.add_directory("empty/", options).unwrap();
            writer
                .start_file("sub/run.sh", options.unix_permissions(0o755))
                .unwrap();
            writer.write_all(b"#!/bin/sh\n").unwrap();
            writer
                .start_file("data \u{fc}.txt", options.unix_permissions(0o644))
                .unwrap();
            writer.write_all("payload \u{2014}".as_bytes()).unwrap();
        });
        unpacked(&bytes, Limits::default(), |result, folder| {
            result.unwrap();
            assert!(folder.join("empty").is_dir());
            assert_eq!(
                fs::read(folder.join("data \u{fc}.txt")).unwrap(),
                "payload \u{2014}".as_bytes()
            );
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = |name| fs::metadata(folder.join(name)).unwrap().permissions().mode();
                assert_eq!(mode("sub/run.sh") & 0o100, 0o100);
                assert_eq!(mode("data \u{fc}.txt") & 0o111, 0);
            }
        });
    }

    #[test]
    fn entries_that_leave_the_folder_are_refused_and_nothing_is_written_outside() {
        for name in ["../outside", "a/../../outside", "/outside", "..\\outside"] {
            unpacked(&one_file(name, b"x"), Limits::default(), |result, folder| {
                assert!(
                    matches!(result, Err(UnpackError::Escapes(_))),
                    "{name}: {result:?}"
                );
                assert!(!folder.join("../outside").exists());
            });
        }
    }

    #[test]
    fn links_are_refused() {
        let bytes = archive(|writer| {
            writer
                .add_symlink("link", "/etc", SimpleFileOptions::default())
                .unwrap();
        });
        unpacked(&bytes, Limits::default(), |result, folder| {
            assert!(matches!(result, Err(UnpackError::Link(_))), "{result:?}");
            assert!(fs::symlink_metadata(folder.join("link")).is_err());
        });
    }

    #[test]
    fn archives_that_grow_beyond_measure_are_refused() {
        let bomb = one_file("zeros", &vec![0; 65 << 20]);
        assert!(bomb.len() < 200 << 10);
        unpacked(&bomb, Limits::default(), |result, _| {
            assert!(matches!(result, Err(UnpackError::TooLarge(_))), "{result:?}");
        });
        let limits = Limits { entries: 9, bytes: 3 };
        unpacked(&one_file("four", b"four"), limits, |result, _| {
            assert!(matches!(result, Err(UnpackError::TooLarge(_))), "{result:?}");
        });
        let many = archive(|writer| {
            for index in 0..10 {
                writer
                    .add_directory(format!("{index}/"), SimpleFileOptions::default())
                    .unwrap();
            }
        });
        unpacked(&many, limits, |result, _| {
            assert!(matches!(result, Err(UnpackError::TooLarge(_))), "{result:?}");
        });
    }

    #[test]
    fn two_entries_of_one_path_are_refused() {
        let bytes = archive(|writer| {
            for name in ["a/x", "a//x"] {
                writer.start_file(name, SimpleFileOptions::default()).unwrap();
            }
        });
        unpacked(&bytes, Limits::default(), |result, _| {
            assert!(matches!(result, Err(UnpackError::Duplicate(_))), "{result:?}");
        });
    }

    #[test]
    fn damage_is_noticed() {
        let whole = one_file("file", &b"some content that compresses ".repeat(99));
        for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            unpacked(&whole[..length], Limits::default(), |result, _| {
                assert!(
                    matches!(result, Err(UnpackError::Damaged(_))),
                    "{length}: {result:?}"
                );
            });
        }
        let mut flipped = whole.clone();
        flipped[60] ^= 0xff;
        unpacked(&flipped, Limits::default(), |result, _| {
            assert!(matches!(result, Err(UnpackError::Damaged(_))), "{result:?}");
        });
    }

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

        #[test]
        fn no_archive_makes_unpacking_panic(start: Vec<u8>, at in 0usize..200, byte: u8) {
            unpacked(&start, Limits::default(), |result, _| result.is_err());
            let mut archive = one_file("file", b"content content content");
            let at = at % archive.len();
            archive[at] = byte;
            unpacked(&archive, Limits::default(), |_, folder| {
                assert!(!folder.join("../file").exists());
            });
        }
    }
}
