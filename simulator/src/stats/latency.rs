//! Latencies in bounded HDR histograms: three significant digits between a microsecond and an hour.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use std::time::Duration;

/// Longest latency that is told apart, µs.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// A duration in milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Significant digits of a histogram's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// For a plot: within 1 %.
    TwoDigits,
    /// For results: within 0.1 %.
    ThreeDigits,
}

/// A text that is no encoded histogram of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no HdrHistogram V2 of latencies in base64")]
pub struct InvalidHistogram;

/// A histogram of latencies, in microseconds.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    #[allow(
        clippy::expect_used,
        reason = "both arguments are constants that the library accepts, as tests see"
    )]
    pub fn new(precision: Precision) -> Self {
        let digits = match precision {
            Precision::TwoDigits => 2,
            Precision::ThreeDigits => 3,
        };
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, digits).expect("bounds are constant"))
    }

    /// Adds one; what is longer than an hour counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS);
        self.0.saturating_record(micros.clamp(1, LONGEST_MICROS));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Latency at a quantile (0..=1), ms; 0 if there is none.
    #[allow(clippy::cast_precision_loss)] // microseconds of an hour
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.value_at_quantile(quantile).min(self.0.max()) as f64 / 1000.0
    }

    /// The longest, ms.
    #[allow(clippy::cast_precision_loss)]
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// In the HdrHistogram V2 format (values in microseconds), base64.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        // Writing into memory; the format takes every histogram of these bounds.
        if V2Serializer::new().serialize(&self.0, &mut bytes).is_err() {
            bytes.clear();
        }
        STANDARD.encode(bytes)
    }

    /// Adds what [`Self::encode`] made of another histogram of the same precision; nothing is lost.
    pub fn add_encoded(&mut self, text: &str) -> Result<(), InvalidHistogram> {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidHistogram)?;
        let other: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|_| InvalidHistogram)?;
        let same =
            other.low() == self.0.low() && other.high() == self.0.high() && other.sigfig() == self.0.sigfig();
        if !same {
            return Err(InvalidHistogram);
        }
        self.0.add(other).map_err(|_| InvalidHistogram)
    }
}

/// Requests of one method.
#[derive(Debug, Clone)]
pub struct MethodStats {
    ok: u64,
    errors: u64,
    all: Latency,
    failed: Latency,
    service: Latency,
}

impl Default for MethodStats {
    fn default() -> Self {
        let empty = Latency::new(Precision::ThreeDigits);
        Self {
            ok: 0,
            errors: 0,
            all: empty.clone(),
            failed: empty.clone(),
            service: empty,
        }
    }
}

impl MethodStats {
    /// Adds a request; `service` is none for one that was never sent or had no end.
    pub fn record(&mut self, latency: Duration, service: Option<Duration>, failed: bool) {
        self.all.record(latency);
        if let Some(service) = service {
            self.service.record(service);
        }
        if failed {
            self.errors += 1;
            self.failed.record(latency);
        } else {
            self.ok += 1;
        }
    }

    /// Requests.
    pub fn count(&self) -> u64 {
        self.ok + self.errors
    }

    /// Answered requests.
    pub fn ok(&self) -> u64 {
        self.ok
    }

    /// Failed requests.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Latencies whatever the outcome: a request that ran into its time limit is a slow one, too.
    pub fn all(&self) -> &Latency {
        &self.all
    }

    /// Latencies of failed requests.
    pub fn failed(&self) -> &Latency {
        &self.failed
    }

    /// Times from the sending of a request on.
    pub fn service(&self) -> &Latency {
        &self.service
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_right_to_three_digits_and_survive_the_encoding(
            mut micros in prop::collection::vec(1u64..10_000_000_000, 1..200),
        ) {
            let mut latency = Latency::new(Precision::ThreeDigits);
            for value in &micros {
                latency.record(Duration::from_micros(*value));
            }
            for value in &mut micros {
                *value = (*value).min(LONGEST_MICROS);
            }
            micros.sort_unstable();
            #[allow(clippy::cast_precision_loss)]
            let median = micros[(micros.len() - 1) / 2] as f64 / 1000.0;
            prop_assert!((latency.quantile_ms(0.5) - median).abs() <= median * 0.0011 + 0.001);
            let bytes = STANDARD.decode(latency.encode()).unwrap();
            let decoded: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            prop_assert!(decoded == latency.0);
        }
    }

    #[test]
    fn an_empty_histogram_reads_as_zero() {
        let latency = Latency::new(Precision::TwoDigits);
        assert_eq!(
            (latency.quantile_ms(0.99), latency.max_ms(), latency.count()),
            (0.0, 0.0, 0)
        );
        assert!(!latency.encode().is_empty());
    }

    #[test]
    fn failed_requests_are_part_of_the_latency() {
        let mut stats = MethodStats::default();
        stats.record(Duration::from_millis(1), Some(Duration::from_millis(1)), false);
        stats.record(Duration::from_secs(5), None, true);
        assert_eq!((stats.ok(), stats.errors(), stats.failed().count()), (1, 1, 1));
        assert!(stats.all().quantile_ms(0.99) > 4990.0);
    }
}
