//! Files: reading with a limit, replacing durably.

use super::privilege::Privilege;
use super::{acl, text};
pub(super) use crate::host::system::files::list;
use crate::host::system::files::{PREFIX, READ_LIMIT, SUFFIX, content_at_most, remove_leftovers};
use crate::host::{HostError, Result, Space, Visibility};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use windows::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, HANDLE};
use windows::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_FLAG_BACKUP_SEMANTICS, FILE_READ_ATTRIBUTES, FILE_RENAME_INFO,
    FILE_SHARE_READ, FileRenameInfo, GetDiskFreeSpaceExW, READ_CONTROL, SYNCHRONIZE,
    SetFileInformationByHandle, WRITE_DAC, WRITE_OWNER,
};
use windows::core::PCWSTR;

/// How often a rename is tried again that somebody's look at the file prevents: virus scanners and indexers open what
/// was just written.
const RENAMES: u32 = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The content of a regular file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    read_at_most(path, READ_LIMIT).map_err(|error| HostError::new("read", path.display(), error))
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    content_at_most(File::open(path)?, limit)
}

/// A file to add lines to, made if there is none, for nobody but administrators and the system: also one that was made before for
/// others to read. On volumes that know no lists of access it is as its folder is.
pub(crate) fn open_private_log(path: &Path) -> io::Result<File> {
    let rights = FILE_APPEND_DATA.0 | FILE_READ_ATTRIBUTES.0 | SYNCHRONIZE.0 | READ_CONTROL.0 | WRITE_DAC.0;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .access_mode(rights)
        .open(path)?;
    let _ = acl::private()?.apply(&file);
    Ok(file)
}

/// Space on the volume that is mounted there.
pub(super) fn space(mountpoint: &Path) -> Result<Space> {
    let measure = || -> io::Result<Space> {
        let path = text::wide(mountpoint)?;
        let (mut available, mut total, mut free) = (0, 0, 0);
        // SAFETY: the path has its end mark, and everything lives until the function returns.
        unsafe {
            let path = PCWSTR(path.as_ptr());
            GetDiskFreeSpaceExW(
                path,
                Some(&raw mut available),
                Some(&raw mut total),
                Some(&raw mut free),
            )
        }
        .map_err(text::error)?;
        Ok(Space {
            used: total.saturating_sub(free),
            available,
        })
    };
    measure().map_err(|error| HostError::new("measure", mountpoint.display(), error))
}

/// Replaces a file so that the path holds the old or the new content at every moment, power loss included.
pub(super) fn write(path: &Path, content: &[u8], visibility: Visibility) -> Result<()> {
    replace(path, content, visibility).map_err(|error| HostError::new("write", path.display(), error))
}

fn replace(path: &Path, content: &[u8], visibility: Visibility) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::ErrorKind::IsADirectory.into()),
    };
    std::fs::create_dir_all(folder)?;
    let mut temporary = Temporary::create(folder)?;
    match visibility {
        Visibility::Private => acl::private()?.apply(&temporary.file)?,
        Visibility::AsBefore if path.symlink_metadata().is_ok() => as_before(path, &temporary.file)?,
        // What the folder hands down.
        Visibility::AsBefore => {}
    }
    temporary.file.write_all(content)?;
    temporary.file.sync_all()?;
    temporary.rename(path)
}

/// Gives the new file the old one's list and owner.
fn as_before(path: &Path, file: &File) -> io::Result<()> {
    let before = acl::of_file(path)?;
    before.apply(file)?;
    if before.owner()? != acl::own_sid()? {
        let _privileges = Privilege::enable_all(&Privilege::RESTORE)?;
        before.give(file)?;
    }
    Ok(())
}

