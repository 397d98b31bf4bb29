//! Numbers as people read them.

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds in about three digits: `0.42 ms`, `12.3 ms`, `456 ms`, `7.89 s`.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => seconds(ms / 1000.0),
    }
}

/// Seconds in about three digits, longer ones in minutes and hours.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!("{:.0} h {:02.0} min", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}

/// Bytes in binary units.
#[allow(clippy::cast_precision_loss)]
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 10 << 10 => format!("{} bytes", count(bytes)),
        bytes if bytes < 10 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// A number of bytes that is an average.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of memory
pub(super) fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}

/// A number without needless decimals.
pub(super) fn plain(number: f64) -> String {
    let text = if number < 10.0 {
        format!("{number:.4}")
    } else {
        format!("{number:.1}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["1", "1,000", "12,345,678"].map(str::to_owned),
            [1, 1000, 12_345_678].map(count)
        );
        assert_eq!(
            [0.421, 12.34, 456.2, 7890.0].map(milliseconds),
            ["0.42 ms", "12.3 ms", "456 ms", "7.89 s"].map(str::to_owned)
        );
        assert_eq!(
            [61.0, 125.0, 7260.0].map(seconds),
            ["61.0 s", "2 min 05 s", "2 h 01 min"].map(str::to_owned)
        );
        assert_eq!(
            [160, 20 << 10, 50 << 20].map(bytes),
            ["160 bytes", "20 KiB", "50 MiB"].map(str::to_owned)
        );
        assert_eq!(
            [0.0, 0.25, 22.015, 2000.0].map(plain),
            ["0", "0.25", "22", "2000"].map(str::to_owned)
        );
    }
}
