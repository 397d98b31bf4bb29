//! What a hello is answered, decided without a database.

use crate::error::Refusal;
use crate::generation::{Generation, ServerGeneration};
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

/// The generation that a hello has to be of. `before` is what the computer spoke until now, where it has keys: only a
/// signed hello brings one that has signed back to the keyed generation.
pub(super) fn generation(
    server: ServerGeneration,
    before: Option<Generation>,
    agent_version: Option<&str>,
) -> Generation {
    match (server, before) {
        (ServerGeneration::September2022, _) => Generation::Keyed,
        (ServerGeneration::Current, Some(Generation::Signed)) => Generation::Signed,
        (ServerGeneration::Current, _) => Generation::of_agent(agent_version),
    }
}

/// Decides whether a hello may pass. `proves` tells whether the request is made with a key.
pub(super) fn standing(
    own_key: Option<&Key>,
    known: bool,
    registration_key: &Key,
    self_registration: bool,
    generation: Generation,
    proves: impl Fn(&Key) -> bool,
) -> Result<Standing, Refusal> {
    match (own_key, generation) {
        (Some(key), _) if proves(key) => Ok(Standing::Registered),
        (Some(_), Generation::Signed) => Err(Refusal::InvalidSignature),
        (Some(_), Generation::Keyed) => Err(Refusal::KeyMismatch),
        (None, _) if proves(registration_key) => match known || self_registration {
            true => Ok(Standing::New),
            false => Err(Refusal::RegistrationDisabled),
        },
        (None, Generation::Signed) => Err(Refusal::InvalidSignature),
        (None, Generation::Keyed) => Err(Refusal::RegistrationKeyMismatch),
    }
}

/// Whether an inventory is wanted.
pub(in crate::agent_api) fn wants_update(
    state: &ComputerState,
    asked: bool,
    now: Timestamp,
    interval: Duration,
) -> bool {
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
        decide_as(Generation::Signed, own, known, open, signed)
    }

    fn decide_as(
        generation: Generation,
        own: bool,
        known: bool,
        open: bool,
        used: &str,
    ) -> Result<Standing, String> {
        let own_key = Key::new(OWN);
        standing(
            own.then_some(&own_key),
            known,
            &Key::new(REGISTRATION),
            open,
            generation,
            |key| key.expose() == used,
        )
        .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_keyed_computer_is_told_which_key_is_wrong() {
        let keyed = |own, known, open, used| decide_as(Generation::Keyed, own, known, open, used);
        assert_eq!(keyed(true, true, true, OWN), Ok(Standing::Registered));
        assert_eq!(
            keyed(true, true, true, REGISTRATION),
            Err("Agent key mismatch".into())
        );
        assert_eq!(keyed(false, false, true, REGISTRATION), Ok(Standing::New));
        let wrong = Err("Agent registration key mismatch".into());
        assert_eq!(keyed(false, false, true, "other"), wrong);
        let disabled = Err("Client self-registration is disabled".into());
        assert_eq!(keyed(false, false, false, REGISTRATION), disabled);
    }

    #[test]
    fn only_a_signed_hello_leads_back_to_the_keyed_generation() {
        let current = |before, version| generation(ServerGeneration::Current, before, Some(version));
        assert_eq!(current(None, "0.13.8"), Generation::Keyed);
        assert_eq!(current(Some(Generation::Keyed), "0.13.8"), Generation::Keyed);
        assert_eq!(current(Some(Generation::Keyed), "1.2.0"), Generation::Signed);
        assert_eq!(current(Some(Generation::Signed), "0.13.8"), Generation::Signed);
        let old = generation(ServerGeneration::September2022, Some(Generation::Signed), None);
        assert_eq!(old, Generation::Keyed);
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
