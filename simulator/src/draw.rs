//! Seeded draws: every random choice of a run comes from (seed, purpose, index), so that the same seed makes the same
//! plan whatever the server, the clock and the scheduling of tasks do. These are the choices of the run itself; what the
//! machines are has draws of its own ([`crate::generate::Draw`]), so that neither ever changes the other.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a draw is for. Each purpose has its own stream of numbers, so that a new draw for one of them never changes the
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Which system an agent runs.
    OperatingSystem = 1,
    /// How far a check-in is off its regular time.
    Jitter = 2,
    /// When within the ramp an agent joins.
    Ramp = 3,
    /// What is in a package's file.
    Package = 4,
    /// Which generation of the protocol an agent speaks.
    Generation = 5,
    /// How wrong its clock is.
    Clock = 6,
    /// Whether it is offline at times.
    Offline = 7,
    /// Whether and when it joins late.
    Join = 8,
    /// Whether and when it leaves.
    Leave = 9,
    /// Whether and when its machine gets another name.
    Rename = 10,
    /// Whether its machine is a copy, and when it joins.
    Copy = 11,
    /// What an adversary does.
    Adversary = 12,
}

/// The generator of one choice: `index` is the agent, `round` tells repeated choices of one agent apart.
pub fn generator(seed: u64, purpose: Purpose, index: u32, round: u32) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    let (head, tail) = bytes.split_at_mut(16);
    head[..8].copy_from_slice(&seed.to_le_bytes());
    head[8..].copy_from_slice(&(purpose as u64).to_le_bytes());
    tail[..4].copy_from_slice(&index.to_le_bytes());
    tail[4..8].copy_from_slice(&round.to_le_bytes());
    ChaCha8Rng::from_seed(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn every_part_of_the_origin_changes_the_numbers() {
        let number = |seed, purpose, index, round| generator(seed, purpose, index, round).next_u64();
        let first = number(1, Purpose::Jitter, 1, 1);
        assert_eq!(first, number(1, Purpose::Jitter, 1, 1));
        assert_ne!(first, number(2, Purpose::Jitter, 1, 1));
        assert_ne!(first, number(1, Purpose::Ramp, 1, 1));
        assert_ne!(first, number(1, Purpose::Jitter, 2, 1));
        assert_ne!(first, number(1, Purpose::Jitter, 1, 2));
    }
}
