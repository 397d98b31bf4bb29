//! Files: reading with a limit, replacing durably.

use super::{lock_file, temporary};
pub(crate) use crate::host::system::files::list;
use crate::host::system::files::{READ_LIMIT, content_at_most};
use crate::host::{Access, HostError, Result, Space, Visibility};
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The content of a regular file. Nothing is concluded from the size that the system names: files in `/proc` have none.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    read_at_most(path, READ_LIMIT).map_err(|error| HostError::new("read", path.display(), error))
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening a named pipe without a writer would block for ever otherwise.
    let non_blocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(non_blocking)
        .open(path)?;
    content_at_most(file, limit)
}

/// The content of an open file, if it is a regular one.
pub(super) fn content(file: File) -> io::Result<Vec<u8>> {
    content_at_most(file, READ_LIMIT)
}

/// Space on the file system that is mounted there.
pub(crate) fn space(mountpoint: &Path) -> Result<Space> {
    let blocks =
        blocks(mountpoint).map_err(|error| HostError::new("measure", mountpoint.display(), error))?;
    Ok(Space {
        used: blocks.all.saturating_sub(blocks.free).saturating_mul(blocks.size),
        available: blocks.available.saturating_mul(blocks.size),
    })
}

/// Numbers of blocks, and how many bytes each has.
struct Blocks {
    all: u64,
    free: u64,
    available: u64,
    size: u64,
}

#[cfg(not(target_os = "macos"))]
fn blocks(mountpoint: &Path) -> rustix::io::Result<Blocks> {
    let status = rustix::fs::statvfs(mountpoint)?;
    Ok(Blocks {
        all: status.f_blocks,
        free: status.f_bfree,
        available: status.f_bavail,
        size: status.f_frsize,
    })
}

/// The portable call has 32 bits for numbers of blocks there, which large disks do not fit into.
#[cfg(target_os = "macos")]
fn blocks(mountpoint: &Path) -> rustix::io::Result<Blocks> {
    let status = rustix::fs::statfs(mountpoint)?;
    Ok(Blocks {
        all: status.f_blocks,
        free: status.f_bfree,
        available: status.f_bavail,
        size: status.f_bsize.into(),
    })
}

/// Who can get at a file or folder, by its mode; access control lists are not looked at.
pub(crate) fn access(path: &Path) -> Result<Access> {
    let metadata = path
        .metadata()
        .map_err(|error| HostError::new("look at", path.display(), error))?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    Ok(Access {
        description: format!("mode {mode:04o}, owner {owner}"),
        foreign_owner: !lock_file::is_trusted(&metadata),
        others_read: lock_file::others_may(&metadata, lock_file::READ),
        others_write: lock_file::others_may(&metadata, lock_file::WRITE),
    })
}

/// Replaces a file so that the path holds the old or the new content at every moment, power loss included.
pub(crate) fn write(path: &Path, content: &[u8], visibility: Visibility) -> Result<()> {
    replace(path, content, visibility).map_err(|error| HostError::new("write", path.display(), error))
}

fn replace(path: &Path, content: &[u8], visibility: Visibility) -> io::Result<()> {
    let permit = match visibility {
        Visibility::AsBefore => Permit::of(path.symlink_metadata().ok().as_ref()),
        Visibility::Private => Permit {
            owner: None,
            mode: 0o600,
        },
    };
    put(path, content, &permit)
}

/// Whose a file is to be and who may do what with it.
pub(super) struct Permit {
    /// User and group; none: this user's.
    owner: Option<(u32, u32)>,
    mode: u32,
}

impl Permit {
    /// As it was before; for everybody to read where there was no file.
    pub(super) fn of(before: Option<&Metadata>) -> Self {
        Self {
            owner: before.map(|before| (before.uid(), before.gid())),
            mode: before.map_or(0o644, |before| before.mode() & 0o7777),
        }
    }
}

/// Replaces a file durably, or creates it.
pub(super) fn put(path: &Path, content: &[u8], permit: &Permit) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::ErrorKind::IsADirectory.into()),
    };
    create_folders(folder)?;
    let mut file = temporary::create(folder)?;
    // First the owner, which may clear bits of the mode.
    if let Some((user, group)) = permit.owner {
        std::os::unix::fs::fchown(file.as_file(), Some(user), Some(group))?;
    }
    file.as_file()
        .set_permissions(Permissions::from_mode(permit.mode))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Creates the folders on the way, each of them durably.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folders(parent)?;
    }
    match DirBuilder::new().create(folder) {
        // Somebody else was faster; if that is not a folder, the next step says so.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }?;
    folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), sync_folder)
}

