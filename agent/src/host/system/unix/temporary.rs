//! Temporary files of atomic writes: none is left behind for long, whenever their writer is killed.
//!
//! A writer holds a lock of the operating system on its temporary file. It ends with the process, so whoever writes into
//! the folder next can tell a leftover from a write that is under way.

use crate::host::system::files::{PREFIX, SUFFIX, remove_leftovers};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use tempfile::NamedTempFile;

/// How often a file is made anew that somebody took for a leftover just before it was locked: on a busy machine that happens to
/// several writers again and again.
const ATTEMPTS: u32 = 100;

/// A new file of mode 0600 in `folder`, removed on drop unless it is renamed. What killed writers left there is removed.
pub(super) fn create(folder: &Path) -> io::Result<NamedTempFile> {
    // Removed while the lock is held, so that no writer can have taken it in between.
    remove_leftovers(folder, |path| {
        abandoned(path).is_some_and(|_lock| std::fs::remove_file(path).is_ok())
    });
    for _ in 0..ATTEMPTS {
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .tempfile_in(folder)?;
        if file.as_file().try_lock().is_ok() && file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
    Err(io::Error::other(
        "temporary files are removed as soon as they are made",
    ))
}

/// The file, locked, if nobody writes it any more.
fn abandoned(path: &Path) -> Option<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    (file.metadata().ok()?.is_file() && file.try_lock().is_ok()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::unix::files::list;
    use std::sync::Barrier;

    #[test]
    fn leftovers_go_with_the_next_write_and_files_that_are_written_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".oco-agent-dead.tmp"), b"half").unwrap();
        for stranger in ["notes.tmp", ".oco-agent-notes"] {
            std::fs::write(folder.path().join(stranger), b"x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(".oco-agent-link.tmp")).unwrap();
        let first = create(folder.path()).unwrap();
        let second = create(folder.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        drop((first, second));
        assert_eq!(
            list(folder.path()).unwrap(),
            [".oco-agent-link.tmp", ".oco-agent-notes", "notes.tmp"]
        );
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn writers_in_one_folder_do_not_take_each_other_for_dead() {
        let folder = tempfile::tempdir().unwrap();
        let start = Barrier::new(4);
        std::thread::scope(|threads| {
            for writer in 0..4 {
                let (folder, start) = (folder.path(), &start);
                threads.spawn(move || {
                    start.wait();
                    for _ in 0..200 {
                        let file = create(folder).unwrap();
                        file.persist(folder.join(writer.to_string())).unwrap();
                    }
                });
            }
        });
        assert_eq!(list(folder.path()).unwrap(), ["0", "1", "2", "3"]);
    }
}
