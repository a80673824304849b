//! Demand as a function of time: straight lines between points, read from a trace.

use crate::num::{millis, seconds};
use crate::rows::{TraceError, TraceRows};
use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

/// Demand over time, in capacity units (1.0 = an instance of weight 1 fully busy): linear between its points,
/// constant before the first and after the last. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// (milliseconds from the start, units), ascending, at least one.
    points: Arc<[(i64, f64)]>,
}

impl Demand {
    /// The same at all times; what is negative or not finite is 0.
    pub fn constant(units: f64) -> Self {
        Self { points: Arc::from([(0, tame(units))]) }
    }
    /// From (time from the start, units).
    ///
    /// * `points`: in any order; of several at one time the last holds. What is negative or not finite is 0.
    pub fn points(points: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        let mut sorted: Vec<(i64, f64)> =
            points.into_iter().map(|(at, units)| (millis(at), tame(units))).collect();
        sorted.sort_by_key(|(at, _)| *at);
        // Keeps the last of equal times: sorting is stable, so the later one comes second.
        sorted.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1;
            }
            same
        });
        if sorted.is_empty() { Self::constant(0.0) } else { Self { points: sorted.into() } }
    }
    /// Reads a trace line by line.
    ///
    /// * `file`: its name, for errors.
    /// * `reader`: CSV text with the header `seconds,demand` (seconds from the start, may be fractional) or
    ///   `timestamp,demand` (RFC 3339; the first row is the start). Times strictly ascending. Holes in time are
    ///   bridged by straight lines, as between any two rows; an empty cell is an error.
    pub fn read_csv(file: &str, reader: impl BufRead) -> Result<Self, TraceError> {
        let mut rows = TraceRows::new(file, reader);
        let mut points = Vec::new();
        let mut origin = None;
        while let Some(row) = rows.next().transpose()? {
            let origin = *origin.get_or_insert(if rows.dated() { row.at.millis() } else { 0 });
            points.push((row.at.millis().saturating_sub(origin), row.demand));
        }
        Ok(Self { points: points.into() })
    }
    /// The demand at a time from the start.
    pub fn at(&self, offset: Duration) -> f64 {
        let at = millis(offset);
        self.value(self.segment(at), at)
    }
    /// The mean demand over `from..to`; the demand at `from` where that is empty.
    pub fn mean(&self, from: Duration, to: Duration) -> f64 {
        let from = millis(from);
        self.mean_from(&mut self.segment(from), from, millis(to))
    }
    /// As [`Demand::mean`], for times that ascend from call to call: `cursor` (0 at first) remembers the place,
    /// so that a step costs no search.
    pub(crate) fn mean_from(&self, cursor: &mut usize, from: i64, to: i64) -> f64 {
        let last = self.points.len() - 1;
        if *cursor > last || self.points[*cursor].0 > from {
            *cursor = self.segment(from);
        }
        while *cursor < last && self.points[*cursor + 1].0 <= from {
            *cursor += 1;
        }
        if to <= from {
            return self.value(*cursor, from);
        }
        // Trapezoids between the points that lie within.
        let (mut segment, mut at, mut area) = (*cursor, from, 0.0);
        let mut value = self.value(segment, at);
        while at < to {
            let end = self.points.get(segment + 1).map_or(to, |(next, _)| to.min(*next));
            // Before the first point the line is flat until that point.
            let end = if at < self.points[0].0 { to.min(self.points[0].0) } else { end };
            let value_at_end = self.value(segment, end);
            area += 0.5 * (value + value_at_end) * seconds(end - at);
            if self.points.get(segment + 1).is_some_and(|(next, _)| *next <= end) {
                segment += 1;
            }
            (at, value) = (end, value_at_end);
        }
        area / seconds(to - from)
    }
    /// The last point that is not after `at`; the first where all are.
    fn segment(&self, at: i64) -> usize {
        self.points.partition_point(|(point, _)| *point <= at).saturating_sub(1)
    }
    /// The value at `at`, which lies in the segment that begins with a point, or at its end.
    fn value(&self, segment: usize, at: i64) -> f64 {
        let (from, before) = self.points[segment];
        match self.points.get(segment + 1) {
            Some((to, after)) if at > from => {
                before + (after - before) * (seconds(at.min(*to) - from) / seconds(to - from))
            }
            _ => before,
        }
    }
    /// The part that starts at `from` and lasts `length`, as a demand of its own that starts at 0.
    #[must_use]
    pub fn window(&self, from: Duration, length: Duration) -> Self {
        let (start, end) = (millis(from), millis(from.saturating_add(length)));
        let within = self.points.iter().filter(|(at, _)| *at > start && *at < end);
        let mut points = vec![(0, self.at(from))];
        points.extend(within.map(|(at, units)| (at - start, *units)));
        if end > start {
            points.push((end - start, self.at(from.saturating_add(length))));
        }
        Self { points: points.into() }
    }
    /// The same with every value multiplied.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { points: self.points.iter().map(|(at, units)| (*at, tame(units * factor))).collect() }
    }
    /// The largest demand.
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|(_, units)| *units).fold(0.0, f64::max)
    }
    /// The time of the last point.
    pub fn duration(&self) -> Duration {
        let last = self.points.last().map_or(0, |(at, _)| *at);
        Duration::from_millis(u64::try_from(last).unwrap_or(0))
    }
}

