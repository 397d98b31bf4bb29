//! Secrets on the command line: given there, or better in a file or an environment variable, where other users of the
//! computer do not see them.

use crate::admin::Credentials;
use oco_protocol::Key;
use std::path::Path;

/// Largest file that is read for a secret, bytes.
const MAX_FILE: u64 = 4096;

/// A secret that cannot be had. It is never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SecretError {
    #[error("a key must not be empty")]
    Empty,
    #[error("cannot read the key from {file}: {reason}")]
    File { file: String, reason: String },
    #[error(transparent)]
    Credentials(#[from] crate::admin::InvalidCredentials),
}

/// The key itself, or `@FILE` for the first line of a file.
pub(super) fn key(text: &str) -> Result<Key, SecretError> {
    read(text).map(Key::new)
}

/// `USER:PASSWORD:KEY`, or `@FILE` for the first line of a file.
pub(super) fn credentials(text: &str) -> Result<Credentials, SecretError> {
    Ok(read(text)?.parse()?)
}

fn read(text: &str) -> Result<String, SecretError> {
    let secret = match text.strip_prefix('@') {
        Some(file) => first_line(Path::new(file)).map_err(|error| SecretError::File {
            file: file.to_owned(),
            reason: error.to_string(),
        })?,
        None => text.to_owned(),
    };
    if secret.is_empty() {
        return Err(SecretError::Empty);
    }
    Ok(secret)
}

fn first_line(file: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(file)?.len();
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!("{size} bytes are no key")));
    }
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_given_as_they_are_or_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "admin:hidden:key\nmore\n").unwrap();
        let at = format!("@{}", file.display());
        assert_eq!(key("plain").unwrap().expose(), "plain");
        assert_eq!(key(&at).unwrap().expose(), "admin:hidden:key");
        assert!(credentials(&at).is_ok());
        assert_eq!(key("").unwrap_err(), SecretError::Empty);
        assert!(
            key("@/no/such/file")
                .unwrap_err()
                .to_string()
                .contains("/no/such/file")
        );
        let error = credentials("admin:hidden").unwrap_err().to_string();
        assert!(
            error.contains("USER:PASSWORD:KEY") && !error.contains("hidden"),
            "{error}"
        );
    }
}
