//! The files of a new package and what else of it is checked, whichever surface it comes in by.

use crate::store::packages::{AddPackage, Procedure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a ZIP archive that is not empty begins with.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// One file as it comes in.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFile {
    /// Its path inside the package.
    #[schema(min_length = 1)]
    name: String,
    /// Base64.
    #[schema(content_encoding = "base64")]
    content: String,
}

/// Checks codes and actions; the error says what is wrong.
pub(crate) fn check(package: &AddPackage) -> Result<(), String> {
    for Procedure {
        success_codes,
        post_action,
        ..
    } in [&package.install, &package.uninstall]
    {
        check_codes(success_codes)?;
        if !(0..=3).contains(post_action) {
            return Err("post_action must be 0, 1, 2 or 3".into());
        }
    }
    if !(0..=2).contains(&package.upgrade_behavior) {
        return Err("upgrade_behavior must be 0, 1 or 2".into());
    }
    Ok(())
}

fn check_codes(list: &str) -> Result<(), String> {
    let mut codes = list.split(',').map(str::trim).filter(|code| !code.is_empty());
    match codes.find(|code| code.parse::<i64>().is_err()) {
        Some(code) => Err(format!("success_codes: {code:?} is no integer")),
        None => Ok(()),
    }
}

/// The archive of a package's files, made beside the threads that serve requests.
pub(crate) async fn archive_off_thread(files: Vec<NewFile>) -> Result<Option<Bytes>, String> {
    tokio::task::spawn_blocking(move || archive(&files))
        .await
        .unwrap_or_else(|_| Err("the files cannot be zipped".into()))
}

/// The one ZIP as it is, or all files zipped.
fn archive(files: &[NewFile]) -> Result<Option<Bytes>, String> {
    let mut names = BTreeSet::new();
    let mut decoded = Vec::with_capacity(files.len());
    for file in files {
        let name = &file.name;
        let inside = !name
            .split(['/', '\\'])
            .any(|part| matches!(part, "" | "." | ".."))
            && !name.contains(['\0', ':']);
        if !inside || !names.insert(name) {
            return Err(format!(
                "{name:?} is no file name inside a package, or is there twice"
            ));
        }
        let content = STANDARD
            .decode(&file.content)
            .map_err(|error| format!("the content of {name:?} is no base64: {error}"))?;
        decoded.push((name, content));
    }
    match decoded.as_slice() {
        [] => Ok(None),
        [(_, content)] if content.starts_with(ZIP_MAGIC) => {
            Ok(decoded.pop().map(|(_, content)| content.into()))
        }
        _ => zipped(&decoded)
            .map(Some)
            .map_err(|error| format!("cannot zip the files: {error}")),
    }
}

fn zipped(files: &[(&String, Vec<u8>)]) -> Result<Bytes, zip::result::ZipError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file(name.as_str(), options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn file(name: &str, content: &[u8]) -> NewFile {
        NewFile {
            name: name.into(),
            content: STANDARD.encode(content),
        }
    }

    #[test]
    fn files_are_zipped_and_a_zip_is_left_alone() {
        let zip = archive(&[file("a.sh", b"echo"), file("sub/b", b"")])
            .unwrap()
            .unwrap();
        let mut read = zip::ZipArchive::new(Cursor::new(zip.clone())).unwrap();
        let mut content = String::new();
        read.by_name("a.sh")
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "echo");
        assert_eq!(archive(&[file("x.zip", &zip)]).unwrap().unwrap(), zip);
        assert!(archive(&[]).unwrap().is_none());
    }

    #[test]
    fn names_that_leave_the_package_are_refused() {
        for name in ["", "../a", "/a", "a/../b", "C:\\a", "a\0"] {
            assert!(archive(&[file(name, b"")]).is_err(), "{name:?}");
        }
        assert!(archive(&[file("a", b""), file("a", b"")]).is_err());
        assert!(
            archive(&[NewFile {
                name: "a".into(),
                content: "%".into()
            }])
            .is_err()
        );
    }

    #[test]
    fn success_codes_are_integers() {
        assert!(check_codes("0, 3010,-1").is_ok());
        assert!(check_codes("").is_ok());
        assert!(check_codes("0,ok").is_err());
    }
}
