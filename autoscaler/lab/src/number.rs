//! The conversions between kinds of numbers that this crate makes: the only place that casts.

/// A count as a real number: exact below 2^52.
#[expect(clippy::cast_precision_loss, reason = "nothing counted here comes near 2^52")]
pub(crate) const fn real(count: u64) -> f64 {
    count as f64
}

/// A length as a real number.
pub(crate) const fn length(count: usize) -> f64 {
    real(wide(count))
}

/// A length as a number that counts steps.
pub(crate) const fn wide(count: usize) -> u64 {
    count as u64
}

/// A length as a signed number.
#[expect(clippy::cast_possible_wrap, reason = "lengths lie far below 2^63")]
pub(crate) const fn signed(count: usize) -> i64 {
    count as i64
}

/// A number of seconds or units as a position.
pub(crate) const fn index(count: u32) -> usize {
    count as usize
}

/// A length in 32 bits; saturates.
pub(crate) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whole units that hold an amount; sums of decimal fractions are forgiven a millionth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
pub(crate) fn units(amount: f64) -> u32 {
    (amount - 1e-6).ceil() as u32
}

/// Whole periods in a span; saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
pub(crate) fn whole(amount: f64) -> u64 {
    amount as u64
}

/// A number to seven digits, which is what a drawn course needs.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is what it is for")]
pub(crate) const fn short(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_amounts_are_the_nearest_units_that_make_sense() {
        for (amount, expected) in [
            (3.0, 3),
            (3.000_000_1, 3),
            (3.1, 4),
            (0.0, 0),
            (-2.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, u32::MAX),
        ] {
            assert_eq!(units(amount), expected, "{amount}");
        }
    }
}
