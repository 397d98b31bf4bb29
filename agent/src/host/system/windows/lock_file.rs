//! The file that the agent locks: opened so that no other user of the computer can turn it into a trap.

use super::{acl, text};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use windows::Win32::Foundation::{
    ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, GENERIC_READ, GENERIC_WRITE, HANDLE,
};
use windows::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFileInformationByHandle, LOCK_FILE_FLAGS, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY,
    LockFileEx, READ_CONTROL, WRITE_DAC,
};
use windows::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

/// Opens the lock file for reading and writing and creates it, with its folders, where it is missing.
///
/// It is for administrators and the system only: whoever can open a file can lock it, and so keep the agent from starting.
/// No link is followed, and a folder that others can write to is refused.
pub fn open_lock_file(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
        let access = acl::access(folder).map_err(|error| error.source)?;
        if access.others_write {
            return refused(format!(
                "other users can write into its folder ({})",
                access.description
            ));
        }
        if access.foreign_owner {
            return refused(format!(
                "its folder belongs to somebody else ({})",
                access.description
            ));
        }
    }
    let rights = GENERIC_READ.0 | GENERIC_WRITE.0 | READ_CONTROL.0 | WRITE_DAC.0;
    let file = options()
        .access_mode(rights)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    check_file(&file)?;
    acl::private()?.apply(&file)?;
    Ok(file)
}

/// The lock file as it is, to look at; none where there is none.
pub fn existing_lock_file(path: &Path) -> io::Result<Option<File>> {
    match options().read(true).open(path) {
        Ok(file) => {
            check_file(&file)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Locks the file for this process alone. Unlike a lock on the whole file, this one lets others read what is in it: it
/// is on a byte far behind the end.
pub fn try_lock(file: &File) -> Result<(), TryLockError> {
    lock(file, LOCKFILE_EXCLUSIVE_LOCK)
}

/// Locks the file together with others that do the same; fails while one has it alone.
pub fn try_lock_shared(file: &File) -> Result<(), TryLockError> {
    lock(file, LOCK_FILE_FLAGS::default())
}

fn lock(file: &File, kind: LOCK_FILE_FLAGS) -> Result<(), TryLockError> {
    let mut place = OVERLAPPED {
        Anonymous: OVERLAPPED_0 {
            Anonymous: OVERLAPPED_0_0 {
                Offset: 0,
                OffsetHigh: 0x4000_0000,
            },
        },
        ..OVERLAPPED::default()
    };
    let file = HANDLE(file.as_raw_handle());
    // SAFETY: the file is open, and the place lives until the function returns, which does not wait.
    let locked = unsafe { LockFileEx(file, kind | LOCKFILE_FAIL_IMMEDIATELY, None, 1, 0, &raw mut place) };
    locked.map_err(|error| {
        let busy = [ERROR_LOCK_VIOLATION, ERROR_IO_PENDING];
        if busy.iter().any(|busy| error.code() == busy.to_hresult()) {
            TryLockError::WouldBlock
        } else {
            TryLockError::Error(text::error(error))
        }
    })
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT.0)
        .share_mode(FILE_SHARE_READ.0 | FILE_SHARE_WRITE.0);
    options
}

fn check_file(file: &File) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    let mut information = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the file is open, and the structure lives until the function returns.
    unsafe { GetFileInformationByHandle(HANDLE(file.as_raw_handle()), &raw mut information) }
        .map_err(text::error)?;
    if information.nNumberOfLinks > 1 {
        return refused("it has a second name: it is a hard link".to_owned());
    }
    Ok(())
}

fn refused<T>(reason: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_locked_file_can_be_read_and_not_locked_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("lock");
        assert!(existing_lock_file(&path).unwrap().is_none());
        let mut first = open_lock_file(&path).unwrap();
        try_lock(&first).unwrap();
        first.write_all(b"4711").unwrap();
        let second = open_lock_file(&path).unwrap();
        assert!(matches!(try_lock(&second), Err(TryLockError::WouldBlock)));
        let looking = existing_lock_file(&path).unwrap().unwrap();
        assert!(matches!(try_lock_shared(&looking), Err(TryLockError::WouldBlock)));
        assert_eq!(io::read_to_string(looking).unwrap(), "4711");
        drop(first);
        try_lock(&second).unwrap();
    }

    #[test]
    fn a_folder_and_a_file_with_two_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open_lock_file(folder.path()).is_err());
        let (target, link) = (folder.path().join("precious"), folder.path().join("lock"));
        std::fs::write(&target, "content").unwrap();
        std::fs::hard_link(&target, &link).unwrap();
        assert!(
            open_lock_file(&link)
                .unwrap_err()
                .to_string()
                .contains("hard link")
        );
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "content");
    }
}
