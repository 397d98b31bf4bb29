//! Durations as people write them: `90` (seconds), `90s`, `1.5s`, `250ms`, `5m`, `1h`.

use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A year: longer than any run, and far from where arithmetic on times would overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A duration in a scenario or on the command line; at most a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: expected seconds such as 90, or 250ms, 90s, 5m, 1h; at most a year")]
pub struct InvalidSpan(String);

impl Span {
    /// So many whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// In milliseconds, to the nearest.
    pub fn as_millis(self) -> u64 {
        u64::try_from((self.0 + Duration::from_micros(500)).as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "" | "s" => 1.0,
            "ms" => 0.001,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(InvalidSpan(text.to_owned())),
        };
        // Only digits and one point: what the float parser would also take (inf, 1e9, +1) is no duration.
        if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(InvalidSpan(text.to_owned()));
        }
        digits
            .parse::<f64>()
            .ok()
            .and_then(|number| Duration::try_from_secs_f64(number * factor).ok())
            .filter(|duration| *duration <= LONGEST)
            .map(|duration| Self(Duration::from_millis(Self(duration).as_millis())))
            .ok_or_else(|| InvalidSpan(text.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_millis() {
            0 => f.write_str("0s"),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1000 == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 90 (seconds), \"250ms\", \"90s\", \"5m\" or \"1h\"")
            }

            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Span, E> {
                v.to_string().parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Span, E> {
                v.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<Span, E> {
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
    fn every_unit_is_understood() {
        for (text, millis) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("250ms", 250),
            ("1.5s", 1500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            (" 0 ", 0),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().as_millis(), millis, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "s", "-1", "+1", "1e9", "inf", "NaN", "5 m", "5d", "9000h", "1..2", "ß", "1ß",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_survives_its_own_text(millis in 0u64..31_000_000_000) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = text.parse::<Span>();
        }
    }
}
