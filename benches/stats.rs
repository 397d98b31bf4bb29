//! Medians and percentiles.

/// The middle value; the mean of the two in the middle of an even number.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// The value that so many percent of the values do not exceed.
pub fn percentile(values: impl Iterator<Item = f64>, percent: usize) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 9.0].into_iter()), 3.0);
        assert_eq!(median([3.0, 1.0, 9.0, 4.0].into_iter()), 3.5);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values = || (1..=200).map(f64::from);
        assert_eq!(percentile(values(), 99), 198.0);
        assert_eq!(percentile([7.0].into_iter(), 99), 7.0);
        assert!(percentile(std::iter::empty(), 99).is_nan());
    }
}
