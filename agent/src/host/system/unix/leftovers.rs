//! How a job is known that outlives the agent which started it.
//!
//! A job's [keeper](super::keeper) has the job's staging folder locked as long as the job runs, so a staging folder that
//! nobody has locked is of no use to anybody.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Locks a staging folder for as long as the file is open.
pub(super) fn lock(staging: &Path) -> io::Result<File> {
    let file = File::open(staging)?;
    file.try_lock()?;
    Ok(file)
}

/// Whether a keeper has it locked. What cannot be opened is not in use: a keeper has it open itself.
pub(crate) fn is_in_use(folder: &Path) -> bool {
    // Shared, so that those who only look are not in each other's way.
    File::open(folder).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Returns once the job of a staging folder has ended.
pub(crate) fn wait_for_end(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        // Granted once the keeper has ended.
        Ok(file) => file.lock_shared(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::system::leftovers::Leftovers;

    #[test]
    fn what_is_locked_stays_until_it_is_not_and_all_else_goes() {
        let root = tempfile::tempdir().unwrap();
        for name in ["running", "ended"] {
            std::fs::create_dir_all(root.path().join(name).join("package/data")).unwrap();
        }
        std::fs::write(root.path().join("stray"), "").unwrap();
        let names = || crate::host::system::unix::files::list(root.path()).unwrap();
        let running = lock(&root.path().join("running")).unwrap();
        assert!(lock(&root.path().join("running")).is_err(), "nobody else gets it");
        let leftovers = Leftovers::default();
        leftovers.note(root.path()).unwrap();
        std::fs::create_dir(root.path().join("new")).unwrap();
        assert_eq!(leftovers.running(), 1);
        leftovers.remove_ended();
        assert_eq!(names(), ["new", "running"]);
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| leftovers.remove_all());
            assert_eq!(leftovers.running(), 1);
            assert!(!waiting.is_finished());
            drop(running);
        });
        assert_eq!((names(), leftovers.running()), (vec!["new".to_owned()], 0));
    }
}
