//! Files that somebody else names (a policy), in folders of any kind: nobody but root and the agent's own user may be
//! able to have the agent read or change another file than the named one.
//!
//! Each folder on the way is opened relative to the one before. Links are followed only where they are root's or the
//! agent's own; the file itself is none. Everything then happens relative to the folder that was opened last, whatever
//! becomes of its name. So a folder may be a service's own: what its owner can exchange is in that folder, too. Only
//! folders that everybody can write to are refused, unless they are sticky, and there the files of others.
//!
//! Where open folders have no path (systems other than Linux), every folder on the way has to be one that nobody else can
//! write to.

use super::{files, lock_file};
use crate::host::{HostError, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// Whether what happens to a file is bound to its opened folder. Else names are walked again, so nobody else may be able to
/// change what they lead to.
const BOUND_TO_FOLDER: bool = cfg!(target_os = "linux");
/// Links that are followed on the way, at most.
const MOST_LINKS: usize = 40;

/// The content of a file; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = || {
        let Some(place) = Place::find(path, Missing::IsEnd)? else {
            return Ok(None);
        };
        let file = place.open()?;
        file.map(files::content).transpose()
    };
    read().map_err(|error| HostError::new("read", path.display(), error))
}

/// Replaces a file as [`files::write`] does, or creates it. It keeps its owner and its mode.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let replace = || {
        let place = Place::find(path, Missing::Create)?.ok_or(io::ErrorKind::NotFound)?;
        let before = place.open()?.map(|file| file.metadata()).transpose()?;
        files::put(&place.path(), content, &files::Permit::of(before.as_ref()))
    };
    replace().map_err(|error| HostError::new("write", path.display(), error))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let remove = || match Place::find(path, Missing::IsEnd)? {
        Some(place) => files::remove(&place.path()).map_err(|error| error.source),
        None => Ok(()),
    };
    remove().map_err(|error| HostError::new("remove", path.display(), error))
}

/// What to do about folders that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsEnd,
    Create,
}

/// A file's folder, opened, and the file's name in it.
struct Place {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    folder: File,
    /// The folder's path, for systems whose open folders have none.
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    named: PathBuf,
    name: OsString,
    /// Others can make files in the folder.
    shared: bool,
    /// They can, but none of them in the place of another's.
    sticky: bool,
}

impl Place {
    /// None if a folder on the way is missing and is not to be created.
    fn find(path: &Path, missing: Missing) -> io::Result<Option<Self>> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        let Some(walk) = Walk::to(path.parent().unwrap_or(Path::new("/")), missing)? else {
            return Ok(None);
        };
        let metadata = walk.folder.metadata()?;
        let shared = metadata.mode() & 0o022 != 0 || !lock_file::is_trusted(&metadata);
        Ok(Some(Self {
            folder: walk.folder,
            named: walk.path,
            name,
            shared,
            sticky: shared && metadata.mode() & 0o1000 != 0,
        }))
    }

    /// Leads to the file by way of the open folder.
    #[cfg(target_os = "linux")]
    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        Path::new("/proc/self/fd")
            .join(self.folder.as_raw_fd().to_string())
            .join(&self.name)
    }

    /// The path as it was walked: nobody else can change what it leads to.
    #[cfg(not(target_os = "linux"))]
    fn path(&self) -> PathBuf {
        self.named.join(&self.name)
    }

    /// The file, if there is one.
    fn open(&self) -> io::Result<Option<File>> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.path());
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return refused("it is a symbolic link: name the file that it points to".to_owned());
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        // Whoever made it in a shared folder chose what it is.
        if self.shared && metadata.nlink() > 1 {
            return refused("it has a second name, which anybody may have given it: remove it".to_owned());
        }
        if self.sticky && !lock_file::is_trusted(&metadata) {
            return refused(format!(
                "it is in a folder that others can write to, and belongs to user {}: remove it",
                metadata.uid()
            ));
        }
        Ok(Some(file))
    }
}

/// The way to a folder.
struct Walk {
    folder: File,
    path: PathBuf,
    links: usize,
}