fn tame(units: f64) -> f64 {
    if units.is_finite() && units > 0.0 { units } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Demand, String> {
        Demand::read_csv("load.csv", text.as_bytes()).map_err(|error| error.to_string())
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn demand_is_linear_between_two_rows_and_flat_outside() {
        let demand = read("seconds,demand\n10,2\n20,4\r\n\n40,0\n").expect("a trace");
        for (at, units) in [(0, 2.0), (10, 2.0), (15, 3.0), (20, 4.0), (30, 2.0), (40, 0.0), (99, 0.0)] {
            assert_eq!(demand.at(secs(at)), units, "at {at}");
        }
        assert_eq!((demand.peak(), demand.duration()), (4.0, secs(40)));
    }

    #[test]
    fn the_mean_over_a_step_sees_the_points_within_it() {
        let demand = Demand::points([(secs(10), 2.0), (secs(20), 4.0), (secs(22), 0.0)]);
        for (from, to, mean) in [(0, 10, 2.0), (0, 20, 2.5), (10, 20, 3.0), (15, 25, 2.15), (30, 40, 0.0)] {
            assert!((demand.mean(secs(from), secs(to)) - mean).abs() < 1e-12, "over {from}..{to}");
        }
        assert_eq!(demand.mean(secs(15), secs(15)), 3.0);
    }

    #[test]
    fn a_window_starts_at_zero_and_keeps_the_shape() {
        let demand = Demand::points([(secs(0), 0.0), (secs(100), 10.0), (secs(200), 0.0)]);
        let window = demand.window(secs(50), secs(100));
        for (at, units) in [(0, 5.0), (50, 10.0), (100, 5.0)] {
            assert_eq!(window.at(secs(at)), units);
        }
        assert_eq!(window.duration(), secs(100));
    }

    #[test]
    fn timestamps_serve_in_place_of_seconds() {
        let rows = "timestamp,demand\n2026-03-01T08:00:00Z,1\n2026-03-01T09:01:00+01:00,2\n";
        assert_eq!(read(rows), Ok(Demand::points([(secs(0), 1.0), (secs(60), 2.0)])));
    }

    proptest! {
        /// The cursor must not change what is answered, and the parts of a time must add up to the whole.
        #[test]
        fn means_over_parts_add_up_to_the_mean_over_the_whole(
            points in prop::collection::vec((0_u64..200, 0.0_f64..20.0), 1..12),
            cuts in prop::collection::btree_set(0_u64..300, 2..12),
        ) {
            let demand = Demand::points(points.into_iter().map(|(at, units)| (secs(at), units)));
            let cuts: Vec<i64> = cuts.into_iter().map(|cut| millis(secs(cut))).collect();
            let (first, last) = (cuts[0], cuts[cuts.len() - 1]);
            let mut cursor = 0;
            let parts: f64 = cuts
                .windows(2)
                .map(|cut| demand.mean_from(&mut cursor, cut[0], cut[1]) * seconds(cut[1] - cut[0]))
                .sum();
            let whole = demand.mean_from(&mut 0, first, last) * seconds(last - first);
            prop_assert!((parts - whole).abs() < 1e-6, "{parts} is not {whole}");
            // Against a sum of thin slices, written without any of the above.
            let slices: f64 = (0..last - first).step_by(50).map(|ms| demand.at(crate::num::duration(first + ms + 25)) * 0.05).sum();
            prop_assert!((slices - whole).abs() < 1.2, "{slices} is not {whole}");
        }
    }
}
