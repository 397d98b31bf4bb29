//! Values of a scenario that carry their own limits, so that an error names the line and what would be accepted.

use crate::duration::Span;
use oco_protocol::rpc::Method;
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// An integer type with limits: wrong values are refused with the accepted range.
macro_rules! limited {
    ($(#[$doc:meta])* $name:ident, $type:ty, $low:literal, $high:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $type);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = deserializer.deserialize_i64(Whole { low: $low, high: $high })?;
                <$type>::try_from(number).map(Self).map_err(de::Error::custom)
            }
        }
    };
}

limited!(
    /// Number of agents.
    FleetSize, u32, 1, 10000000
);
limited!(
    /// Number of check-ins at once.
    InFlight, u32, 1, 100000
);
limited!(
    /// Number of loopback addresses.
    SourceAddresses, u16, 1, 250
);
limited!(
    /// Size of a package's file, KiB.
    PackageSize, u32, 0, 65536
);

limited!(
    /// Most output of a procedure, bytes.
    Output, u32, 0, 1048576
);
limited!(
    /// Number of adversaries of one kind.
    Attackers, u16, 1, 1000
);
limited!(
    /// Length of a password.
    PasswordLength, u16, 1, 256
);

impl PackageSize {
    /// A package without a file.
    pub const NONE: Self = Self(0);
}

impl FleetSize {
    /// From the command line.
    pub fn from_argument(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is no number of agents: expected 1 to {}", 10_000_000);
        let size: u32 = text.parse().map_err(|_| expected())?;
        if (1..=10_000_000).contains(&size) {
            Ok(Self(size))
        } else {
            Err(expected())
        }
    }
}

/// How many times shorter a scenario is than it is written.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Compression(f64);

impl Compression {
    /// From the command line.
    pub fn from_argument(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(factor) if (1.0..=100_000.0).contains(&factor) => Ok(Self(factor)),
            _ => Err(format!(
                "{text:?} is no compression: expected a number from 1 to 100000, such as 60"
            )),
        }
    }

    /// A shorter time, in whole milliseconds.
    pub(super) fn of(self, span: Span) -> Span {
        Span(Duration::from_millis(Span(span.0.div_f64(self.0)).as_millis()))
    }

    /// The same of milliseconds.
    pub(super) fn of_ms(self, ms: u64) -> u64 {
        self.of(Span(Duration::from_millis(ms))).as_millis()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads a whole number within limits.
struct Whole {
    low: i64,
    high: i64,
}

impl de::Visitor<'_> for Whole {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.low, self.high)
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<i64, E> {
        if (self.low..=self.high).contains(&v) {
            Ok(v)
        } else {
            Err(E::invalid_value(de::Unexpected::Signed(v), &self))
        }
    }
}

/// A share: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Share(pub f64);

impl Share {
    /// From the command line.
    pub fn from_argument(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(format!(
                "{text:?} is no share: expected a number from 0 to 1, such as 0.2"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share from 0 to 1")
            }

            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Share, E> {
                if (0.0..=1.0).contains(&v) {
                    Ok(Share(v))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(v), &self))
                }
            }

            #[allow(clippy::cast_precision_loss)] // beyond the limits long before precision matters
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Share, E> {
                self.visit_f64(v as f64)
            }
        }
        deserializer.deserialize_f64(Visitor)
    }
}

/// How much more or less common something is: 0 to 10.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Popularity(pub f64);

impl Default for Popularity {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Popularity {
    type Error = String;

    fn try_from(factor: f64) -> Result<Self, String> {
        if (0.0..=10.0).contains(&factor) {
            Ok(Self(factor))
        } else {
            Err(format!("popularity {factor}: expected a factor from 0 to 10"))
        }
    }
}

/// A number above 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(pub f64);

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if rate > 0.0 && rate.is_finite() {
            Ok(Self(rate))
        } else {
            Err(format!("{rate}: expected a number above 0"))
        }
    }
}

/// The moment that the machines' own history has come to when a run starts, such as `2026-10-05T08:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MachineTime(pub SystemTime);

impl Default for MachineTime {
    /// 2026-10-05T08:00:00Z.
    fn default() -> Self {
        Self(SystemTime::UNIX_EPOCH + Duration::from_secs(1_791_187_200))
    }
}

impl FromStr for MachineTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let years = 2000..=2099;
        let time: Option<jiff::Timestamp> = text.parse().ok();
        time.filter(|time| years.contains(&time.to_zoned(jiff::tz::TimeZone::UTC).year()))
            .map(|time| Self(time.into()))
            .ok_or_else(|| {
                format!(
                    "{text:?} is no time: expected one of the years 2000 to 2099 such as 2026-10-05T08:00:00Z"
                )
            })
    }
}

impl TryFrom<String> for MachineTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Time between two check-ins: never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Span")]
pub struct Interval(pub Span);

impl TryFrom<Span> for Interval {
    type Error = String;

    fn try_from(span: Span) -> Result<Self, String> {
        if span.as_millis() == 0 {
            return Err("interval 0: expected a duration above 0, such as \"60s\"".to_owned());
        }
        Ok(Self(span))
    }
}

/// A list with at least one member.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<T>")]
pub struct NonEmpty<T>(pub Vec<T>);

impl<T> TryFrom<Vec<T>> for NonEmpty<T> {
    type Error = &'static str;

    fn try_from(list: Vec<T>) -> Result<Self, Self::Error> {
        if list.is_empty() {
            return Err("empty list: expected at least one member");
        }
        Ok(Self(list))
    }
}

/// When the administrator acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SpanOrText")]
pub enum Moment {
    /// So long after the start of the run.
    After(Span),
    /// As soon as every agent is registered.
    AllRegistered,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SpanOrText {
    Seconds(i64),
    Text(String),
}

impl TryFrom<SpanOrText> for Moment {
    type Error = String;

    fn try_from(value: SpanOrText) -> Result<Self, String> {
        let text = match value {
            SpanOrText::Text(text) if text == "all-registered" => return Ok(Self::AllRegistered),
            SpanOrText::Text(text) => text,
            SpanOrText::Seconds(seconds) => seconds.to_string(),
        };
        text.parse().map(Self::After).map_err(|_| {
            format!("{text:?} is not a moment: expected \"all-registered\" or a duration such as \"30s\"")
        })
    }
}

/// A method whose 99th percentile has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Percentile(pub Method);

impl TryFrom<String> for Percentile {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Method::from_name(&name).map(Self).ok_or_else(|| {
            let known: Vec<_> = Method::ALL.iter().map(|method| method.as_str()).collect();
            format!("{name:?} is not a method: expected one of {}", known.join(", "))
        })
    }
}
