//! What a hello is answered, decided without a database.

use crate::error::Refusal;
use crate::store::ComputerState;
use oco_protocol::{Key, Timestamp};
use std::time::Duration;

/// Who says hello, as far as the signature tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Has keys and used its own.
    Registered,
    /// Has no keys yet and used the registration key.
    New,
}

/// Decides whether a hello may pass. `signed_with` tells whether the request is signed with a key.
pub(super) fn standing(
    own_key: Option<&Key>,
    known: bool,
    registration_key: &Key,
    self_registration: bool,
    signed_with: impl Fn(&Key) -> bool,
) -> Result<Standing, Refusal> {
    match own_key {
        Some(key) if signed_with(key) => Ok(Standing::Registered),
        None if !signed_with(registration_key) => Err(Refusal::InvalidSignature),
        None if known || self_registration => Ok(Standing::New),
        None => Err(Refusal::RegistrationDisabled),
        Some(_) => Err(Refusal::InvalidSignature),
    }
}

/// Whether an inventory is wanted.
pub(super) fn wants_update(state: &ComputerState, asked: bool, now: Timestamp, interval: Duration) -> bool {
    let age = |last: Timestamp| now.as_micros().saturating_sub(last.as_micros());
    asked
        || state.force_update
        || state
            .last_update
            .is_none_or(|last| u128::from(age(last)) >= interval.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "own";
    const REGISTRATION: &str = "registration";

    fn decide(own: bool, known: bool, open: bool, signed: &str) -> Result<Standing, String> {
        let own_key = Key::new(OWN);
        standing(
            own.then_some(&own_key),
            known,
            &Key::new(REGISTRATION),
            open,
            |key| key.expose() == signed,
        )
        .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_computer_with_a_key_must_use_it() {
        assert_eq!(decide(true, true, true, OWN), Ok(Standing::Registered));
        assert_eq!(
            decide(true, true, true, REGISTRATION),
            Err("Invalid agent signature".into())
        );
    }

    #[test]
    fn a_pre_registered_computer_registers_even_where_self_registration_is_off() {
        assert_eq!(decide(false, true, false, REGISTRATION), Ok(Standing::New));
        assert_eq!(
            decide(false, true, false, "other"),
            Err("Invalid agent signature".into())
        );
    }

    #[test]
    fn an_unknown_computer_needs_self_registration_and_the_key() {
        assert_eq!(decide(false, false, true, REGISTRATION), Ok(Standing::New));
        assert_eq!(
            decide(false, false, true, "other"),
            Err("Invalid agent signature".into())
        );
        let disabled = Err("Client self-registration is disabled".into());
        assert_eq!(decide(false, false, false, REGISTRATION), disabled);
    }

    #[test]
    fn an_update_is_wanted_at_first_when_asked_for_and_when_old() {
        let interval = Duration::from_secs(10);
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        let mut state = ComputerState::default();
        assert!(wants_update(&state, false, at(100), interval));
        state.last_update = Some(at(100));
        assert!(!wants_update(&state, false, at(109), interval));
        assert!(!wants_update(&state, false, at(50), interval));
        assert!(wants_update(&state, false, at(110), interval));
        assert!(wants_update(&state, true, at(101), interval));
        state.force_update = true;
        assert!(wants_update(&state, false, at(101), interval));
    }
}
