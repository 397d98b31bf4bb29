//! The two generations of the agent protocol: which one a server and a computer speak.

use serde::Deserialize;
use std::str::FromStr;

/// The first agent version of the signed generation.
const FIRST_SIGNED: [Option<u64>; 3] = [Some(1), Some(1), Some(7)];

/// Which real server this one behaves like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerGeneration {
    /// Today's: signed requests; agents before 1.1.7 are served keyed.
    #[default]
    Current,
    /// That of September 2022: keyed requests only, refusals as reason phrases.
    September2022,
}

/// Which shapes an answer's JSON has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PhpQuirks {
    /// Those of PHP 8.1 and later: an empty object is `[]`, the id of an insert a text.
    #[default]
    Php8,
    /// Those of older PHP: numbers of the database are texts, too.
    Php7,
    /// None: objects are objects and numbers are numbers.
    Off,
}

/// A text that names no choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of {choices}")]
pub struct UnknownChoice {
    text: String,
    choices: &'static str,
}

impl FromStr for ServerGeneration {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "current" => Ok(Self::Current),
            "2022" => Ok(Self::September2022),
            _ => Err(UnknownChoice {
                text: text.into(),
                choices: "current, 2022",
            }),
        }
    }
}

impl FromStr for PhpQuirks {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        match text {
            "8" => Ok(Self::Php8),
            "7" => Ok(Self::Php7),
            "off" => Ok(Self::Off),
            _ => Err(UnknownChoice {
                text: text.into(),
                choices: "8, 7, off",
            }),
        }
    }
}

/// A choice of the configuration file: a text, or the number it looks like.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a number")]
enum Written {
    Text(String),
    Number(i64),
}

/// Reads a choice, such as `"off"` or `8`.
pub(crate) fn choice<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr<Err = UnknownChoice>,
{
    let text = match Written::deserialize(deserializer)? {
        Written::Text(text) => text,
        Written::Number(number) => number.to_string(),
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The generation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Requests are signed and have a timestamp.
    Signed,
    /// Requests have the agent key in them.
    Keyed,
}

impl Generation {
    /// What an agent of `version` speaks; one that does not tell counts as signed.
    pub(crate) fn of_agent(version: Option<&str>) -> Self {
        match version.filter(|version| !version.is_empty()) {
            Some(version) if is_before_signed(version) => Self::Keyed,
            _ => Self::Signed,
        }
    }
}

fn is_before_signed(version: &str) -> bool {
    version.split(['.', '-', '+', '_']).map(number).lt(FIRST_SIGNED)
}

/// A part of a version; none is before every number.
fn number(part: &str) -> Option<u64> {
    let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| part.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_before_1_1_7_are_keyed_and_unknown_ones_signed() {
        for version in ["0.13.8", "1.1.6", "1.1", "1.0.99", "1.1.6.9", "development"] {
            assert_eq!(
                Generation::of_agent(Some(version)),
                Generation::Keyed,
                "{version}"
            );
        }
        for version in [
            Some("1.1.7"),
            Some("1.1.10"),
            Some("1.2"),
            Some("2.0.0"),
            Some(""),
            None,
        ] {
            assert_eq!(Generation::of_agent(version), Generation::Signed, "{version:?}");
        }
    }

    #[test]
    fn choices_are_known_or_named_in_the_error() {
        assert_eq!("2022".parse(), Ok(ServerGeneration::September2022));
        assert_eq!("off".parse(), Ok(PhpQuirks::Off));
        let error = "9".parse::<PhpQuirks>().unwrap_err();
        assert_eq!(error.to_string(), "\"9\" is none of 8, 7, off");
    }
}
