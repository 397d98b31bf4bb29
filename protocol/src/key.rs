//! Shared secrets: agent keys, server keys and registration keys.

use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A shared secret of the protocol, as UTF-8 text (30 characters where a server generated it).
///
/// It is wiped from memory when dropped, compared in constant time (its length is no secret), and its `Debug` output
/// never shows it. Serialising it writes the secret:
/// that is what the first response of a server needs.
#[derive(Clone, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Wraps `text` as a key.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for signing, encrypting and storing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no secret at all: an empty value in a config means "none yet".
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Key(empty)"
        } else {
            "Key(***)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_equal_to_the_letter() {
        assert_eq!(Key::new("abc"), Key::new("abc"));
        for other in ["", "ab", "abd", "ABC", "abc "] {
            assert_ne!(Key::new("abc"), Key::new(other));
        }
    }

    #[test]
    fn debug_output_never_shows_the_secret() {
        assert_eq!(format!("{:?}", Key::new("tell-nobody")), "Key(***)");
        assert_eq!(format!("{:?}", Some(Key::new(""))), "Some(Key(empty))");
    }
}
