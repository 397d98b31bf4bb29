//! The file that the agent locks: opened so that no other user of the computer can turn it into a trap.

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid};
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Opens the lock file for reading and writing and creates it, with its folders, where it is missing.
///
/// It can be read by its owner only: whoever can open a file can lock it, and so keep the agent from starting. No link
/// is followed, and a folder that others can write to is refused unless nobody but the owner can rename in it.
pub fn open_lock_file(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        check_folder(&folder.metadata()?)?;
    }
    let file = options()
        .read(true)
        .write(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let metadata = file.metadata()?;
    check_file(&metadata)?;
    if metadata.mode() & 0o7777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// The lock file as it is, to look at; none where there is none.
pub fn existing_lock_file(path: &Path) -> io::Result<Option<File>> {
    match options().read(true).open(path) {
        Ok(file) => {
            check_file(&file.metadata()?)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks the file for this process alone.
pub fn try_lock(file: &File) -> Result<(), TryLockError> {
    file.try_lock()
}

/// Locks the file together with others that do the same; fails while one has it alone.
pub fn try_lock_shared(file: &File) -> Result<(), TryLockError> {
    file.try_lock_shared()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

fn check_folder(folder: &Metadata) -> io::Result<()> {
    if others_may(folder, WRITE) {
        let mode = folder.mode() & 0o7777;
        return refused(format!("other users can write into its folder (mode {mode:o})"));
    }
    if !is_trusted(folder) {
        return refused(format!("its folder belongs to user {}", folder.uid()));
    }
    Ok(())
}

fn check_file(file: &Metadata) -> io::Result<()> {
    if !file.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    if !is_trusted(file) {
        return refused(format!("it belongs to user {}", file.uid()));
    }
    if file.nlink() > 1 {
        return refused("it has a second name: it is a hard link".to_owned());
    }
    Ok(())
}

/// The permission to read, as in the last digit of a mode.
pub(super) const READ: u32 = 0o4;
/// The permission to write.
pub(super) const WRITE: u32 = 0o2;

/// Whether somebody else has this permission; this user's own group is nobody else. In a sticky folder, nobody can do
/// anything to files that are not his.
pub(super) fn others_may(metadata: &Metadata, permission: u32) -> bool {
    const STICKY: u32 = 0o1000;
    let (mode, strangers) = (metadata.mode(), metadata.gid() != getegid().as_raw());
    let sticky = metadata.is_dir() && permission == WRITE && mode & STICKY != 0;
    !sticky && (mode & permission != 0 || strangers && mode & (permission << 3) != 0)
}

/// Whether it is root's or this user's own.
pub(super) fn is_trusted(metadata: &Metadata) -> bool {
    is_trusted_user(metadata.uid())
}

/// Whether that is root or this user.
pub(super) fn is_trusted_user(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

fn refused<T>(reason: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        open_lock_file(path).unwrap_err().to_string()
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_file_is_for_its_owner_alone_even_where_an_older_agent_left_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/lock");
        assert!(existing_lock_file(&path).unwrap().is_none());
        for _ in 0..2 {
            let file = open_lock_file(&path).unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
            assert!(existing_lock_file(&path).unwrap().is_some());
            set_mode(&path, 0o644);
        }
    }

    #[test]
    fn a_link_is_not_followed_and_what_it_names_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("precious"), folder.path().join("lock"));
        std::fs::write(&target, "content").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(open_lock_file(&link).is_err() && existing_lock_file(&link).is_err());
        std::fs::remove_file(&link).unwrap();
        std::fs::hard_link(&target, &link).unwrap();
        assert!(refusal(&link).contains("hard link"));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "content");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused_unless_it_is_sticky() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        set_mode(folder.path(), 0o777);
        assert!(refusal(&path).contains("other users can write into its folder"));
        assert!(!path.exists());
        set_mode(folder.path(), 0o1777);
        open_lock_file(&path).unwrap();
    }

    #[test]
    fn a_pipe_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(refusal(&path).contains("not a regular file"));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if geteuid().as_raw() != 0 {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "1").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(refusal(&path).contains("belongs to user 12345"));
        assert!(existing_lock_file(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
        assert!(refusal(&path).contains("its folder belongs to user 12345"));
        std::os::unix::fs::chown(folder.path(), Some(0), Some(12345)).unwrap();
        set_mode(folder.path(), 0o775);
        assert!(refusal(&path).contains("other users"));
    }
}