/// A file under another name until it is complete, removed on drop unless it was renamed.
///
/// Its writer has it open so that nobody else can open or remove it, until the writer's end. So whoever writes into the
/// folder next can tell a leftover from a write that is under way, and nobody reads what is not private yet.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<Self> {
        // Fails for a file that is being written.
        remove_leftovers(folder, |path| std::fs::remove_file(path).is_ok());
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = folder.join(format!("{PREFIX}{:016x}{SUFFIX}", u64::from_ne_bytes(random)));
        let rights = GENERIC_READ.0 | GENERIC_WRITE.0 | DELETE.0 | READ_CONTROL.0 | WRITE_DAC.0;
        let file = OpenOptions::new()
            .access_mode(rights | WRITE_OWNER.0)
            .share_mode(0)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self {
            file,
            path: Some(path),
        })
    }

    /// Takes the place of whatever has the name `to`.
    fn rename(mut self, to: &Path) -> io::Result<()> {
        let mut renames = 1;
        loop {
            match rename(&self.file, to) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && renames < RENAMES => {
                    renames += 1;
                    std::thread::park_timeout(PAUSE);
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        self.path = None;
        // The new name, too, is on the disk then.
        self.file.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody can open it before it is closed; the next write removes what is left.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Renames an open file.
fn rename(file: &File, to: &Path) -> io::Result<()> {
    let to: Vec<u16> = std::path::absolute(to)?.as_os_str().encode_wide().collect();
    let length = to.len() * size_of::<u16>();
    // The structure has the name's first character, and the end mark comes to it.
    let size = size_of::<FILE_RENAME_INFO>() + length;
    // In words, as the structure is aligned.
    let mut buffer = vec![0_u64; size.div_ceil(size_of::<u64>())];
    let information = buffer.as_mut_ptr().cast::<FILE_RENAME_INFO>();
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidFilename);
    // SAFETY: the buffer is as long as the structure with the whole name, aligned for it, and lives until the function
    // returns; the file is open.
    unsafe {
        (*information).Anonymous.ReplaceIfExists = true;
        (*information).FileNameLength = u32::try_from(length).map_err(too_long)?;
        let name = (&raw mut (*information).FileName).cast::<u16>();
        name.copy_from_nonoverlapping(to.as_ptr(), to.len());
        SetFileInformationByHandle(
            HANDLE(file.as_raw_handle()),
            FileRenameInfo,
            information.cast(),
            u32::try_from(size).map_err(too_long)?,
        )
    }
    .map_err(text::error)
}

/// Removes a file, durably; one that is not there is no error.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|error| HostError::new("remove", path.display(), error)),
    }
}

/// Makes a folder private, with all that will be in it; its parents are created.
pub(super) fn create_private_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let rights = READ_CONTROL.0 | WRITE_DAC.0;
    let opened = OpenOptions::new()
        .access_mode(rights)
        .share_mode(FILE_SHARE_READ.0)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS.0)
        .open(folder)?;
    acl::private()?.apply(&opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/file.txt");
        for (content, visibility) in [
            ("first, which is longer", Visibility::AsBefore),
            ("second", Visibility::Private),
            ("third", Visibility::AsBefore),
        ] {
            write(&path, content.as_bytes(), visibility).unwrap();
            assert_eq!(read(&path).unwrap(), content.as_bytes());
        }
        assert_eq!(list(path.parent().unwrap()).unwrap(), ["file.txt"]);
    }

    #[test]
    fn leftovers_go_with_the_next_write_and_files_that_are_written_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".oco-agent-dead.tmp"), b"half").unwrap();
        std::fs::write(folder.path().join("notes.tmp"), b"x").unwrap();
        let writing = Temporary::create(folder.path()).unwrap();
        write(&folder.path().join("a"), b"1", Visibility::AsBefore).unwrap();
        let name = writing
            .path
            .as_ref()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(list(folder.path()).unwrap(), [name.as_str(), "a", "notes.tmp"]);
    }

    #[test]
    fn writers_in_one_folder_do_not_take_each_other_for_dead() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|threads| {
            for writer in 0..4 {
                let folder = folder.path();
                threads.spawn(move || {
                    for round in 0..25 {
                        let content = format!("{writer} {round}");
                        write(
                            &folder.join(writer.to_string()),
                            content.as_bytes(),
                            Visibility::AsBefore,
                        )
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&folder.path().join("3")).unwrap(), b"3 24");
        write(&folder.path().join("0"), b"", Visibility::AsBefore).unwrap();
        assert_eq!(list(folder.path()).unwrap(), ["0", "1", "2", "3"]);
    }

    #[test]
    fn what_is_missing_or_no_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(read(&missing).unwrap_err().is_not_found());
        remove(&missing).unwrap();
        assert!(read(folder.path()).is_err());
        assert!(list(&missing).unwrap_err().is_not_found());
        std::fs::write(&missing, "x").unwrap();
        remove(&missing).unwrap();
        assert!(!missing.exists());
        assert!(read_at_most(&std::env::current_exe().unwrap(), 100).is_err());
    }

    #[test]
    fn a_volume_has_space() {
        let space = space(&std::env::temp_dir()).unwrap();
        assert!(space.used > 0 && space.available > 0, "{space:?}");
    }
}
