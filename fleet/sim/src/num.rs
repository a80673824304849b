//! Numbers: the few conversions between integers and fractions, each in one place.
//!
//! Weights and powers are kept in whole millionths, so that sums of them are exact in whatever order they are
//! made; time is kept in whole milliseconds.

use std::time::Duration;

const MICROS: f64 = 1_000_000.0;
const MILLIS: f64 = 1000.0;

/// A quantity in millionths; what is negative or not finite is 0.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted of absurd values")]
pub(crate) fn micros(quantity: f64) -> i64 {
    if quantity.is_finite() && quantity > 0.0 { (quantity * MICROS).round() as i64 } else { 0 }
}

/// The other way.
#[expect(clippy::cast_precision_loss, reason = "exact up to nine billion units")]
pub(crate) fn units(micros: i64) -> f64 {
    micros as f64 / MICROS
}

/// A whole number of units in millionths.
pub(crate) fn whole(units: u32) -> i64 {
    i64::from(units) * 1_000_000
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
pub(crate) fn seconds(millis: i64) -> f64 {
    millis as f64 / MILLIS
}

/// A sum that an integer was needed for, as a fraction.
#[expect(clippy::cast_precision_loss, reason = "a ratio is formed of it; the last bits do not matter")]
pub(crate) fn fraction(sum: i64) -> f64 {
    sum as f64
}

/// The smallest whole number that is not below a quantity; what is negative or not finite is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
pub(crate) fn ceil(quantity: f64) -> u32 {
    // A hair's breadth below, so that 9.0 units that came out as 9.000000000000002 are still nine.
    (quantity - 1e-9).ceil() as u32
}

/// Milliseconds of a duration; saturates.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A duration of this many milliseconds; zero when negative.
pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A duration scaled; saturates, zero when negative or not finite.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted of absurd values")]
#[expect(clippy::cast_precision_loss, reason = "a draw by chance is not exact to the millisecond")]
pub(crate) fn scaled(length: Duration, factor: f64) -> Duration {
    duration((millis(length) as f64 * factor).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_become_the_nearest_that_make_sense() {
        for (quantity, expected) in [(1.5, 1_500_000), (-1.0, 0), (f64::NAN, 0), (f64::INFINITY, 0)] {
            assert_eq!(micros(quantity), expected, "{quantity}");
        }
        for (quantity, expected) in [(9.0, 9), (9.000_000_000_000_002, 9), (9.1, 10), (0.0, 0), (-3.0, 0)] {
            assert_eq!(ceil(quantity), expected, "{quantity}");
        }
        assert_eq!(scaled(Duration::from_secs(10), 1.5), Duration::from_secs(15));
        assert_eq!(scaled(Duration::from_secs(10), f64::NAN), Duration::ZERO);
    }
}
