//! When to do things again: pure functions from what happened and a drawn chance to a waiting time.

use crate::host::Host;
use std::time::Duration;

/// The longest pause between two check-ins after failures.
pub const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// How far a check-in may be off its interval, as a share: computers started together do not stay together.
const JITTER: f64 = 0.1;

/// A draw from 0 (included) to 1 (excluded) from the host's random source; the middle where it has none.
pub fn chance(host: &dyn Host) -> f64 {
    let mut bytes = [0; 4];
    match host.fill_random(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

/// Until the next check-in: the interval after a success, doubled with each failure in a row up to [`MAX_BACKOFF`] (or
/// the interval itself, where that is longer), with jitter.
pub fn next_check_in(interval: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = interval.saturating_mul(2u32.saturating_pow(failures.min(16)));
    let pause = if failures == 0 {
        interval
    } else {
        doubled.min(MAX_BACKOFF.max(interval))
    };
    pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance)
}

/// Until a refused inventory is sent again: around 1, 2, 4, ... seconds, anywhere between half and one and a half of it.
pub fn retry_delay(attempt: u32, chance: f64) -> Duration {
    Duration::from_secs(1 << attempt.min(6)).mul_f64(0.5 + chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failures_double_the_pause_up_to_the_cap() {
        let pause = |failures| next_check_in(Duration::from_secs(60), failures, 0.5).as_secs();
        assert_eq!(
            [pause(0), pause(1), pause(2), pause(3), pause(4), pause(40)],
            [60, 120, 240, 480, 600, 600]
        );
    }

    proptest! {
        #[test]
        fn pauses_stay_within_jitter_and_cap(interval in 1u64..86_400, failures: u32, chance in 0.0..1.0) {
            let interval = Duration::from_secs(interval);
            let pause = next_check_in(interval, failures, chance);
            prop_assert!(pause >= interval.mul_f64(0.899));
            prop_assert!(pause <= MAX_BACKOFF.max(interval).mul_f64(1.101));
        }

        #[test]
        fn retries_are_spread_and_bounded(attempt: u32, chance in 0.0..1.0) {
            let delay = retry_delay(attempt, chance);
            prop_assert!(delay >= Duration::from_millis(500) && delay <= Duration::from_secs(96));
        }
    }
}
