//! The requests of adversaries.

use bytes::Bytes;
use oco_protocol::rpc::{HelloData, Method, Params, Request};
use oco_protocol::{Key, Timestamp};
use rand::Rng;
use std::fmt::Write as _;

/// Larger than what servers take: more than twice the largest inventory that was ever seen.
const OVERSIZED: usize = 17 << 20;
/// Nested deeper than any parser goes.
const DEPTH: usize = 100_000;

/// A hello as an agent would say it.
pub(super) fn hello(hostname: &str, timestamp: Timestamp) -> Bytes {
    let params = Params {
        uid: hostname.to_owned(),
        hostname: hostname.to_owned(),
        timestamp,
        data: HelloData {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            networks: Some(Vec::new()),
            services: None,
            uptime: Some(1.0),
            battery_level: None,
            battery_status: None,
            force_update: false,
        },
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&Request::new(Method::Hello, params))
        .unwrap_or_default()
        .into()
}

/// A key that nobody has.
pub(super) fn random_key(random: &mut impl Rng) -> Key {
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Key::new(text)
}

/// A body of nothing but spaces.
pub(super) fn oversized() -> Bytes {
    vec![b' '; OVERSIZED].into()
}

/// One of the bodies that are no requests.
pub(super) fn malformed(round: u32, now: Timestamp) -> Bytes {
    let good = hello("malformed", now);
    let text = String::from_utf8_lossy(&good).into_owned();
    let bodies: [&dyn Fn() -> Vec<u8>; 10] = [
        &Vec::new,
        &|| good[..good.len() / 2].to_vec(),
        &|| b"null".to_vec(),
        &|| format!("[{text}]").into_bytes(),
        &|| text.replace("\"2.0\"", "\"1.0\"").into_bytes(),
        &|| text.replace("\"id\":1", "\"id\":null").into_bytes(),
        &|| text.replace("\"hostname\"", "\"host\"").into_bytes(),
        &|| text.replace("\"malformed\"", "\"\\ud800\"").into_bytes(),
        &|| {
            text.replace("malformed", "\u{fffd}")
                .into_bytes()
                .iter()
                .map(|b| b | 0x80)
                .collect()
        },
        &|| vec![b'['; DEPTH],
    ];
    pick(&bodies, round)().into()
}

/// A hello with one of the host names that are none.
pub(super) fn hostile(round: u32, now: Timestamp) -> Bytes {
    let names = [
        "\"\"".to_owned(),
        format!("\"{}\"", "a".repeat(201)),
        format!("\"{}\"", "x".repeat(20_000)),
        "7".to_owned(),
        "null".to_owned(),
        "[\"a\"]".to_owned(),
        "{\"a\":\"b\"}".to_owned(),
        "\"\\udfff\"".to_owned(),
    ];
    let name = pick(&names, round);
    let text = String::from_utf8_lossy(&hello("hostile", now)).into_owned();
    let text = text.replacen("\"hostname\":\"hostile\"", &format!("\"hostname\":{name}"), 1);
    text.into_bytes().into()
}

/// One after the other.
fn pick<T, const N: usize>(items: &[T; N], round: u32) -> &T {
    &items[round as usize % N]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_795_329_638_000_000)
    }

    #[test]
    fn malformed_bodies_are_all_different_and_none_is_a_request() {
        let bodies: BTreeSet<_> = (0..10).map(|round| malformed(round, now())).collect();
        assert_eq!(bodies.len(), 10);
        let lone = bodies.iter().filter(|body| {
            let request = serde_json::from_slice::<Request<Params<HelloData>>>(body);
            request.is_ok_and(|request| request.jsonrpc == "2.0" && !request.id.is_null())
        });
        assert_eq!(lone.count(), 0);
    }

    #[test]
    fn hostile_hellos_differ_in_their_names_only() {
        let bodies: BTreeSet<_> = (0..8).map(|round| hostile(round, now())).collect();
        assert_eq!(bodies.len(), 8);
        assert!(
            bodies
                .iter()
                .all(|body| !String::from_utf8_lossy(body).contains("\"hostname\":\"hostile\""))
        );
    }

    #[test]
    fn random_keys_differ() {
        let key = |seed| random_key(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
        assert_ne!(key(1).expose(), key(2).expose());
    }
}
