//! The conversions between kinds of numbers that this crate makes: the only place that casts.

/// Milliseconds, or a count, as a real number: exact below 2^52, which is 140,000 years.
#[expect(clippy::cast_precision_loss, reason = "nothing counted here comes near 2^52")]
pub(crate) const fn real(count: i64) -> f64 {
    count as f64
}

/// A length as a signed number.
#[expect(clippy::cast_possible_wrap, reason = "lengths lie far below 2^63")]
pub(crate) const fn signed(length: usize) -> i64 {
    length as i64
}

/// A number to seven digits, which is what is kept of most.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is what it is for")]
pub(crate) const fn short(number: f64) -> f32 {
    number as f32
}

/// A position in a ring of some length, by a number that only grows (or a clock's, which need not).
pub(crate) fn slot(number: i64, length: usize) -> usize {
    usize::try_from(number.rem_euclid(signed(length))).unwrap_or(0)
}

/// A part of some choices: `0 <= share < 1` picks one of `choices`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped into the range of the choices, which are few"
)]
pub(crate) fn pick(share: f64, choices: usize) -> usize {
    ((share.clamp(0.0, 1.0) * choices as f64) as usize).min(choices.saturating_sub(1))
}

/// The whole number that a share of a count comes to, rounded up.
///
/// * `share`: 0..=1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped into the range of the count, which is small"
)]
pub(crate) fn share_of(count: usize, share: f64) -> usize {
    ((count as f64 * share.clamp(0.0, 1.0) - 1e-6).ceil().max(0.0) as usize).min(count)
}

/// Whole units that hold an amount; sums of decimal weights are forgiven a millionth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into the range of u32")]
pub(crate) fn units(amount: f64) -> u32 {
    (amount - 1e-6).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// Whole units that an amount fills; sums of decimal weights are forgiven a millionth.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into the range of u32")]
pub(crate) fn full_units(amount: f64) -> u32 {
    (amount + 1e-6).floor().clamp(0.0, f64::from(u32::MAX)) as u32
}

/// An amount of money in whole millionths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped far below 2^64")]
pub(crate) fn micros(amount: f64) -> u64 {
    amount.clamp(0.0, 1e15).round() as u64
}

/// An amount of a resource, or of money in millionths, as a real number: exact below 2^52.
#[expect(clippy::cast_precision_loss, reason = "no node has 2^52 of anything, and nothing costs so much")]
pub(crate) const fn amount(count: u64) -> f64 {
    count as f64
}

/// The whole number at or above an amount that is within the range of counts; a thousandth of a millionth is
/// forgiven. (Without the instruction for it, `ceil` is a call: this is the innermost step of sizing.)
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "counts lie far below 2^52")]
pub(crate) fn whole(amount: f64) -> f64 {
    let amount = amount - 1e-9;
    let below = amount as i64 as f64;
    if below < amount { below + 1.0 } else { below }
}

/// Whole units as the trials keep them.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into the range of u16")]
pub(crate) fn few_units(whole: f64) -> u16 {
    whole.clamp(0.0, f64::from(u16::MAX)) as u16
}

/// A share of 0..=1 in whole millionths, so that rounding errors do not decide.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into 0..=1,000,000")]
pub(crate) fn millionths(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_numbers_stay_in_range() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            assert!(pick(odd, 8) < 8);
            assert!(millionths(odd) <= 1_000_000);
            let _ = (units(odd), few_units(odd), full_units(odd), micros(odd));
        }
        assert_eq!((units(3.0), units(3.000_000_1), units(3.1), units(-5.0)), (3, 3, 4, 0));
        assert_eq!((full_units(2.9), full_units(2.999_999_9), full_units(-1.0)), (2, 3, 0));
        assert_eq!((slot(-1, 10), slot(10, 10), pick(0.99, 8), pick(1.0, 8)), (9, 0, 7, 7));
    }
}
