//! From numbers to places on a chart.

pub(super) use crate::number::length as real;
use fleet::Timestamp;

/// The whole part of a number that is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a count can be")]
pub(super) fn whole(value: f64) -> usize {
    value.clamp(0.0, 1e15) as usize
}

/// A linear scale from `0..=most` to a range of places that runs upwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upwards {
    /// Where 0 lies.
    pub base: f64,
    /// Places per unit.
    pub per_unit: f64,
}

impl Upwards {
    /// * `most`: more than 0.
    pub fn new(base: f64, height: f64, most: f64) -> Self {
        Self { base, per_unit: height / most.max(f64::MIN_POSITIVE) }
    }
    pub fn at(self, value: f64) -> f64 {
        self.base - value * self.per_unit
    }
}

/// Round values from 0 up to the first that is not below `most`, about `count` of them.
pub(super) fn ticks(most: f64, count: usize) -> Vec<f64> {
    let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
    let raw = most / real(count.max(1));
    let decade = 10_f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|s| s * decade).into_iter().find(|s| *s >= raw * 0.999).unwrap_or(raw);
    let last = whole((most / step - 1e-9).ceil()).max(1);
    (0..=last).map(|i| real(i) * step).collect()
}

/// A mark on the time axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeTick {
    /// Seconds from the start.
    pub at: i64,
    /// What stands below it.
    pub label: String,
    /// Whether a day begins here.
    pub midnight: bool,
}

const DAY: i64 = 86_400;
/// Distances of marks that people can read, in seconds.
const DISTANCES: [i64; 14] =
    [60, 120, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY, 2 * DAY, 7 * DAY, 28 * DAY];

/// Marks at round times of day, at most `count` of them (but for courses of years).
pub(super) fn time_ticks(start: Timestamp, seconds: i64, count: i64) -> Vec<TimeTick> {
    let fits = |distance: &i64| seconds / distance < count;
    let distance = DISTANCES.into_iter().find(fits).unwrap_or(seconds / count.max(1) / DAY * DAY + DAY);
    let begin = start.secs();
    let offset = (-begin).rem_euclid(distance.min(DAY));
    (0..=seconds / distance)
        .map(|i| offset + i * distance)
        .filter(|at| *at <= seconds)
        .map(|at| {
            let time = begin + at;
            let midnight = time.rem_euclid(DAY) == 0;
            let label = if midnight { day(time) } else { time_of_day(time, false) };
            TimeTick { at, label, midnight }
        })
        .collect()
}

/// A moment in words: `Mon 8 Jun 1998 14:10:20`, or `day 3 14:10:20` where the recording knows no date.
pub(super) fn moment(time: i64) -> String {
    format!("{} {}", day(time), time_of_day(time, true))
}

fn time_of_day(time: i64, with_seconds: bool) -> String {
    let of_day = time.rem_euclid(DAY);
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    if with_seconds {
        format!("{hours:02}:{minutes:02}:{seconds:02}")
    } else {
        format!("{hours:02}:{minutes:02}")
    }
}

/// Recordings without a date begin at the epoch: what lies in its first years is counted in days.
pub(super) fn day(time: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let days = time.div_euclid(DAY);
    if days < 5 * 365 {
        return format!("day {}", days + 1);
    }
    // RFC 3339: 1998-06-08T00:00:00Z.
    let date = Timestamp::from_secs(days * DAY).to_string();
    let part = |range: std::ops::Range<usize>| date.get(range).and_then(|text| text.parse::<usize>().ok());
    let (Some(month), Some(of_month)) = (part(5..7), part(8..10)) else { return date };
    let weekday = WEEKDAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let month = MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or("?");
    format!("{weekday} {of_month} {month}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(13.5, 5), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(ticks(20.0, 5), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(0.9, 5).len(), 6);
        for odd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ticks(odd, 2), [0.0, 0.5, 1.0]);
        }
    }

    #[test]
    fn times_are_marked_at_round_times_of_day_wherever_a_recording_begins() {
        let start = Timestamp::parse("1998-06-08T22:20:00Z").expect("a time");
        let marks: Vec<_> = time_ticks(start, 6 * 3600, 12).into_iter().map(|t| (t.at, t.label)).collect();
        let expect = [(2400, "23:00"), (6000, "Tue 9 Jun"), (9600, "01:00"), (13_200, "02:00")];
        for ((at, label), expect) in marks.iter().zip(expect) {
            assert_eq!((*at, label.as_str()), expect);
        }
        let month = time_ticks(Timestamp::EPOCH, 28 * DAY, 15);
        assert_eq!((month.len(), month[1].label.as_str()), (15, "day 3"));
        assert!(month.iter().all(|tick| tick.midnight));
        for seconds in [0, 10, 3600, DAY, 400 * DAY, 4000 * DAY] {
            let count = time_ticks(start, seconds, 12).len();
            assert!(count <= 13, "{count} marks on {seconds} s");
        }
    }

    #[test]
    fn moments_without_a_date_are_counted_in_days() {
        assert_eq!(moment(DAY + 3661), "day 2 01:01:01");
        assert_eq!(moment(897_264_000), "Mon 8 Jun 00:00:00");
        assert_eq!(whole(f64::NAN), 0);
    }
}