impl Walk {
    fn to(path: &Path, missing: Missing) -> io::Result<Option<Self>> {
        let mut walk = Self {
            folder: File::open("/")?,
            path: PathBuf::from("/"),
            links: 0,
        };
        walk.check()?;
        let mut left: VecDeque<OsString> = parts(path);
        while let Some(part) = left.pop_front() {
            if let Some(target) = walk.link(&part)? {
                if target.is_absolute() {
                    walk.folder = File::open("/")?;
                    walk.path = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
            } else if !walk.enter(&part, missing)? {
                return Ok(None);
            }
        }
        Ok(Some(walk))
    }

    /// Where a link leads that has this name; none if it is no link.
    fn link(&mut self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        let status = match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let path = self.path.join(name);
        if !lock_file::is_trusted_user(status.st_uid) {
            return refused(format!(
                "{} is a link of user {}: remove it",
                path.display(),
                status.st_uid
            ));
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return refused(format!("{} is one of too many links", path.display()));
        }
        let target = rustix::fs::readlinkat(&self.folder, name, Vec::new())?;
        Ok(Some(OsString::from_vec(target.into_bytes()).into()))
    }

    /// Goes into a folder. False if it is missing and is not to be created.
    fn enter(&mut self, name: &OsStr, missing: Missing) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |folder: &File| rustix::fs::openat(folder, name, flags, Mode::empty());
        let opened = match open(&self.folder) {
            Err(rustix::io::Errno::NOENT) if missing == Missing::IsEnd => return Ok(false),
            Err(rustix::io::Errno::NOENT) => {
                match rustix::fs::mkdirat(&self.folder, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => self.folder.sync_all()?,
                    Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open(&self.folder)
            }
            opened => opened,
        };
        let error = |error: rustix::io::Errno| {
            let error = io::Error::from(error);
            io::Error::new(
                error.kind(),
                format!("{}: {error}", self.path.join(name).display()),
            )
        };
        self.folder = opened.map_err(error)?.into();
        if name == ".." {
            self.path.pop();
        } else {
            self.path.push(name);
        }
        self.check()?;
        Ok(true)
    }

    /// Refuses a folder that everybody can put things into, or anybody else where that would lead elsewhere.
    fn check(&self) -> io::Result<()> {
        let metadata: Metadata = self.folder.metadata()?;
        let path = self.path.display();
        let open = if BOUND_TO_FOLDER {
            metadata.mode() & 0o1002 == 0o002
        } else {
            lock_file::others_may(&metadata, lock_file::WRITE)
        };
        if open {
            return refused(format!(
                "other users can write into the folder {path} (mode {:o}): run chmod go-w {path}, or name a file elsewhere",
                metadata.mode() & 0o7777
            ));
        }
        if !BOUND_TO_FOLDER && !lock_file::is_trusted(&metadata) {
            return refused(format!(
                "the folder {path} belongs to user {}: give it to root, or name a file elsewhere",
                metadata.uid()
            ));
        }
        Ok(())
    }
}

/// The names on a path, with `..` for the way up.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}

fn refused<T>(reason: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn reason<T>(result: Result<T>) -> String {
        result.err().unwrap().source.to_string()
    }

    #[test]
    fn a_file_is_created_with_its_folders_read_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file.json");
        assert_eq!(read(&path).unwrap(), None);
        remove(&path).unwrap();
        assert!(!folder.path().join("a").exists());
        replace(&path, b"one").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"one");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o644);
        set_mode(&path, 0o640);
        replace(&path, b"two").unwrap();
        assert_eq!(
            (
                read(&path).unwrap().unwrap(),
                path.metadata().unwrap().mode() & 0o7777
            ),
            (b"two".to_vec(), 0o640)
        );
        assert_eq!(files::list(path.parent().unwrap()).unwrap(), ["file.json"]);
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn the_owner_of_a_file_stays_its_owner() {
        if rustix::process::geteuid().as_raw() != 0 {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), Some(54321)).unwrap();
        replace(&path, b"y").unwrap();
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused_and_named_wherever_it_is_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        // On a Mac, the way to temporary folders leads over a link.
        let open = folder.path().canonicalize().unwrap().join("open");
        std::fs::create_dir_all(open.join("inner")).unwrap();
        set_mode(&open, 0o777);
        for path in [
            "open/file",
            "open/inner/file",
            "open/new/file",
            "open/inner/../../file",
        ] {
            let path = folder.path().join(path);
            for reason in [
                reason(read(&path)),
                reason(replace(&path, b"x")),
                reason(remove(&path)),
            ] {
                assert!(
                    reason.contains(&format!("the folder {} (mode 777)", open.display()))
                        && reason.contains("chmod go-w"),
                    "{reason}"
                );
            }
        }
        assert_eq!(files::list(&open).unwrap(), ["inner"]);
        set_mode(&open, 0o1777);
        replace(&open.join("file"), b"x").unwrap();
        assert_eq!(read(&open.join("file")).unwrap().unwrap(), b"x");
    }

    #[test]
    fn what_another_user_has_put_into_a_sticky_folder_is_refused() {
        if rustix::process::geteuid().as_raw() != 0 {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        set_mode(&shared, 0o1777);
        std::fs::write(shared.join("file"), "x").unwrap();
        std::os::unix::fs::chown(shared.join("file"), Some(12345), None).unwrap();
        symlink(folder.path(), shared.join("link")).unwrap();
        std::os::unix::fs::lchown(shared.join("link"), Some(12345), None).unwrap();
        assert!(reason(read(&shared.join("file"))).contains("belongs to user 12345"));
        assert!(reason(replace(&shared.join("file"), b"y")).contains("belongs to user 12345"));
        assert!(reason(read(&shared.join("link/file"))).contains("a link of user 12345"));
        assert_eq!(std::fs::read_to_string(shared.join("file")).unwrap(), "x");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_service_keeps_its_own_files_and_cannot_lead_the_agent_out_of_its_folder() {
        if rustix::process::geteuid().as_raw() != 0 {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (secret, home) = (folder.path().join("secret"), folder.path().join("home"));
        std::fs::write(&secret, "root's").unwrap();
        std::fs::create_dir(&home).unwrap();
        let own = home.join("settings.json");
        std::fs::write(&own, "{}").unwrap();
        for path in [&home, &own] {
            std::os::unix::fs::chown(path, Some(12345), Some(54321)).unwrap();
        }
        set_mode(&home, 0o770);
        set_mode(&own, 0o640);
        replace(&own, b"{\"a\":1}").unwrap();
        assert_eq!(read(&own).unwrap().unwrap(), b"{\"a\":1}");
        let metadata = own.metadata().unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
            (12345, 54321, 0o640)
        );

        let (link, hard, way) = (home.join("link"), home.join("hard"), home.join("way"));
        symlink(&secret, &link).unwrap();
        std::fs::hard_link(&secret, &hard).unwrap();
        symlink(folder.path(), &way).unwrap();
        std::os::unix::fs::lchown(&way, Some(12345), None).unwrap();
        for (path, why) in [
            (link, "symbolic link"),
            (hard, "second name"),
            (way.join("secret"), "a link of user 12345"),
        ] {
            assert!(reason(read(&path)).contains(why), "{why}");
            assert!(reason(replace(&path, b"x")).contains(why), "{why}");
        }
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "root's");
    }

    #[test]
    fn links_of_the_administrator_lead_on_and_the_file_itself_must_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real/deep");
        std::fs::create_dir_all(&real).unwrap();
        symlink("real/deep", folder.path().join("relative")).unwrap();
        symlink(&real, folder.path().join("absolute")).unwrap();
        symlink("turning", folder.path().join("turning")).unwrap();
        for name in ["relative", "absolute"] {
            replace(&folder.path().join(name).join("file"), name.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(real.join("file")).unwrap(), name);
        }
        assert!(reason(read(&folder.path().join("turning/file"))).contains("too many links"));
        symlink("file", real.join("link")).unwrap();
        assert!(reason(read(&real.join("link"))).contains("symbolic link"));
        assert!(reason(replace(&real.join("link"), b"x")).contains("symbolic link"));
        assert!(real.join("link").is_symlink());
        assert!(read(&real.join("file/below")).is_err());
    }

    #[test]
    fn a_folder_that_is_exchanged_after_it_was_opened_is_still_the_one_that_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let (place, moved) = (folder.path().join("place"), folder.path().join("moved"));
        std::fs::create_dir(&place).unwrap();
        let found = Place::find(&place.join("file"), Missing::IsEnd).unwrap().unwrap();
        std::fs::rename(&place, &moved).unwrap();
        std::fs::create_dir(&place).unwrap();
        let permit = files::Permit::of(None);
        if cfg!(target_os = "linux") {
            files::put(&found.path(), b"x", &permit).unwrap();
            assert!(moved.join("file").exists() && !place.join("file").exists());
        }
    }
}
