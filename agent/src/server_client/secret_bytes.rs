//! Bytes that may hold keys or passwords: bodies of requests and responses.

use serde::Serialize;
use std::io::{self, Write};
use zeroize::Zeroizing;

/// Bytes that are wiped from memory when dropped, and also what they leave behind where they grow.
#[derive(Default)]
pub(super) struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// A value as JSON.
    pub(super) fn json<T: Serialize>(value: &T) -> serde_json::Result<Self> {
        let mut bytes = Self::default();
        serde_json::to_writer(&mut bytes, value)?;
        Ok(bytes)
    }

    /// Adds bytes at the end.
    pub(super) fn extend(&mut self, more: &[u8]) {
        let needed = self.0.len() + more.len();
        if needed > self.0.capacity() {
            let mut grown = Vec::with_capacity(needed.max(2 * self.0.capacity()));
            grown.extend_from_slice(&self.0);
            // The old one is wiped as it is dropped.
            self.0 = Zeroizing::new(grown);
        }
        self.0.extend_from_slice(more);
    }
}

impl AsRef<[u8]> for SecretBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Write for SecretBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_the_same_as_they_grow() {
        let mut bytes = SecretBytes::default();
        let expected: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for piece in expected.chunks(7) {
            bytes.extend(piece);
        }
        assert_eq!(*bytes, *expected);
        let json = SecretBytes::json(&serde_json::json!({"a": ["b", 1]})).unwrap();
        assert_eq!(&*json, br#"{"a":["b",1]}"#);
    }
}
