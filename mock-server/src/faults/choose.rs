//! Which of the fitting exchanges a fault befalls. Every draw comes from (seed, rule, computer, how many exchanges of that
//! computer the rule has fitted), so that the same seed makes the same faults however requests interleave.

use super::rule::{DelayMs, Selector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Computers whose exchanges are counted; the others share one count.
const MAX_COMPUTERS: usize = 1 << 20;
/// Longest drawn delay, ms: a day.
const MAX_MS: f64 = 86_400_000.0;

/// The draws of one rule.
#[derive(Debug)]
pub(super) struct Choice {
    seed: u64,
    rule: u64,
    /// How often it may still be chosen.
    left: Option<AtomicU64>,
    /// Fitting exchanges by computer.
    seen: Mutex<HashMap<[u8; 16], u64>>,
}

impl Choice {
    pub(super) fn new(seed: u64, rule: u64, select: &Selector) -> Self {
        Self {
            seed,
            rule,
            left: select.first.map(AtomicU64::new),
            seen: Mutex::default(),
        }
    }

    /// Whether the fault befalls this exchange.
    pub(super) fn draw(&self, select: &Selector, hostname: &str) -> bool {
        let number = self.count(hostname);
        if number < select.skip {
            return false;
        }
        let hit = select
            .share
            .is_none_or(|share| self.generator(hostname, number, 0).random::<f64>() < share);
        hit && self.left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1))
                .is_ok()
        })
    }

    /// The fault could not be committed: it may befall another exchange.
    pub(super) fn give_back(&self) {
        if let Some(left) = &self.left {
            left.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How long a request of this computer waits.
    pub(super) fn delay(&self, delay: &DelayMs, hostname: &str) -> Duration {
        let number = self.seen(hostname);
        let mut generator = self.generator(hostname, number, 1);
        let ms = match delay {
            DelayMs::Fixed { ms } => return Duration::from_millis(*ms),
            DelayMs::Uniform { min, max } => {
                return Duration::from_millis(generator.random_range(*min..=*max));
            }
            DelayMs::LogNormal { median, sigma } => {
                LogNormal::new(median.ln(), *sigma).map_or(*median, |delays| delays.sample(&mut generator))
            }
        };
        Duration::from_secs_f64(ms.clamp(0.0, MAX_MS) / 1000.0)
    }

    /// How many exchanges of this computer came before, this one now included.
    fn count(&self, hostname: &str) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = key(hostname);
        if seen.len() >= MAX_COMPUTERS && !seen.contains_key(&key) {
            key = [0; 16];
        }
        let count = seen.entry(key).or_default();
        *count += 1;
        *count - 1
    }

    fn seen(&self, hostname: &str) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&key(hostname)).copied().unwrap_or(0)
    }

    fn generator(&self, hostname: &str, number: u64, purpose: u64) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        for part in [self.seed, self.rule, number, purpose] {
            hash.update(part.to_le_bytes());
        }
        hash.update(hostname.to_lowercase());
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

fn key(hostname: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&Sha256::digest(hostname.to_lowercase())[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, hostname: &str, count: usize) -> Vec<bool> {
        let select = Selector {
            share: Some(0.5),
            ..Selector::default()
        };
        let choice = Choice::new(seed, 1, &select);
        (0..count).map(|_| choice.draw(&select, hostname)).collect()
    }

    #[test]
    fn the_same_seed_chooses_the_same_exchanges_of_each_computer() {
        assert_eq!(draws(1, "pc", 64), draws(1, "PC", 64));
        assert_ne!(draws(1, "pc", 64), draws(2, "pc", 64));
        assert_ne!(draws(1, "pc", 64), draws(1, "pc-2", 64));
        let hits = draws(3, "pc", 1000).into_iter().filter(|hit| *hit).count();
        assert!((400..600).contains(&hits), "{hits}");
    }

    #[test]
    fn the_first_are_skipped_and_the_number_is_limited() {
        let select = Selector {
            skip: 1,
            first: Some(2),
            ..Selector::default()
        };
        let choice = Choice::new(0, 1, &select);
        let drawn: Vec<_> = (0..5).map(|_| choice.draw(&select, "pc")).collect();
        assert_eq!(drawn, [false, true, true, false, false]);
        choice.give_back();
        assert!(choice.draw(&select, "pc"));
    }

    #[test]
    fn delays_are_distributed_as_asked() {
        let select = Selector::default();
        let choice = Choice::new(0, 1, &select);
        let mut delays: Vec<_> = (0..501)
            .map(|_| {
                choice.draw(&select, "pc");
                let delay = DelayMs::LogNormal {
                    median: 100.0,
                    sigma: 1.0,
                };
                choice.delay(&delay, "pc")
            })
            .collect();
        delays.sort_unstable();
        let median = delays[250].as_millis();
        assert!((80..125).contains(&median), "{median}");
        assert!(delays[500] > 5 * delays[250], "the tail is long");
        let uniform = choice.delay(&DelayMs::Uniform { min: 5, max: 6 }, "pc");
        assert!((5..=6).contains(&uniform.as_millis()));
    }
}
