//! Encryption of rotated passwords: AES-256-CBC with PKCS#7 padding under the agent key.

use crate::{Key, lenient};
use aes::Aes256;
use base64::{Engine, engine::general_purpose::STANDARD};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Length of the initialisation vector, bytes. It must be random and fresh for every password.
pub const IV_LENGTH: usize = 16;
const KEY_LENGTH: usize = 32;

/// A password that was not encrypted with the expected key, or is no encrypted password at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be decrypted with this agent key")]
pub struct DecryptError;

/// An encrypted password as it goes over the wire; both parts in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedPassword {
    /// Initialisation vector.
    pub iv: String,
    /// Ciphertext.
    pub data: String,
}

impl EncryptedPassword {
    /// Encrypts `password` under `agent_key`.
    pub fn encrypt(agent_key: &Key, iv: [u8; IV_LENGTH], password: &str) -> Self {
        let key = cipher_key(agent_key);
        let data = cbc::Encryptor::<Aes256>::new((&*key).into(), (&iv).into())
            .encrypt_padded_vec::<Pkcs7>(password.as_bytes());
        Self {
            iv: STANDARD.encode(iv),
            data: STANDARD.encode(data),
        }
    }

    /// The password in clear, wiped when dropped.
    pub fn decrypt(&self, agent_key: &Key) -> Result<Zeroizing<String>, DecryptError> {
        let iv: [u8; IV_LENGTH] = STANDARD
            .decode(&self.iv)
            .ok()
            .and_then(|iv| iv.try_into().ok())
            .ok_or(DecryptError)?;
        let data = STANDARD.decode(&self.data).map_err(|_| DecryptError)?;
        let key = cipher_key(agent_key);
        let clear = cbc::Decryptor::<Aes256>::new((&*key).into(), (&iv).into())
            .decrypt_padded_vec::<Pkcs7>(&data)
            .map_err(|_| DecryptError)?;
        match String::from_utf8(clear) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(DecryptError)
            }
        }
    }
}

/// The first 32 bytes of the agent key, padded with NUL bytes.
fn cipher_key(agent_key: &Key) -> Zeroizing<[u8; KEY_LENGTH]> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    for (slot, byte) in key.iter_mut().zip(agent_key.expose().bytes()) {
        *slot = byte;
    }
    key
}

/// One password of `oco.agent.passwords`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordReport {
    /// Whose it is.
    pub username: String,
    /// The encrypted password.
    pub password: EncryptedPassword,
    /// True: this password was not set after all, forget it.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "lenient::flag"
    )]
    pub revoke: bool,
}

/// `data` of `oco.agent.passwords`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordsData {
    /// The passwords to store or to revoke.
    pub passwords: Vec<PasswordReport>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_of_the_existing_agent_decrypt() {
        // transcripts/signed/020: two passwords under the transcripts' agent key; their alphabets and lengths are in 006.
        let key = Key::new("j2oijn45xofcfg68tfbcj7oliidlz3");
        let local = EncryptedPassword {
            iv: "1UD8D4tZeg17LGednogkbw==".into(),
            data: "NRuidrKYjwxC3/e1kYU9mQ==".into(),
        };
        let local = local.decrypt(&key).unwrap();
        assert_eq!(local.len(), 15);
        assert!(local.chars().all(|c| c.is_ascii_alphanumeric()));
        let ghost = EncryptedPassword {
            iv: "5DLi/HWrymPY0U/2GzHYDQ==".into(),
            data: "mOoWmB32UsaXWEC/uIuOLg==".into(),
        };
        let ghost = ghost.decrypt(&key).unwrap();
        assert_eq!(ghost.len(), 12);
        assert!(ghost.chars().all(|c| "abcdef123456".contains(c)));
    }

    #[test]
    fn rubbish_is_refused_and_not_shown() {
        let key = Key::new("k");
        for (iv, data) in [
            ("", ""),
            ("AAAA", "AAAA"),
            ("!", "!"),
            ("1UD8D4tZeg17LGednogkbw==", ""),
        ] {
            let rubbish = EncryptedPassword {
                iv: iv.into(),
                data: data.into(),
            };
            assert_eq!(rubbish.decrypt(&key).unwrap_err(), DecryptError);
        }
    }

    proptest! {
        #[test]
        fn every_password_survives_encryption(key in ".{0,50}", iv: [u8; 16], password in ".{0,100}") {
            let key = Key::new(key);
            let encrypted = EncryptedPassword::encrypt(&key, iv, &password);
            prop_assert_eq!(&*encrypted.decrypt(&key).unwrap(), &password);
        }
    }
}
