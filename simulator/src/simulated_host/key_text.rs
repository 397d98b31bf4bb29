//! A key in a virtual agent's state: the 30 characters that servers generate take no allocation.

use std::fmt;

/// Length of the keys that a server generates.
const SERVER_KEY_LENGTH: usize = 30;

/// A key's text, in 32 bytes for the keys that servers generate and for shorter ones.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum KeyText {
    /// Bytes of valid UTF-8, filled up with NUL.
    Short([u8; SERVER_KEY_LENGTH]),
    /// Anything that doesn't fit.
    Long(Box<str>),
}

impl KeyText {
    pub(super) fn new(text: &str) -> Self {
        let mut short = [0; SERVER_KEY_LENGTH];
        match short.get_mut(..text.len()) {
            Some(start) if !text.contains('\0') => {
                start.copy_from_slice(text.as_bytes());
                Self::Short(short)
            }
            _ => Self::Long(text.into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short(bytes) => {
                let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                // Only `new` makes one, from a string.
                std::str::from_utf8(&bytes[..length]).unwrap_or_default()
            }
            Self::Long(text) => text,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Short(_) => 0,
            Self::Long(text) => text.len(),
        }
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.as_str().is_empty() {
            "KeyText(empty)"
        } else {
            "KeyText(***)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_read_back() {
        for text in [
            "",
            "k",
            "3z7ry2fi245dfgy5zhflhm7cv8zetw",
            "a registration key of more than thirty bytes",
            "nul\0inside",
        ] {
            assert_eq!(KeyText::new(text).as_str(), text);
        }
        assert_eq!(size_of::<Option<KeyText>>(), 32);
    }

    #[test]
    fn debug_output_never_shows_the_key() {
        assert_eq!(format!("{:?}", KeyText::new("secret")), "KeyText(***)");
    }
}
