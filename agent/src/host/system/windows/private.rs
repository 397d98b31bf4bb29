//! Folders and files that only administrators and the system can enter and read: what is made in a private folder gets
//! its access control list.

use super::files;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

/// Creates the folder that staging folders are made in, and those on the way.
pub(in crate::host::system) fn create_root(folder: &Path) -> io::Result<()> {
    files::create_private_folder(folder)
}

/// For a folder of unpredictable name.
pub(in crate::host::system) fn unnamed_folder() -> tempfile::Builder<'static, 'static> {
    tempfile::Builder::new()
}

/// Creates a folder, and those on the way.
pub(in crate::host::system) fn create_folders(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// For writing a file. There is no permission to run: every file with the right name can be run.
pub(in crate::host::system) fn file(_executable: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

/// Whether a name means something else than a file of that name: a stream, a device, or the name without its end.
pub(in crate::host::system) fn is_special(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return true };
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_uppercase();
    let numbered = |prefix: &str| {
        let number = stem.strip_prefix(prefix).unwrap_or_default();
        matches!(number, "¹" | "²" | "³")
            || number.len() == 1 && number.bytes().all(|digit| digit.is_ascii_digit())
    };
    name.contains(|c: char| c.is_control() || r#"<>:"|?*"#.contains(c))
        || name.ends_with(['.', ' '])
        || DEVICES.contains(&stem.as_str())
        || numbered("COM")
        || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use crate::host::Staging;
    use crate::host::system::staging::SystemStaging;
    use crate::host::system::windows::acl;
    use std::path::Path;

    #[test]
    fn what_is_staged_is_private() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new");
        let _staging = SystemStaging::create(&folder).unwrap();
        let access = acl::access(&folder).unwrap();
        assert!(!access.others_write && !access.others_read, "{access:?}");
    }

    #[test]
    fn a_name_that_is_no_files_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut staging = SystemStaging::create(root.path()).unwrap();
        for path in [
            r"..\escaped",
            r"C:\escaped",
            r"\escaped",
            "file:stream",
            "nul",
            "NUL.txt",
            "com1",
            "lpt9.log",
            "end.",
            "end ",
        ] {
            assert!(staging.create_file(Path::new(path), false).is_err(), "{path}");
            assert!(staging.create_folder(Path::new(path)).is_err(), "{path}");
        }
        for path in ["console", "com", "common.txt", ".hidden"] {
            assert!(staging.create_file(Path::new(path), false).is_ok(), "{path}");
        }
    }
}
