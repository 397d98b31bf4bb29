//! Packages.

use super::{Body, created, text};
use crate::error::ApiError;
use crate::state::ServerState;
use crate::store::packages::AddPackage;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::sync::Arc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a ZIP archive that is not empty begins with.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPackage {
    name: String,
    version: String,
    #[serde(default)]
    procedure: String,
    /// Comma-separated return codes; empty: every code is a success.
    #[serde(default = "zero")]
    success_codes: String,
    /// 0 nothing, 1 restart, 2 shutdown, 3 the agent exits.
    #[serde(default)]
    post_action: i64,
    /// One ZIP archive, or files that are zipped.
    #[serde(default)]
    files: Vec<NewFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFile {
    name: String,
    /// Base64.
    content: String,
}

fn zero() -> String {
    "0".into()
}

/// Lists packages.
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "packages": state.store.packages().await? })))
}

/// Adds a package.
pub(crate) async fn create(
    State(state): State<Arc<ServerState>>,
    Body(new): Body<NewPackage>,
) -> Result<impl IntoResponse, ApiError> {
    let (name, version) = (text("name", &new.name, 255)?, text("version", &new.version, 255)?);
    check_success_codes(&new.success_codes)?;
    if !(0..=3).contains(&new.post_action) {
        return Err(ApiError::Invalid("post_action must be 0, 1, 2 or 3".into()));
    }
    let files = new.files;
    let archive = tokio::task::spawn_blocking(move || archive(&files))
        .await
        .map_err(|_| ApiError::Invalid("the files cannot be zipped".into()))??;
    let write = AddPackage {
        name: name.clone(),
        version: version.clone(),
        procedure: new.procedure,
        success_codes: new.success_codes,
        post_action: new.post_action,
        archive,
        now: state.now(),
    };
    let id = state.store.write(write).await?;
    let id =
        id.ok_or_else(|| ApiError::Conflict(format!("there is a package {name:?} {version:?} already")))?;
    Ok(created(json!({ "id": id })))
}

fn check_success_codes(list: &str) -> Result<(), ApiError> {
    let mut codes = list.split(',').map(str::trim).filter(|code| !code.is_empty());
    match codes.find(|code| code.parse::<i64>().is_err()) {
        Some(code) => Err(ApiError::Invalid(format!(
            "success_codes: {code:?} is no integer"
        ))),
        None => Ok(()),
    }
}

/// The archive of a package's files: the one ZIP as it is, or all of them zipped.
fn archive(files: &[NewFile]) -> Result<Option<Bytes>, ApiError> {
    let mut names = BTreeSet::new();
    let mut decoded = Vec::with_capacity(files.len());
    for file in files {
        let name = &file.name;
        let inside = !name
            .split(['/', '\\'])
            .any(|part| matches!(part, "" | "." | ".."))
            && !name.contains(['\0', ':']);
        if !inside || !names.insert(name) {
            return Err(ApiError::Invalid(format!(
                "{name:?} is no file name inside a package, or is there twice"
            )));
        }
        let content = STANDARD
            .decode(&file.content)
            .map_err(|error| ApiError::Invalid(format!("the content of {name:?} is no base64: {error}")))?;
        decoded.push((name, content));
    }
    match decoded.as_slice() {
        [] => Ok(None),
        [(_, content)] if content.starts_with(ZIP_MAGIC) => {
            Ok(decoded.pop().map(|(_, content)| content.into()))
        }
        _ => zipped(&decoded)
            .map(Some)
            .map_err(|error| ApiError::Invalid(format!("cannot zip the files: {error}"))),
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
        assert!(check_success_codes("0, 3010,-1").is_ok());
        assert!(check_success_codes("").is_ok());
        assert!(check_success_codes("0,ok").is_err());
    }
}