/// A rename is durable only once its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file, durably; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(HostError::new("remove", path.display(), error)),
        Ok(()) => path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or(Ok(()), |folder| {
                sync_folder(folder).map_err(|error| HostError::new("sync", folder.display(), error))
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_without_a_size_are_read_whole() {
        let status = read(Path::new("/proc/self/status")).unwrap();
        assert!(status.starts_with(b"Name:"));
    }

    #[test]
    fn too_large_a_file_is_refused_and_one_of_just_that_size_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read_at_most(&path, 10).unwrap(), b"0123456789");
        assert_eq!(
            read_at_most(&path, 9).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        // Sparse: it takes no room.
        File::create(&path).unwrap().set_len(READ_LIMIT + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_named_pipe_or_a_folder_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(
            read(&pipe).unwrap_err().source.kind(),
            io::ErrorKind::InvalidInput
        );
        assert!(read(folder.path()).is_err());
        assert!(read(&folder.path().join("missing")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_mode_says_who_can_get_at_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"x").unwrap();
        let owner = path.metadata().unwrap().uid();
        for (mode, read, write) in [
            (0o600, false, false),
            (0o660, false, false),
            (0o604, true, false),
            (0o622, false, true),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let expected = Access {
                description: format!("mode {mode:04o}, owner {owner}"),
                foreign_owner: false,
                others_read: read,
                others_write: write,
            };
            assert_eq!(access(&path).unwrap(), expected);
        }
        assert!(access(&folder.path().join("missing")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_written_file_has_its_mode_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        write(&path, b"secret", Visibility::Private).unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap().as_slice(), mode(&path)),
            (&b"secret"[..], 0o600)
        );
        let path = path.with_file_name("new");
        write(&path, b"", Visibility::AsBefore).unwrap();
        assert_eq!(
            (std::fs::read(&path).unwrap().as_slice(), mode(&path)),
            (&b""[..], 0o644)
        );
        assert_eq!(list(path.parent().unwrap()).unwrap(), ["file", "new"]);
    }

    #[test]
    fn a_replaced_file_can_be_read_by_whoever_could_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"new", Visibility::AsBefore).unwrap();
        assert_eq!(mode(&path), 0o644);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let owner = path.metadata().unwrap().uid();
        write(&path, b"newer", Visibility::AsBefore).unwrap();
        assert_eq!((mode(&path), path.metadata().unwrap().uid()), (0o640, owner));
    }

    #[test]
    fn a_write_that_fails_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        std::fs::create_dir_all(path.join("occupied")).unwrap();
        assert!(write(&path, b"new", Visibility::Private).is_err());
        assert_eq!(list(folder.path()).unwrap(), ["taken"]);
        std::fs::write(folder.path().join("plain"), b"x").unwrap();
        assert!(write(&folder.path().join("plain/file"), b"new", Visibility::Private).is_err());
        assert_eq!(list(folder.path()).unwrap(), ["plain", "taken"]);
    }

    #[test]
    fn a_full_disk_is_an_error_and_keeps_the_old_content() {
        // Too large for the limit of this process stands in for a full disk: the write itself fails half-way.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write(&path, b"old", Visibility::Private).unwrap();
        let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact --ignored --nocapture \"$1\"";
        let status = std::process::Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg("host::system::unix::files::tests::child_writes_more_than_it_may")
            .env("OCO_TEST_PATH", &path)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(list(folder.path()).unwrap(), ["state"]);
    }

    #[test]
    #[ignore = "runs as a child of a_full_disk_is_an_error_and_keeps_the_old_content"]
    fn child_writes_more_than_it_may() {
        let Ok(path) = std::env::var("OCO_TEST_PATH") else {
            return;
        };
        assert!(write(Path::new(&path), &[7; 1 << 20], Visibility::Private).is_err());
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"x").unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        assert!(remove(folder.path()).is_err());
    }

    #[test]
    fn the_root_file_system_has_space() {
        let space = space(Path::new("/")).unwrap();
        assert!(
            space.used > 0 && space.used + space.available > 1 << 20,
            "{space:?}"
        );
    }
}
