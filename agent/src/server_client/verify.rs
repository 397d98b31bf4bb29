//! What makes a response a proven one: its signature or its server key, its envelope and its timestamp. Nothing of it is
//! used before.

use super::error::{Distrust, ExchangeError, shortened};
use super::transport::Incoming;
use super::words::Clocks;
use oco_protocol::lenient::Success;
use oco_protocol::rpc::Method;
use oco_protocol::{Key, Timestamp, signature};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a response has to stand up to.
#[derive(Clone, Copy)]
pub(super) struct Standard<'a> {
    pub(super) method: Method,
    /// The stored one; empty before registration.
    pub(super) server_key: &'a Key,
    /// Timestamp of the last response accepted.
    pub(super) last: Timestamp,
    /// For the words of an error.
    pub(super) clocks: Clocks,
}

/// What passed all checks.
pub(super) struct Proven<P> {
    pub(super) params: P,
    /// To be remembered; none where nothing proves it.
    pub(super) timestamp: Option<Timestamp>,
    /// The server key to be stored, where this is the first contact.
    pub(super) first_server_key: Option<Key>,
}

impl Standard<'_> {
    pub(super) fn untrusted(&self, distrust: Distrust) -> ExchangeError {
        ExchangeError::Untrusted {
            method: self.method,
            distrust,
        }
    }

    /// The response is signed with `key`.
    pub(super) fn check_signature(&self, response: &Incoming, key: &Key) -> Result<(), ExchangeError> {
        let distrust = match &response.signature {
            None => Distrust::Unsigned,
            Some(signature) if signature::verify(key, &response.body, signature) => return Ok(()),
            Some(_) => Distrust::WrongSignature,
        };
        Err(self.untrusted(distrust))
    }

    /// The response is newer than the last one.
    pub(super) fn check_timestamp(&self, timestamp: Timestamp) -> Result<(), ExchangeError> {
        if timestamp > self.last {
            return Ok(());
        }
        Err(self.untrusted(Distrust::NotNewer {
            timestamp,
            last: self.last,
            clocks: self.clocks.to_string(),
        }))
    }

    /// The envelope reports no failure.
    pub(super) fn check_outcome(
        &self,
        error: Option<&Value>,
        success: &Success,
    ) -> Result<(), ExchangeError> {
        let method = self.method;
        if let Some(error) = error {
            let reason = format!("it reports the error {}", shortened(&error.to_string()));
            return Err(ExchangeError::Malformed { method, reason });
        }
        if !success.is_yes() {
            return Err(ExchangeError::Declined { method });
        }
        Ok(())
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ExchangeError> {
        serde_json::from_slice(body).map_err(|error| ExchangeError::Malformed {
            method: self.method,
            reason: shortened(&error.to_string()),
        })
    }
}

/// Whether a key can be written into the configuration and read back as the same key.
pub(super) fn is_storable(key: &Key) -> bool {
    let text = key.expose();
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) && text != "None"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_not_survive_the_configuration_are_refused() {
        for bad in [
            "",
            " abc",
            "abc ",
            "a b",
            "x\n[agent]\nquery-interval = 0",
            "None",
            "k\u{e9}y",
            &"k".repeat(201),
        ] {
            assert!(!is_storable(&Key::new(bad)), "{bad:?}");
        }
        assert!(is_storable(&Key::new("j2oijn45xofcfg68tfbcj7oliidlz3")));
        assert!(is_storable(&Key::new("a;b#c=d:e")));
    }
}
