//! Random draws: one ChaCha stream for each topic of each machine.

use super::Machine;
use oco_agent::host::Os;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is drawn. Each topic has a stream of its own, so that a new draw in one leaves all others as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Topic {
    /// Hardware, operating system, defects: the profile.
    Profile = 1,
    /// Host name.
    Name,
    /// Serial number, UUID.
    Identity,
    /// Network interfaces.
    Network,
    /// File systems.
    Volumes,
    /// One local account.
    User,
    /// Which software is installed; items are catalogue entries where there is one stream for each.
    Software,
    /// How a procedure ends.
    Procedure,
    /// The system's random source.
    Random,
    /// Logins of one day.
    Login,
    /// Screens, printers, USB devices, the battery's rhythm.
    Peripherals,
    /// What the journal says about one moment.
    Journal,
    /// Users of a directory.
    Directory,
    /// Applications beside the distribution's packages.
    Applications,
    /// Checks of services that an administrator has set up.
    ServiceChecks,
    /// What Windows' logs say about one moment, or one day.
    WindowsLog,
}

/// A stream of draws.
///
/// All mappings from random bits to values are here, not in a crate whose next version may map them differently: the
/// same seed has to give the same fleet for as long as possible.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of one item of a topic.
    pub fn new(machine: Machine, topic: Topic, item: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&machine.seed.to_le_bytes());
        key[8..16].copy_from_slice(&machine.index.to_le_bytes());
        key[16..24].copy_from_slice(&item.to_le_bytes());
        key[24..28].copy_from_slice(&(topic as u32).to_le_bytes());
        key[28] = match machine.os {
            Os::Linux => 0,
            Os::MacOs => 1,
            Os::Windows => 2,
        };
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The stream of an item that has a name instead of a number.
    pub fn of_text(machine: Machine, topic: Topic, item: &str) -> Self {
        Self::new(machine, topic, hash(item.as_bytes()))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`; 0 where `end` is 0.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the high word of the product is below `end`"
    )]
    pub fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(end)) >> 32) as u32
    }

    /// An index into something of `length` items.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(u32::try_from(length).unwrap_or(u32::MAX)) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = u128::from(high.saturating_sub(low)) + 1;
        low + u64::try_from((u128::from(self.0.next_u64()) * span) >> 64).unwrap_or(0)
    }

    /// From 0 to 1, 1 excluded.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn fraction(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in that many cases of a thousand.
    pub fn permille(&mut self, share: u32) -> bool {
        self.below(1000) < share
    }

    /// One of `items`, or `fallback` where there are none.
    pub fn pick_or<T: Copy>(&mut self, items: &[T], fallback: T) -> T {
        let index = self.index(items.len());
        items.get(index).copied().unwrap_or(fallback)
    }

    /// One of `items`.
    pub fn pick<T: Copy, const N: usize>(&mut self, items: &[T; N]) -> T {
        const { assert!(N > 0) }
        items[self.index(N)]
    }

    /// One of `items`, by their weights; the first where all weights are zero.
    pub fn weighted<'a, T>(&mut self, items: &'a [T], weight: impl Fn(&T) -> u32) -> Option<&'a T> {
        let mut rest = self.below(items.iter().map(&weight).sum());
        for item in items {
            let weight = weight(item);
            if rest < weight {
                return Some(item);
            }
            rest -= weight;
        }
        items.first()
    }

    /// Appends `count` characters of `alphabet`.
    pub fn text(&mut self, alphabet: &[u8], count: usize, text: &mut String) {
        for _ in 0..count {
            text.push(char::from(self.pick_or(alphabet, b'0')));
        }
    }

    /// Fills `buffer`.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// The stream itself, for crates that draw on their own.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }
}

/// FNV-1a: spreads names over streams, and catalogue entries over versions.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine {
        seed: 1,
        index: 2,
        os: Os::Linux,
    };

    #[test]
    fn every_part_of_the_key_gives_another_stream() {
        let first = |machine: Machine, topic, item| Draw::new(machine, topic, item).next_u64();
        let base = first(MACHINE, Topic::Name, 0);
        assert_eq!(base, first(MACHINE, Topic::Name, 0));
        assert_ne!(base, first(MACHINE, Topic::Name, 1));
        assert_ne!(base, first(MACHINE, Topic::Network, 0));
        assert_ne!(base, first(Machine { seed: 2, ..MACHINE }, Topic::Name, 0));
        assert_ne!(base, first(Machine { index: 3, ..MACHINE }, Topic::Name, 0));
        assert_ne!(
            base,
            first(
                Machine {
                    os: Os::Windows,
                    ..MACHINE
                },
                Topic::Name,
                0
            )
        );
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut draw = Draw::new(MACHINE, Topic::Name, 0);
        let seen: std::collections::BTreeSet<u64> = (0..200).map(|_| draw.between(3, 7)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        assert_eq!(draw.below(0), 0);
        assert_eq!(draw.between(u64::MAX, u64::MAX), u64::MAX);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&draw.fraction())));
        assert_eq!(draw.weighted(&[0, 5, 0], |weight| *weight), Some(&5));
        assert_eq!(draw.weighted(&[] as &[u32], |weight| *weight), None);
    }
}
