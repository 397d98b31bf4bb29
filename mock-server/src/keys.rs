//! Makes the keys that the server hands out, and compares secrets.

use crate::clock::{Random, RandomError};
use oco_protocol::Key;
use subtle::ConstantTimeEq;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 30;
/// Bytes from here on are drawn again: 252 is the largest multiple of 36 in a byte, so every character is as likely.
const UNBIASED_BELOW: u8 = 252;

/// A new key: 30 lower-case letters and digits.
pub(crate) fn generate(random: &dyn Random) -> Result<Key, RandomError> {
    let mut text = String::with_capacity(LENGTH);
    let mut bytes = [0; 2 * LENGTH];
    while text.len() < LENGTH {
        random.fill(&mut bytes)?;
        let usable = bytes.iter().filter(|byte| **byte < UNBIASED_BELOW);
        let missing = LENGTH - text.len();
        text.extend(
            usable
                .take(missing)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 36)])),
        );
    }
    Ok(Key::new(text))
}

/// Whether `presented` is `key`, in a time that tells only their lengths.
pub(crate) fn same(key: &Key, presented: &str) -> bool {
    key.expose().as_bytes().ct_eq(presented.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;

    #[derive(Debug)]
    struct Broken;
    impl Random for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError("no entropy".into()))
        }
    }

    #[test]
    fn keys_are_30_lower_case_characters_and_differ() {
        let (a, b) = (generate(&SystemRandom).unwrap(), generate(&SystemRandom).unwrap());
        assert_eq!(a.expose().len(), LENGTH);
        assert!(a.expose().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(a.expose(), b.expose());
    }

    #[test]
    fn a_failing_random_source_yields_no_key() {
        assert!(generate(&Broken).is_err());
    }

    #[test]
    fn only_the_same_secret_is_the_same() {
        let key = Key::new("secret");
        assert!(same(&key, "secret"));
        assert!(!same(&key, "Secret") && !same(&key, "secre") && !same(&key, ""));
    }
}
