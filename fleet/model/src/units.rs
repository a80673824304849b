//! Units as types, so that a number cannot lose its meaning on the way.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

/// A point of wall time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Integer, so that a replay meets the same instants to the bit. Displays as RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }
    /// From whole seconds since the epoch; saturates at the ends of the range.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// How long ago `earlier` was; zero when it lies ahead (clocks jump).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
    /// The start of the step of length `step` that this instant lies in; itself for a step of zero.
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        let step = millis_of(step);
        if step == 0 { self } else { Self(self.0.div_euclid(step).saturating_mul(step)) }
    }
    /// Parses RFC 3339 (`2026-03-01T08:00:00Z`), of whatever offset.
    pub fn parse(text: &str) -> Result<Self, ParseUnitError> {
        let parsed: jiff::Timestamp =
            text.parse().map_err(|_| ParseUnitError::new(text, "a time such as 2026-03-01T08:00:00Z"))?;
        Ok(Self(parsed.as_millisecond()))
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(duration)))
    }
}
impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(duration)))
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => fmt::Display::fmt(&timestamp, f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0.0);
            /// Takes `value`; what is negative or not finite becomes zero, so that no sum can be poisoned.
            pub fn new(value: f64) -> Self {
                if value.is_finite() && value > 0.0 { Self(value) } else { Self(0.0) }
            }
            /// The number: finite and not negative.
            pub const fn get(self) -> f64 {
                self.0
            }
        }
        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self::new(self.0 + other.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            /// Saturates at zero.
            fn sub(self, other: Self) -> Self {
                Self::new(self.0 - other.0)
            }
        }
        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Two decimals at most, none where none are needed.
                let rounded = (self.0 * 100.0).round() / 100.0;
                f.pad(&format!("{rounded}"))
            }
        }
    };
}

quantity!(
    /// What an instance counts for in its fleet's target: the fleet's own weight, 1 where none is given.
    Weight
);
quantity!(
    /// How much work an instance can do, relative to others: vCPUs unless the policy says otherwise.
    ///
    /// Utilisation x power = demand. Not the fleet's weight: a fleet may count instances and still hold large
    /// and small ones.
    Power
);
quantity!(
    /// An amount of the fleet's own units: what target, min, max and surge count in.
    CapacityUnits
);

/// A share of a whole, as CPU utilisation is: 0..=1. Parses `"75%"`, displays as `75%` (one decimal at most).
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Utilization(f64);

impl Utilization {
    /// Takes `share`, clamped to 0..=1; not-a-number becomes 0.
    pub fn new(share: f64) -> Self {
        if share.is_nan() { Self(0.0) } else { Self(share.clamp(0.0, 1.0)) }
    }
    /// The share, 0..=1.
    pub const fn get(self) -> f64 {
        self.0
    }
}
impl FromStr for Utilization {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || ParseUnitError::new(text, "a share such as \"75%\", from 0% to 100%");
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?;
        let percent: f64 = number.trim().parse().map_err(|_| wrong())?;
        if (0.0..=100.0).contains(&percent) { Ok(Self(percent / 100.0)) } else { Err(wrong()) }
    }
}
impl fmt::Display for Utilization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", (self.0 * 1000.0).round() / 10.0))
    }
}

/// A price in millionths of a US dollar an hour: exact from EC2's decimal strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UsdPerHour(u64);

impl UsdPerHour {
    /// From millionths of a dollar.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// Millionths of a dollar.
    pub const fn micros(self) -> u64 {
        self.0
    }
}
impl FromStr for UsdPerHour {
    type Err = ParseUnitError;
    /// Parses EC2's decimal strings (`"0.096000"`); digits past the sixth are dropped.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let wrong = || ParseUnitError::new(text, "a price such as 0.0960");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let fraction: u64 = fraction.parse().map_err(|_| wrong())?;
        whole.checked_mul(1_000_000).and_then(|w| w.checked_add(fraction)).map(Self).ok_or_else(wrong)
    }
}
impl fmt::Display for UsdPerHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Parses `"90s"`, `"5m"`, `"9h"`, `"14d"`, `"250ms"` and sums such as `"1h30m"`.
///
/// A bare number is refused: it does not say of what.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    let wrong = || ParseUnitError::new(text, "a duration such as \"90s\", \"5m\", \"9h\" or \"1h30m\"");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let letters = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
        let unit: u64 = match &rest[digits..digits + letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = Duration::from_millis(number.checked_mul(unit).ok_or_else(wrong)?);
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    Ok(total)
}

/// Displays a duration as [`parse_duration`] reads it, in its two largest units: `1h30m`, `90s` as `1m30s`.
#[derive(Clone, Copy, Debug)]
pub struct DurationText(
    /// What to show.
    pub Duration,
);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut shown = 0;
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            let count = rest / millis;
            rest %= millis;
            if count > 0 && shown < 2 {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{count}{unit}");
                shown += 1;
            } else if shown > 0 {
                break;
            }
        }
        f.pad(&text)
    }
}

/// A text that is not what it should be: names the text and what would have been right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct ParseUnitError {
    /// The text as it was given.
    pub value: String,
    /// What would have been right, with an example.
    pub expected: &'static str,
}

impl ParseUnitError {
    fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.to_owned(), expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for (text, millis, shown) in [
            ("90s", 90_000, "1m30s"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("14d", 1_209_600_000, "14d"),
            ("250ms", 250, "250ms"),
        ] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(DurationText(duration).to_string(), shown);
            assert_eq!(parse_duration(shown), Ok(duration));
        }
        for wrong in ["", "5", "m", "5 m", "-5m", "5x", "5m5", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?} was read");
        }
    }

    #[test]
    fn prices_are_exact_and_shares_need_their_sign() {
        assert_eq!("0.096000".parse(), Ok(UsdPerHour::from_micros(96_000)));
        assert_eq!("1.2345678".parse(), Ok(UsdPerHour::from_micros(1_234_567)));
        assert_eq!("3".parse::<UsdPerHour>().map(|p| p.to_string()), Ok("3.000000".into()));
        for wrong in ["", ".5", "-1", "1,5", "1e3", "99999999999999999999"] {
            assert!(wrong.parse::<UsdPerHour>().is_err(), "{wrong:?} was read");
        }
        assert_eq!("75%".parse(), Ok(Utilization::new(0.75)));
        for wrong in ["75", "0.75", "101%", "-1%", "NaN%", "%"] {
            assert!(wrong.parse::<Utilization>().is_err(), "{wrong:?} was read");
        }
    }

    #[test]
    fn quantities_cannot_be_poisoned() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            assert_eq!(Power::new(odd), Power::ZERO);
        }
        assert_eq!(Utilization::new(f64::INFINITY).get(), 1.0);
        assert_eq!((Weight::new(1.0) - Weight::new(2.0)).get(), 0.0);
    }

    #[test]
    fn time_runs_both_ways_without_overflow() {
        let noon = Timestamp::parse("2026-03-01T12:00:00+02:00").expect("a valid time");
        assert_eq!(noon.to_string(), "2026-03-01T10:00:00Z");
        assert_eq!(noon.since(noon + Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(-1).floor(Duration::from_secs(10)), Timestamp::from_secs(-10));
        assert_eq!(Timestamp::from_millis(i64::MAX) + Duration::MAX, Timestamp::from_millis(i64::MAX));
    }
}
