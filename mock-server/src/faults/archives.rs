//! Archives with entries that lead out of the folder they are unpacked in.

use super::rule::PackageFault;
use axum::body::Bytes;
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;

const CONTENT: &[u8] = b"this file must not leave its folder\n";

/// The archive that a fault hands out instead of a package.
pub(super) fn hostile(is: PackageFault) -> Result<Bytes, ZipError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    match is {
        PackageFault::AbsoluteEntry => zip.start_file("/tmp/escaped", options)?,
        PackageFault::LinkEntry => {
            zip.add_symlink("link", "../..", options)?;
            zip.start_file("link/escaped", options)?;
        }
        _ => zip.start_file("../escaped", options)?,
    }
    zip.write_all(CONTENT)?;
    Ok(zip.finish()?.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::ZipArchive;

    #[test]
    fn names_are_as_hostile_as_asked() {
        for (is, name) in [
            (PackageFault::ParentEntry, "../escaped"),
            (PackageFault::AbsoluteEntry, "/tmp/escaped"),
            (PackageFault::LinkEntry, "link"),
        ] {
            let mut archive = ZipArchive::new(Cursor::new(hostile(is).unwrap())).unwrap();
            let entry = archive.by_index(0).unwrap();
            assert_eq!(entry.name().unwrap(), name);
            assert_eq!(entry.is_symlink(), is == PackageFault::LinkEntry);
        }
    }
}
