//! Folders and files that only the agent's user can enter and read.

use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Creates the folder that staging folders are made in, and those on the way.
pub(in crate::host::system) fn create_root(folder: &Path) -> io::Result<()> {
    create_folders(folder)
}

/// For a folder of unpredictable name.
pub(in crate::host::system) fn unnamed_folder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o700));
    builder
}

/// Creates a folder, and those on the way.
pub(in crate::host::system) fn create_folders(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// For writing a file.
pub(in crate::host::system) fn file(executable: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(if executable { 0o700 } else { 0o600 });
    options
}

/// Whether a name means something else than a file of that name: none does.
pub(in crate::host::system) fn is_special(_name: &OsStr) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use crate::host::Staging;
    use crate::host::system::staging::SystemStaging;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_staged_is_private_and_keeps_the_executable_bit() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(&root.path().join("new/root")).unwrap();
        staging.create_file(Path::new("a/b/setup.sh"), true).unwrap();
        staging.create_file(Path::new("c/data"), false).unwrap();
        let folder = staging.folder().to_owned();
        assert_eq!(mode(&folder.join("a/b/setup.sh")), 0o700);
        assert_eq!(mode(&folder.join("c/data")), 0o600);
        assert_eq!(
            [
                mode(&folder),
                mode(folder.parent().unwrap()),
                mode(&root.path().join("new/root")),
                mode(&folder.join("a"))
            ],
            [0o700; 4]
        );
    }

    #[test]
    fn no_file_is_made_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(root.path()).unwrap();
        let outside = root.path().join("outside");
        std::os::unix::fs::symlink(&outside, staging.folder().join("link")).unwrap();
        assert!(staging.create_file(Path::new("link"), false).is_err());
        assert!(!outside.exists());
    }
}
