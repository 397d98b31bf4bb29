//! HMAC-SHA256 signatures over the exact bytes of a body.
//!
//! Both directions sign alike: the agent with its agent key in `x-oco-agent-signature`, the server with its server key
//! in `x-oco-server-signature`. The value is lower-case hexadecimal; upper case is refused, as the real server does.

use crate::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Header that carries the agent's signature of a request. Must be lower-case on the wire.
pub const AGENT_SIGNATURE_HEADER: &str = "x-oco-agent-signature";
/// Header that carries the server's signature of a response.
pub const SERVER_SIGNATURE_HEADER: &str = "x-oco-server-signature";

/// Signs `body` with `key`: 64 lower-case hexadecimal digits.
pub fn sign(key: &Key, body: &[u8]) -> String {
    String::from_utf8_lossy(&hex_mac(key, body)).into_owned()
}

/// Whether `signature` is the one of `body` under `key`, compared in constant time.
pub fn verify(key: &Key, body: &[u8], signature: &str) -> bool {
    hex_mac(key, body).as_slice().ct_eq(signature.as_bytes()).into()
}

fn hex_mac(key: &Key, body: &[u8]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [b'0'; 64];
    // HMAC takes keys of every length, so this never fails; were it to, the zeros match no signature that anyone made.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) {
        mac.update(body);
        for (pair, byte) in hex.chunks_exact_mut(2).zip(mac.finalize().into_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0xf)];
        }
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_4231_test_case_2_matches() {
        let signature = sign(&Key::new("Jefe"), b"what do ya want for nothing?");
        assert_eq!(
            signature,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn upper_case_signature_is_refused() {
        let key = Key::new("k");
        let signature = sign(&key, b"body");
        assert!(verify(&key, b"body", &signature));
        assert!(!verify(&key, b"body", &signature.to_uppercase()));
    }

    proptest! {
        #[test]
        fn only_the_same_key_and_body_verify(key in ".{0,80}", body: Vec<u8>, other in ".{0,80}", flip: usize) {
            let signature = sign(&Key::new(key.clone()), &body);
            prop_assert!(verify(&Key::new(key.clone()), &body, &signature));
            // HMAC pads keys with NUL bytes, so keys that differ only in those are the same key.
            if key.trim_end_matches('\0') != other.trim_end_matches('\0') {
                prop_assert!(!verify(&Key::new(other), &body, &signature));
            }
            if !body.is_empty() {
                let mut changed = body;
                let at = flip % changed.len();
                changed[at] ^= 1;
                prop_assert!(!verify(&Key::new(key), &changed, &signature));
            }
        }

        #[test]
        fn no_text_as_signature_panics(signature in ".{0,200}") {
            prop_assert!(!verify(&Key::new("k"), b"body", &signature));
        }
    }
}
