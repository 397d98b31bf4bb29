//! Timestamps of the protocol: UNIX seconds with a fraction, strictly growing in each direction.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The smallest step between two timestamps an agent sends: the server stores four decimals.
const AGENT_STEP_MICROS: u64 = 100;

/// A moment in UNIX time, exact to the microsecond.
///
/// On the wire it is a JSON number of seconds (a string of the same digits is accepted). Agents send at most four
/// decimals, servers up to six.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// A text or number that is no timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a timestamp: expected UNIX seconds such as 1795329638.1731")]
pub struct InvalidTimestamp(String);

impl Timestamp {
    /// The start of UNIX time: earlier than everything a peer sends.
    pub const ZERO: Self = Self(0);

    /// From microseconds since the start of UNIX time.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of UNIX time.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// From a clock's reading; a clock before 1970 reads as [`Timestamp::ZERO`].
    pub fn from_system_time(time: SystemTime) -> Self {
        let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// UNIX seconds with the fraction, as the wire has it. Values up to the year 2255 keep their microseconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What an agent sends next: `now` cut to four decimals, or one step after `last` where the clock has not moved on
    /// (or was set back), so that the server never sees time stand still.
    pub fn next_to_send(now: Self, last: Self) -> Self {
        let now = now.0 - now.0 % AGENT_STEP_MICROS;
        let last_step = last.0.next_multiple_of(AGENT_STEP_MICROS);
        let after_last = if last_step > last.0 {
            last_step
        } else {
            last.0.saturating_add(AGENT_STEP_MICROS)
        };
        Self(now.max(after_last))
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    fn from_secs_f64(seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        // The bound is far above any clock and below where the conversion would saturate.
        (micros.is_finite() && (0.0..1e18).contains(&micros)).then_some(Self(micros as u64))
    }
}

impl fmt::Display for Timestamp {
    /// Seconds with as many decimals as needed, up to six.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(f, "{seconds}");
        }
        let decimals = format!("{micros:06}");
        write!(f, "{seconds}.{}", decimals.trim_end_matches('0'))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        text.parse()
            .ok()
            .and_then(Self::from_secs_f64)
            .ok_or_else(|| InvalidTimestamp(text.to_owned()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000_000) {
            serializer.serialize_u64(self.0 / 1_000_000)
        } else {
            serializer.serialize_f64(self.as_secs_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("UNIX seconds as a number or a numeric string")
            }

            #[allow(clippy::cast_precision_loss)]
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Timestamp, E> {
                self.visit_f64(v as f64)
            }

            #[allow(clippy::cast_precision_loss)]
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Timestamp, E> {
                self.visit_f64(v as f64)
            }

            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Timestamp, E> {
                Timestamp::from_secs_f64(v).ok_or_else(|| E::custom(InvalidTimestamp(v.to_string())))
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<Timestamp, E> {
                v.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wire_values_of_both_sides_survive_a_round_trip() {
        for wire in [
            "1795329638.1731",
            "1795329638.312903",
            "1795329638",
            "1795329788.49",
        ] {
            let timestamp: Timestamp = serde_json::from_str(wire).unwrap();
            assert_eq!(serde_json::to_string(&timestamp).unwrap(), wire);
            assert_eq!(timestamp.to_string(), wire);
            let text: Timestamp = serde_json::from_str(&format!("\"{wire}\"")).unwrap();
            assert_eq!(text, timestamp);
        }
    }

    #[test]
    fn values_that_are_no_time_are_refused() {
        for wire in [
            "\"soon\"", "-1", "null", "\"\"", "1e300", "\"NaN\"", "\"inf\"", "[]",
        ] {
            assert!(serde_json::from_str::<Timestamp>(wire).is_err(), "{wire}");
        }
    }

    proptest! {
        #[test]
        fn next_to_send_always_grows_and_has_four_decimals(now in 0u64..1 << 52, last in 0u64..1 << 52) {
            let next = Timestamp::next_to_send(Timestamp(now), Timestamp(last));
            prop_assert!(next > Timestamp(last));
            prop_assert_eq!(next.as_micros() % AGENT_STEP_MICROS, 0);
            prop_assert!(next.as_micros() + AGENT_STEP_MICROS > now);
        }

        #[test]
        fn every_microsecond_survives_json(micros in 0u64..4_000_000_000_000_000) {
            let timestamp = Timestamp(micros);
            let json = serde_json::to_string(&timestamp).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), timestamp);
            prop_assert_eq!(timestamp.to_string().parse::<Timestamp>().unwrap(), timestamp);
        }
    }
}
